"""From the stream into the inbox: each event has its effect once, however often it comes."""

import asyncio

from nats.js.errors import NotFoundError

from restock.events.vendor import RequestOpened
from restock.kernel.ids import new_id
from tests.notification.happenings import fell_low, request_event, vendor_registered


async def settled(service, *streams):
    """Wait until the service has answered everything in its streams."""
    bus = service.context.bus
    for stream in streams:
        async with asyncio.timeout(20):
            while not await _answered(bus, stream):
                await asyncio.sleep(0.02)


async def _answered(bus, stream):
    try:
        info = await bus.js.consumer_info(stream, "notification")
    except NotFoundError:
        return False  # the service has only just started
    return info.num_pending == 0 and info.num_ack_pending == 0


async def test_an_event_delivered_often_is_told_once(live, publisher, ada):
    event_ids = [
        await publisher.publish(fell_low(ada.user_id, name=f"item {number}"), again=3)
        for number in range(5)
    ]
    opened = request_event(RequestOpened, buyer=new_id(), people=[ada.user_id])
    event_ids.append(await publisher.publish(opened, again=3))
    await settled(live, "INVENTORY", "VENDOR")
    rows = await live.fetch(
        "SELECT event_id, count(*) AS times FROM notifications WHERE user_id = $1 GROUP BY 1",
        ada.user_id,
    )
    assert {row["event_id"]: row["times"] for row in rows} == dict.fromkeys(event_ids, 1)
    feed = await live.fetch("SELECT head, unread FROM feeds WHERE user_id = $1", ada.user_id)
    assert [tuple(row) for row in feed] == [(7, 6)]


async def test_a_vendors_people_are_known_once_it_is_registered(live, publisher, ada, bob):
    vendor_id = new_id()
    event = vendor_registered([ada.user_id, bob.user_id], vendor_id)
    await publisher.publish(event, again=1)
    await settled(live, "VENDOR")
    rows = await live.fetch("SELECT user_id FROM vendor_people WHERE vendor_id = $1", vendor_id)
    assert {row["user_id"] for row in rows} == {ada.user_id, bob.user_id}
