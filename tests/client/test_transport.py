"""What is sent again, and what never is."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest
from aiohttp import web

from restock.client import ApiProblem, Gateway, GatewayUnreachable
from restock.client.transport import encode, retry_after
from tests.client.stub_gateway import app_of
from tests.fixtures.ports import free_port


async def test_a_movement_whose_answer_was_lost_is_sent_again_and_moves_stock_once(stub, gateway):
    item = await gateway.inventory.create_item(name="Tea", quantity=10)
    stub.trouble += [("/movements", "lose-answer"), ("/movements", "lose")]
    movement = await gateway.inventory.add_movement(item.id, -3, "sale")
    assert (movement.previous_quantity, movement.new_quantity) == (10, 7)
    assert (await gateway.inventory.item(item.id)).quantity == 7
    keys = {key for _, _, key in stub.calls("/movements")}
    assert len(stub.calls("/movements")) == 3
    assert len(keys) == 1
    assert gateway.transport.repeated == 2


@pytest.mark.parametrize("status", [502, 503, 504, 429])
async def test_a_call_with_a_key_is_repeated_after(stub, gateway, status):
    stub.trouble.append(("/items", status))
    item = await gateway.inventory.create_item(name="Tea", quantity=1)
    assert item.quantity == 1
    assert len({key for _, _, key in stub.calls("/items")}) == 1


async def test_every_call_that_changes_something_has_a_key_of_its_own(stub, gateway):
    item = await gateway.inventory.create_item(name="Tea", quantity=10)
    await gateway.inventory.add_movement(item.id, -1, "sale")
    await gateway.inventory.add_movement(item.id, -1, "sale")
    keys = [key for method, path, key in stub.seen if method == "POST" and "/auth" not in path]
    assert None not in keys
    assert len(set(keys)) == 3
    assert len(stub.ledger) == 3


@pytest.mark.parametrize("how", ["lose", 503])
async def test_a_register_that_may_have_happened_is_not_repeated(stub, how):
    async with Gateway(stub.url, patience=10) as gateway:
        stub.trouble.append(("/register", how))
        with pytest.raises((GatewayUnreachable, ApiProblem)) as refusal:
            await gateway.auth.register(email="b@example.org", name="B", password="ten letters")
    if isinstance(refusal.value, GatewayUnreachable):
        assert refusal.value.may_have_happened
    assert len(stub.calls("/register")) == 1


async def test_a_gateway_that_starts_later_is_waited_for(stub):
    port = free_port()
    runner = web.AppRunner(app_of(stub))
    await runner.setup()
    account = {"email": "c@example.org", "name": "C", "password": "ten letters"}
    async with Gateway(f"http://127.0.0.1:{port}", patience=0) as impatient:
        with pytest.raises(GatewayUnreachable) as refusal:
            await impatient.auth.register(**account)
        assert not refusal.value.may_have_happened
    async with Gateway(f"http://127.0.0.1:{port}", patience=20) as gateway:
        calling = asyncio.create_task(gateway.auth.register(**account))
        while gateway.transport.repeated == 0:
            await asyncio.sleep(0)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        assert (await calling).user.email == "c@example.org"
    await runner.cleanup()


async def test_patience_ends(stub, gateway):
    gateway.transport.patience = 0
    stub.trouble += [("/items", 503)]
    with pytest.raises(ApiProblem) as refusal:
        await gateway.inventory.create_item(name="Tea")
    assert refusal.value.status == 503
    stub.trouble += [("/items", "lose")]
    with pytest.raises(GatewayUnreachable) as lost:
        await gateway.inventory.create_item(name="Tea")
    assert lost.value.may_have_happened


@pytest.mark.parametrize("how", ["lose-answer", "hide-answer"])
async def test_a_delete_whose_answer_was_lost_is_done(stub, gateway, how):
    item = await gateway.inventory.create_item(name="Tea", quantity=0, min_threshold=3)
    told = [row async for row in gateway.notifications.notifications()]
    assert [(row.type, row.item_id) for row in told] == [("low_stock", item.id)]
    stub.trouble.append(("/api/notifications/", how))
    await gateway.notifications.delete(told[0].id)
    with pytest.raises(ApiProblem) as refusal:
        await gateway.notifications.delete(told[0].id)
    assert refusal.value.status == 404


async def test_a_refusal_says_all_the_problem_says(gateway):
    item = await gateway.inventory.create_item(name="Tea", quantity=2)
    with pytest.raises(ApiProblem) as refusal:
        await gateway.inventory.add_movement(item.id, -3, "sale")
    problem = refusal.value
    assert (problem.status, problem.code) == (409, "inventory.insufficient_stock")
    assert problem.members["available"] == 2
    assert "inventory.insufficient_stock" in str(problem)


def test_a_problem_is_read_from_its_document_and_from_anything_else():
    body = (
        b'{"code":"request.invalid","title":"No","requestId":"r7",'
        b'"errors":[{"pointer":"/name","message":"too long"}]}'
    )
    problem = ApiProblem.read(422, body, {})
    assert (problem.code, problem.request_id) == ("request.invalid", "r7")
    assert problem.errors[0].pointer == "/name"
    assert "too long" in str(problem)
    assert ApiProblem.read(502, b"<html>", {}).code == "http.502"
    assert ApiProblem.read(502, b"[1]", {}).code == "http.502"


async def test_lists_go_on_to_the_last_page_of_this_gateway(stub, gateway):
    stub.page_size = 2
    made = [(await gateway.inventory.create_item(name=f"Tea {n}")).id for n in range(5)]
    assert [item.id async for item in gateway.inventory.items()] == made[::-1]
    assert len([call for call in stub.calls("/items") if call[0] == "GET"]) == 3


def test_quantities_are_written_as_plain_numbers():
    assert encode({"quantity": Decimal("1E+2")}) == b'{"quantity":100}'
    assert encode({"quantity": Decimal("0.000001")}) == b'{"quantity":0.000001}'


def test_retry_after_is_read_as_seconds_and_as_a_date():
    assert retry_after({"Retry-After": "3"}) == 3
    assert retry_after({"Retry-After": "-3"}) == 0
    assert retry_after({}) is None
    assert retry_after({"Retry-After": "soon"}) is None
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < retry_after({"Retry-After": later}) <= 3600
