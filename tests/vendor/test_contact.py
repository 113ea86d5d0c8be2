"""Contacting a vendor: what a request holds, who may send one, and one open at a time."""

import asyncio
from collections import Counter
from uuid import uuid4

import pytest

from restock.vendor import store
from tests.vendor.desk import account

REQUEST_FIELDS = {
    "id",
    "vendorId",
    "itemId",
    "userId",
    "workspaceId",
    "quantity",
    "message",
    "status",
    "createdAt",
    "item",
    "history",
    "vendor",
}


async def test_a_request_holds_the_item_as_it_was_and_its_first_step(desk):
    buyer = account("Bob")
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token, name="Oolong", unit="box", sku="OOL-7")
    answer = await desk.contact(buyer, vendor, item_id, quantity=2.5, message="Soon, please")
    assert answer.status == 201
    request = answer.json
    assert set(request) == REQUEST_FIELDS
    assert request["vendorId"] == vendor["id"]
    assert request["vendor"] == vendor
    assert request["itemId"] == str(item_id)
    assert request["item"] == {"name": "Oolong", "unit": "box", "sku": "OOL-7"}
    assert request["userId"] == str(buyer.user_id)
    assert request["workspaceId"] == str(buyer.workspace_id)
    assert (request["quantity"], request["message"]) == (2.5, "Soon, please")
    assert request["status"] == "pending"
    assert request["history"] == [
        {"status": "pending", "at": request["createdAt"], "userId": str(buyer.user_id)}
    ]
    desk.inventory.archive(buyer.token, item_id)
    assert (await desk.ask(buyer, "GET", "/requests")).json == [request]


async def test_the_item_is_asked_for_with_the_callers_token_and_request_id(desk):
    buyer, request_id = account(), str(uuid4())
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    await desk.contact(buyer, vendor, item_id, headers={"X-Request-Id": request_id})
    (asked,) = desk.inventory.asked
    assert asked["path"] == f"/api/inventory/items/{item_id}"
    assert asked["Authorization"] == f"Bearer {buyer.token}"
    assert asked["X-Request-Id"] == request_id


async def test_an_item_without_a_sku_has_none_in_the_snapshot(desk):
    buyer = account()
    vendor = await desk.registered(account())
    answer = await desk.contact(buyer, vendor, desk.inventory.put(buyer.token, sku=None))
    assert answer.json["item"]["sku"] is None


async def test_quantities_are_exact_json_numbers_above_0(desk):
    buyer = account()
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)

    def body(quantity):
        return (
            b'{"itemId": "' + str(item_id).encode() + b'", "message": "m", "quantity": '
            + quantity + b"}"
        )  # fmt: skip

    path = f"/{vendor['id']}/contact"
    for bad in (b"0", b"-0.0", b"-1", b"1e9", b"1000000000", b"0.0000001", b"1.1234567",
                b'"5"', b"null", b"true", b"[]", b"1e999999999", b"1e-999999999"):  # fmt: skip
        answer = await desk.ask(buyer, "POST", path, body=body(bad))
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/quantity"), bad
    for bad in (b"NaN", b"Infinity", b"-Infinity", b"01", b"1."):
        assert (await desk.ask(buyer, "POST", path, body=body(bad))).status == 400, bad
    assert desk.inventory.asked == []
    for good, written in (
        (b"5.000000", b'"quantity":5,'),
        (b"1e2", b'"quantity":100,'),
        (b"999999999.999999", b'"quantity":999999999.999999,'),
        (b"0.000001", b'"quantity":0.000001,'),
    ):
        fresh = desk.inventory.put(buyer.token)
        sent = body(good).replace(str(item_id).encode(), str(fresh).encode())
        answer = await desk.ask(buyer, "POST", path, body=sent)
        assert answer.status == 201
        assert written in answer.body


async def test_what_is_no_request_is_refused(desk):
    buyer = account()
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    for changes, field in (
        ({"message": ""}, "message"),
        ({"message": "x" * 2001}, "message"),
        ({"message": "a\0b"}, "message"),
        ({"message": None}, "message"),
        ({"itemId": "x"}, "itemId"),
        ({"itemId": None}, "itemId"),
        ({"userId": str(uuid4())}, "userId"),
        ({"vendorId": str(uuid4())}, "vendorId"),
        ({"status": "fulfilled"}, "status"),
        ({"item": {"name": "x"}}, "item"),
    ):
        answer = await desk.contact(buyer, vendor, item_id, **changes)
        assert answer.status == 422, changes
        assert answer.json["errors"][0]["pointer"] == f"/{field}"
    answer = await desk.ask(buyer, "POST", f"/{vendor['id']}/contact", json={})
    assert answer.status == 422
    assert await desk.count("contact_requests") == 0
    longest = await desk.contact(buyer, vendor, item_id, message="é" * 2000)
    assert longest.status == 201


async def test_an_unknown_vendor_is_not_found(desk):
    buyer = account()
    answer = await desk.contact(buyer, {"id": uuid4()}, desk.inventory.put(buyer.token))
    assert (answer.status, answer.json["code"]) == (404, "vendor.not_found")


async def test_an_item_that_is_not_the_callers_or_archived_is_not_found(desk):
    buyer, other = account(), account()
    vendor = await desk.registered(other)
    archived = desk.inventory.put(buyer.token)
    desk.inventory.archive(buyer.token, archived)
    for item_id in (desk.inventory.put(other.token), archived, uuid4()):
        answer = await desk.contact(buyer, vendor, item_id)
        assert (answer.status, answer.json["code"]) == (404, "vendor.item_not_found")
    assert await desk.count("contact_requests") == 0


async def test_an_inactive_vendor_takes_no_requests(desk):
    buyer, admin = account(), account(role="admin")
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    await desk.ask(admin, "PATCH", f"/{vendor['id']}", json={"isActive": False})
    answer = await desk.contact(buyer, vendor, item_id)
    assert (answer.status, answer.json["code"]) == (409, "vendor.inactive")
    await desk.ask(admin, "PATCH", f"/{vendor['id']}", json={"isActive": True})
    assert (await desk.contact(buyer, vendor, item_id)).status == 201


async def test_a_vendor_that_is_made_active_meanwhile_takes_the_request(desk, monkeypatch):
    """Between the statement that found it inactive and the one that would say why."""
    buyer, admin = account(), account(role="admin")
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    path, open_request = f"/{vendor['id']}", store.open_request
    await desk.ask(admin, "PATCH", path, json={"isActive": False})

    async def opened_late(*given, **named):
        request_id = await open_request(*given, **named)
        await desk.ask(admin, "PATCH", path, json={"isActive": True})
        return request_id

    monkeypatch.setattr(store, "open_request", opened_late)
    assert (await desk.contact(buyer, vendor, item_id)).status == 201


async def test_one_request_is_open_for_a_workspace_vendor_and_item(desk):
    seller, buyer = account(), account()
    vendor, second_vendor = await desk.registered(seller), await desk.registered(seller)
    item_id = desk.inventory.put(buyer.token)
    first = (await desk.contact(buyer, vendor, item_id)).json
    colleague = account(workspace_id=buyer.workspace_id)
    desk.inventory.share(item_id, buyer.token, colleague.token)
    for who in (buyer, colleague):
        answer = await desk.contact(who, vendor, item_id, quantity=1, message="again")
        assert (answer.status, answer.json["code"]) == (409, "vendor.request_open")
        assert answer.json["openRequestId"] == first["id"]
    assert (await desk.contact(buyer, second_vendor, item_id)).status == 201
    assert (await desk.contact(buyer, vendor, desk.inventory.put(buyer.token))).status == 201
    await desk.step(seller, first, "responded")
    assert (await desk.contact(buyer, vendor, item_id)).status == 409
    await desk.step(seller, first, "fulfilled")
    again = await desk.contact(buyer, vendor, item_id)
    assert again.status == 201
    assert again.json["id"] != first["id"]


async def test_of_twenty_at_once_one_opens(desk):
    buyer = account()
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    answers = await asyncio.gather(*(desk.contact(buyer, vendor, item_id) for _ in range(20)))
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 19}
    (opened,) = [answer.json for answer in answers if answer.status == 201]
    refused = [answer.json for answer in answers if answer.status == 409]
    assert {problem["code"] for problem in refused} == {"vendor.request_open"}
    assert {problem["openRequestId"] for problem in refused} == {opened["id"]}
    assert await desk.count("contact_requests") == 1
    assert await desk.count("request_steps") == 1
    subjects = [row["subject"] for row in await desk.events()]
    assert subjects.count("vendor.request.opened") == 1


async def test_twenty_at_once_under_one_key_are_one_request_and_one_answer(desk):
    buyer = account()
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    headers = {"Idempotency-Key": "restock-1"}
    answers = await asyncio.gather(
        *(desk.contact(buyer, vendor, item_id, headers=headers) for _ in range(20))
    )
    assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
    assert await desk.count("contact_requests") == 1
    desk.inventory.behaviour = "fails"
    later = await desk.contact(buyer, vendor, item_id, headers=headers)
    assert (later.status, later.body) == (201, answers[0].body)
    other = await desk.contact(buyer, vendor, item_id, message="other", headers=headers)
    assert other.status == 422


async def test_inventory_away_is_not_kept_under_the_key(desk):
    buyer = account()
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    headers = {"Idempotency-Key": "restock-1"}
    desk.inventory.behaviour = "fails"
    assert (await desk.contact(buyer, vendor, item_id, headers=headers)).status == 503
    desk.inventory.behaviour = "answers"
    assert (await desk.contact(buyer, vendor, item_id, headers=headers)).status == 201


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        ("fails", 503, "vendor.inventory_unavailable"),
        ("garbles", 503, "vendor.inventory_unavailable"),
        ("limits", 503, "vendor.inventory_unavailable"),
        ("redirects", 503, "vendor.inventory_unavailable"),
        ("disbelieves", 401, "auth.unauthenticated"),
    ],
)
async def test_when_inventory_does_not_answer_nothing_is_opened(desk, behaviour, status, code):
    buyer = account()
    vendor = await desk.registered(account())
    desk.inventory.behaviour = behaviour
    answer = await desk.contact(buyer, vendor, desk.inventory.put(buyer.token))
    assert (answer.status, answer.json["code"]) == (status, code)
    if status == 503:
        assert int(answer.headers["Retry-After"]) >= 1
    assert await desk.count("contact_requests") == 0
    assert all(asked["path"].startswith("/api/inventory/items/") for asked in desk.inventory.asked)


async def test_when_inventory_is_down_it_is_503_and_the_rest_of_vendor_works(desk):
    buyer = account()
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    await desk.inventory.stop()
    answer = await desk.contact(buyer, vendor, item_id)
    assert (answer.status, answer.json["code"]) == (503, "vendor.inventory_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await desk.ask(buyer, "GET", "/requests")).status == 200
    await desk.inventory.start()
    assert (await desk.contact(buyer, vendor, item_id)).status == 201


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "restock-1"}])
async def test_while_inventory_hangs_no_connection_is_held(make_desk, headers):
    desk = await make_desk(pool_size="1", inventory_timeout="20")
    buyer = account()
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    desk.inventory.behaviour = "hangs"
    hanging = asyncio.create_task(desk.contact(buyer, vendor, item_id, headers=headers))
    await desk.inventory.hanging.wait()
    assert (await desk.ask(buyer, "GET", f"/{vendor['id']}")).status == 200
    desk.inventory.behaviour = "answers"
    desk.inventory.release()
    assert (await hanging).status == 201


async def test_a_hanging_inventory_is_waited_for_only_so_long(make_desk):
    desk = await make_desk(inventory_timeout="0.2")
    buyer = account()
    vendor = await desk.registered(account())
    desk.inventory.behaviour = "hangs"
    answer = await desk.contact(buyer, vendor, desk.inventory.put(buyer.token))
    assert (answer.status, answer.json["code"]) == (503, "vendor.inventory_unavailable")


async def test_after_failures_in_a_row_inventory_is_left_alone(make_desk):
    desk = await make_desk(inventory_failures="3", inventory_rest="60")
    buyer = account()
    vendor = await desk.registered(account())
    item_id = desk.inventory.put(buyer.token)
    desk.inventory.behaviour = "fails"
    for _ in range(6):
        answer = await desk.contact(buyer, vendor, item_id)
        assert answer.status == 503
    assert len(desk.inventory.asked) == 3
    assert 1 < int(answer.headers["Retry-After"]) <= 60
