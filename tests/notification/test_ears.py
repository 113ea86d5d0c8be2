"""An ear is called by nats-py's client as a subscription of its own would be."""

import asyncio

import nats
import pytest

from restock.notification.ears import listen, settle


@pytest.fixture
async def client(lasting_nats):
    environ = lasting_nats.env_for("notification")
    connection = await nats.connect(
        environ["RESTOCK_NATS_URL"],
        user=environ["RESTOCK_NOTIFICATION_NATS_USER"],
        password=environ["RESTOCK_NOTIFICATION_NATS_PASSWORD"],
        reconnect_time_wait=0.05,
        inbox_prefix=b"_INBOX_notification",
    )
    yield connection
    await connection.close()


async def test_each_ear_hears_its_subject_in_order(client):
    first, second = [], []
    await listen(client, "push.user.one", first.append)
    await listen(client, "push.user.two", second.append)
    for number in range(200):
        await client.publish("push.user.one", b"%d" % number)
    await client.publish("push.user.two", b"x" * 20_000)
    await settle(client, 5)
    assert first == [b"%d" % number for number in range(200)]
    assert second == [b"x" * 20_000]


async def test_an_ear_that_is_closed_hears_nothing(client):
    heard = []
    ear = await listen(client, "push.user.one", heard.append)
    await ear.unsubscribe()
    await client.publish("push.user.one", b"late")
    await settle(client, 5)
    assert heard == []
    with pytest.raises(nats.errors.BadSubscriptionError):
        await ear.unsubscribe()


async def test_what_an_ear_breaks_is_its_own(client):
    heard = []
    await listen(client, "push.user.one", int)
    await listen(client, "push.user.one", heard.append)
    await client.publish("push.user.one", b"no number")
    await settle(client, 5)
    await client.publish("push.user.one", b"1")
    await settle(client, 5)
    assert heard == [b"no number", b"1"]


async def test_ears_survive_a_reconnect_and_a_drain_ends_them(client):
    heard = []
    await listen(client, "push.user.one", heard.append)
    back = asyncio.Event()

    async def reconnected():
        back.set()

    client._reconnected_cb = reconnected
    client._transport.close()
    async with asyncio.timeout(20):
        await back.wait()
        while not heard:
            await client.publish("push.user.one", b"again")
            await settle(client, 5)
    await client.drain()
    assert set(heard) == {b"again"}
    assert client.is_closed
