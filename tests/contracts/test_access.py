"""Who may call what, for every operation there is: a new one is in here by being in the contract.

What the right caller may do, and what a refused call leaves unchanged, is tested beside each
service; here is what must hold of all of them alike.
"""

import re

import pytest

from restock.gateway.routes_table import ROUTES, Entry, Route
from restock.kernel.ids import new_id
from tests.contracts.operations import OPERATIONS, Operation

# Without a token. This list may only shrink.
PUBLIC = {"login", "public_keys", "refresh", "register"}
SERVICES = ("auth", "inventory", "notification", "vendor")
PARAMETER = re.compile(r"\{(\w+)\}")


def _of(service: str) -> list[Operation]:
    return [operation for operation in OPERATIONS if operation.service == service]


def _somewhere(operation: Operation) -> str:
    """The path with ids of things that are nowhere."""
    return PARAMETER.sub(lambda name: str(new_id()), operation.path)


def _entry(path: str) -> Route | None:
    """What the gateway makes of a path."""
    for route in ROUTES:
        if path == route.path or (route.tree and path.startswith(route.path + "/")):
            return route
    return None


def test_what_needs_no_token_is_listed() -> None:
    found = {op.name for op in OPERATIONS if op.is_public and op.service != "gateway"}
    assert found == PUBLIC


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_the_gateway_asks_for_a_token_where_the_service_does(operation: Operation) -> None:
    route = _entry(_somewhere(operation))
    assert route is not None, "not reachable through the gateway"
    assert route.service.value == operation.service
    assert route.entry is (Entry.PUBLIC if operation.is_public else Entry.TOKEN)


@pytest.mark.parametrize("service", SERVICES)
async def test_nobody_gets_in_without_a_token(service, make_service) -> None:
    running = await make_service(service)
    for operation in _of(service):
        if operation.is_public:
            continue
        for token in (None, "", "nonsense", "a.b.c"):
            answered = await running.ask(
                operation.method, _somewhere(operation), token=token, json={}
            )
            assert answered.status == 401, operation
            assert answered.json["code"] == "auth.unauthenticated"
            assert answered.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("service", SERVICES)
async def test_what_is_nowhere_is_404_and_nonsense_is_never_500(
    service, make_service, token_for
) -> None:
    running = await make_service(service)
    token = token_for()
    for operation in _of(service):
        path = _somewhere(operation)
        if operation.body is None and PARAMETER.search(operation.path.replace("{category}", "")):
            answered = await running.ask(operation.method, path, token=token)
            assert answered.status == 404, operation
        for body in (b"", b"{", b"[]", b'"\xff"', b'{"x": 1}', b"[" * 100_000):
            if operation.body is None:
                continue
            answered = await running.ask(operation.method, path, token=token, body=body)
            assert 400 <= answered.status < 500, (operation, body[:10], answered.body)
            assert answered.json["requestId"], operation
