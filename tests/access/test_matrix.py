"""Who may call what: every operation of the contract × every caller of policy.toml.

Expected status, and where refused nothing changed: in no row of any table.
"""

from collections import Counter
from pathlib import Path

import pytest

from restock.gateway.routes_table import Entry
from tests.access.calls import BODIES, LINES, POLICY, Line, call_of
from tests.access.matrix import play
from tests.access.stage import CANARY, SERVICES, Stage, behind_the_gateway
from tests.contracts.operations import OPERATIONS, Operation, route_of
from tests.fixtures.figures import Figures

# Without a token. This list may only shrink.
PUBLIC = {"login", "public_keys", "refresh", "register"}
SHOWING = {
    ("inventory", "list_items"),
    ("inventory", "list_low_stock"),
    ("inventory", "get_item"),
    ("notification", "list_notifications"),
    ("vendor", "list_vendor_requests"),
}
TENANTS = [line for line in LINES if line.service != "gateway"]


@pytest.mark.counted
def test_every_operation_has_its_line_and_every_line_its_operation(figures: Figures) -> None:
    lines = {(line.service, line.name.partition(":")[0]) for line in LINES}
    assert {(operation.service, operation.name) for operation in OPERATIONS} == lines
    with_body = {op.name for op in OPERATIONS if op.body is not None}
    assert {name.partition(":")[0] for name in BODIES} == with_body
    figures.tell("operations in the matrix", str(len(lines)))


def test_what_needs_no_token_is_listed() -> None:
    found = {op.name for op in OPERATIONS if op.is_public and op.service != "gateway"}
    allowed = {line.name for line in TENANTS if line.expected["nobody"] < 400}
    assert found == allowed == PUBLIC


@pytest.mark.counted
@pytest.mark.parametrize("line", TENANTS, ids=str)
async def test_each_caller_gets_what_the_policy_says(
    stage: Stage, line: Line, figures: Figures
) -> None:
    counted: Counter[str] = Counter()
    wrong = await play(stage, line, counted)
    assert not wrong, "\n".join(wrong)
    for what, number in counted.items():
        figures.add(what, number)


@pytest.mark.counted
async def test_through_the_gateway_each_caller_gets_the_same(
    stage: Stage, tmp_path: Path, figures: Figures
) -> None:
    counted: Counter[str] = Counter()
    wrong = []
    async with behind_the_gateway(stage, tmp_path):
        for line in TENANTS:
            wrong += await play(stage, line, counted, refusal="gateway.token_invalid")
    assert not wrong, "\n".join(wrong)
    figures.add("calls of the matrix through the gateway", counted.total())


async def test_what_strangers_must_not_see_is_there_to_be_seen(stage: Stage) -> None:
    for service in SERVICES:
        await stage.make_things(service)
    for line in TENANTS:
        if (line.service, line.name) in SHOWING:
            call = call_of(stage, line)
            answer = await stage.ask(line.service, stage.people["owner"], "GET", call.path)
            assert CANARY.encode() in answer.body, line


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_the_gateway_asks_for_a_token_where_the_service_does(operation: Operation) -> None:
    route = route_of(operation.somewhere)
    assert route is not None, "not reachable through the gateway"
    assert route.service.value == operation.service
    assert route.entry is (Entry.PUBLIC if operation.is_public else Entry.TOKEN)


def test_the_gateways_own_pages_are_for_everybody() -> None:
    """What each of them answers is tested beside the gateway."""
    pages = {op.name for op in OPERATIONS if op.service == "gateway"}
    assert pages == set(POLICY["gateway"]) - {"callers"}
    assert all(op.is_public for op in OPERATIONS if op.service == "gateway")
