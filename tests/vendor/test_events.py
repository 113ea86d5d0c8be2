"""What vendor tells the others: each outbox row is exactly its event type."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from restock.engines.streams import connect
from restock.events.vendor import (
    RequestFulfilled,
    RequestOpened,
    RequestResponded,
    VendorChanged,
    VendorRegistered,
)
from tests.vendor.desk import account

TYPES = {
    kind.subject: kind
    for kind in (
        VendorRegistered,
        VendorChanged,
        RequestOpened,
        RequestResponded,
        RequestFulfilled,
    )
}


async def told(desk):
    """The outbox as (envelope's workspace, event); a field more or less than declared fails."""
    events = []
    for row in await desk.events():
        kind = TYPES[row["subject"]]
        event = msgspec.json.decode(row["data"], type=kind)
        declared = {field.encode_name for field in msgspec.structs.fields(kind)}
        assert set(msgspec.json.decode(row["data"])) == declared
        events.append((row["workspace_id"], event))
    return events


async def test_registering_and_changing_a_vendor_is_told(desk):
    who = account()
    vendor = await desk.registered(who, name="Tea & Co")
    path = f"/{vendor['id']}"
    await desk.ask(who, "PATCH", path, json={"name": "Tea Ltd"})
    await desk.ask(who, "PATCH", path, json={"name": "Tea Ltd"})
    await desk.ask(account(role="admin"), "PATCH", path, json={"isActive": False})
    same = {
        "vendor_id": UUID(vendor["id"]),
        "workspace_id": who.workspace_id,
        "user_ids": [who.user_id],
    }
    registered, renamed, closed = await told(desk)
    assert registered == (who.workspace_id, VendorRegistered(name="Tea & Co", seq=1, **same))
    assert renamed == (
        who.workspace_id,
        VendorChanged(name="Tea Ltd", is_active=True, seq=2, **same),
    )
    # the edit that made nothing different did not count
    assert closed == (
        who.workspace_id,
        VendorChanged(name="Tea Ltd", is_active=False, seq=3, **same),
    )


async def test_a_refused_change_tells_nothing(desk):
    who = account()
    vendor = await desk.registered(who)
    await desk.ask(account(), "PATCH", f"/{vendor['id']}", json={"city": "Leeds"})
    await desk.contact(account(), vendor, UUID(int=1))
    assert len(await told(desk)) == 1


async def test_each_step_of_a_request_is_told_with_all_both_sides_need(desk):
    seller, buyer = account("Sal"), account("Bob")
    vendor = await desk.registered(seller, name="Tea & Co")
    item_id = desk.inventory.put(buyer.token, name="Oolong", unit="box", sku=None)
    answers = [await desk.contact(buyer, vendor, item_id, quantity=2.5, message="Soon")]
    for status in ("responded", "fulfilled"):
        answers.append(await desk.step(seller, answers[0].json, status))
    events = (await told(desk))[1:]
    assert [type(event) for _, event in events] == [
        RequestOpened,
        RequestResponded,
        RequestFulfilled,
    ]
    for seq, ((workspace_id, event), answer) in enumerate(zip(events, answers, strict=True), 1):
        request = answer.json
        assert workspace_id == event.workspace_id == buyer.workspace_id
        assert (event.id, event.vendor_id) == (UUID(request["id"]), UUID(vendor["id"]))
        assert (event.item_id, event.user_id) == (item_id, buyer.user_id)
        assert (event.quantity, event.message) == (Decimal("2.5"), "Soon")
        assert (event.item.name, event.item.unit, event.item.sku) == ("Oolong", "box", None)
        assert event.status == request["status"]
        assert event.created_at == datetime.fromisoformat(request["createdAt"])
        assert [(step.status, step.at, str(step.user_id)) for step in event.history] == [
            (step["status"], datetime.fromisoformat(step["at"]), step["userId"])
            for step in request["history"]
        ]
        assert (event.vendor_name, event.client_name) == ("Tea & Co", "Bob")
        assert event.user_ids == [seller.user_id]
        assert event.seq == seq


async def test_the_client_keeps_the_name_he_asked_under(desk):
    seller, buyer = account(), account("Bob")
    request = await desk.opened(buyer, await desk.registered(seller))
    await desk.step(account("Somebody", workspace_id=seller.workspace_id), request, "responded")
    _, responded = (await told(desk))[-1]
    assert responded.client_name == "Bob"


async def test_events_carry_the_trace_of_their_request(desk):
    request_id = "01920000-0000-7000-8000-000000000001"
    buyer = account()
    vendor = await desk.registered(account())
    await desk.contact(
        buyer, vendor, desk.inventory.put(buyer.token), headers={"X-Request-Id": request_id}
    )
    parent = await desk.service.fetchval(
        "SELECT traceparent FROM outbox WHERE subject = 'vendor.request.opened'"
    )
    assert parent.split("-")[1] == request_id.replace("-", "")


async def test_events_reach_the_bus(make_desk, nats):
    desk = await make_desk(nats=nats)
    buyer = account()
    messages = []
    operator = await connect(nats.url, nats.credential("operator"))
    stream = await operator.jetstream().subscribe("vendor.>", ordered_consumer=True)
    await desk.opened(buyer, await desk.registered(account()))
    for _ in range(2):
        messages.append(await stream.next_msg(timeout=20))
    await operator.close()
    assert [message.subject for message in messages] == [
        "vendor.vendor.registered",
        "vendor.request.opened",
    ]
