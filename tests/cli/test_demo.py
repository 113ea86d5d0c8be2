"""`restock demo` against a gateway in memory, and the sample it ships."""

import asyncio
import json

import pytest_asyncio
from click.testing import CliRunner

from restock.cli import sign_in
from restock.cli.demo import _run, demo, sample
from tests.client.stub_gateway import serve_stub
from tests.fixtures.ports import free_port

ACCOUNT = ["--email", "ada@example.org", "--password", "ten letters"]


@pytest_asyncio.fixture
async def stub():
    async with serve_stub() as running:
        yield running


async def run(stub, *options):
    result = await asyncio.to_thread(CliRunner().invoke, demo, ["--url", stub.url, *options])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


async def test_a_workspace_worth_looking_at_is_made(stub):
    told = await run(stub)
    trader = sample()
    assert {item["sku"] for item in stub.items.values()} == {item.sku for item in trader.items}
    assert {vendor["name"] for vendor in stub.vendors} == {v.name for v in trader.vendors}
    assert [request["quantity"] for request in stub.requests] == [60]
    assert [row["type"] for row in stub.notifications] == ["low_stock"]
    assert "low_stock: House blend coffee beans" in told
    assert f"{stub.url}/docs" in told
    email, _ = stub.accounts
    assert f'"email":"{email}"' in told
    assert f"{stub.url}/api/inventory/items/low-stock" in told


async def test_the_vendors_belong_to_another_workspace(stub):
    await run(stub)
    workspaces = {item["workspaceId"] for item in stub.items.values()}
    assert len(workspaces) == 1
    assert workspaces.isdisjoint(vendor["workspaceId"] for vendor in stub.vendors)


async def test_run_again_on_one_account_it_makes_nothing_twice(stub):
    first = json.loads(await run(stub, *ACCOUNT, "--json"))
    counts = len(stub.items), len(stub.vendors), len(stub.requests), len(stub.ledger)
    second = json.loads(await run(stub, *ACCOUNT, "--json"))
    assert (len(stub.items), len(stub.vendors), len(stub.requests), len(stub.ledger)) == counts
    assert first["request"] is not None
    assert second["request"] is None
    assert second["items"] == len(sample().items)
    assert len(stub.accounts) == 2
    assert "ten letters" not in json.dumps([first, second])


async def test_run_twice_at_once_on_one_new_account_both_end_well(stub):
    told = await asyncio.gather(*(_run(stub.url, tuple(ACCOUNT[1::2])) for _ in range(2)))
    assert [summary.items for summary in told] == [len(sample().items)] * 2
    assert len(stub.accounts) == 2
    assert len(stub.items) == len(sample().items)
    assert len(stub.vendors) == len(sample().vendors)


async def test_where_nothing_answers_it_says_so(monkeypatch):
    monkeypatch.setattr(sign_in, "FIRST_ANSWER", 0)
    url = f"http://127.0.0.1:{free_port()}"
    result = await asyncio.to_thread(CliRunner().invoke, demo, ["--url", url])
    assert result.exit_code == 1
    assert "`restock up` starts it here" in result.stderr


def test_the_local_gateway_is_that_of_the_port_offset(monkeypatch):
    monkeypatch.delenv("RESTOCK_PORT_OFFSET", raising=False)
    assert sign_in.local_gateway() == "http://127.0.0.1:3000"
    monkeypatch.setenv("RESTOCK_PORT_OFFSET", "4000")
    assert sign_in.local_gateway() == "http://127.0.0.1:7000"


def test_the_sample_starts_well_and_sells_one_thing_low():
    trader = sample()
    stock = {item.sku: item.quantity for item in trader.items}
    floor = {item.sku: item.min_threshold for item in trader.items}
    assert len(stock) == len(trader.items) >= 20
    assert all(low is None or stock[sku] > low for sku, low in floor.items())
    for movement in trader.movements:
        stock[movement.sku] += movement.delta
    low = [sku for sku in stock if floor[sku] is not None and stock[sku] <= floor[sku]]
    assert low == [trader.request.sku]
    assert trader.request.vendor in {vendor.name for vendor in trader.vendors}
