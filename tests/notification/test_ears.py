"""An ear is called by nats-py's client as a subscription of its own would be."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import nats
import nats.errors
import pytest

from restock.kernel.ids import new_id
from restock.notification.ears import listen, settle
from restock.notification.pushes import Pushes


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


class Late:
    """As much of a NATS server as one ear needs; it answers PINGs while `answers` is set."""

    def __init__(self):
        self.answers = asyncio.Event()
        self.answers.set()

    async def serve(self, reader, writer):
        ear = b""
        writer.write(b'INFO {"server_id":"late","version":"2.10.0","max_payload":1048576}\r\n')
        with suppress(ConnectionError):
            while line := await reader.readline():
                words = line.split()
                if words[0] == b"SUB":
                    ear = words[-1]
                elif words[0] == b"PUB":
                    said = await reader.readline()
                    writer.write(b"MSG %b %b %b\r\n%b" % (words[1], ear, words[-1], said))
                elif words[0] == b"PING":
                    await self.answers.wait()
                    writer.write(b"PONG\r\n")
        writer.close()


@pytest.fixture
async def late():
    """A server that answers late, and its client."""
    server = Late()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        client = await nats.connect(f"nats://127.0.0.1:{port}")
        yield server, client
        server.answers.set()
        await client.close()


async def asked(client):
    async with asyncio.timeout(20):
        while not client._pongs:
            await asyncio.sleep(0)


async def test_an_answer_that_comes_too_late_does_not_end_the_reading(late):
    server, client = late
    heard = []
    await listen(client, "push.user.one", heard.append)
    server.answers.clear()
    with pytest.raises(TimeoutError):
        await settle(client, 0.01)
    server.answers.set()
    await client.publish("push.user.one", b"after")
    await settle(client, 20)
    assert heard == [b"after"]


async def test_nothing_is_settled_with_who_does_not_read(late):
    server, client = late
    server.answers.clear()
    settling = asyncio.create_task(settle(client, 600))
    await asked(client)
    client._reading_task.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(nats.errors.FlushTimeoutError):
            await settling
    with pytest.raises(nats.errors.ConnectionClosedError):
        await settle(client, 600)


async def test_the_ears_of_who_is_interrupted_are_forgotten(late):
    server, client = late
    server.answers.clear()
    pushes = Pushes(SimpleNamespace(connected=True, nc=client))
    hears = {new_id(): [].append for _ in range(2)}
    subscribing = asyncio.create_task(pushes.subscribe(hears))
    await asked(client)
    assert len(client._subs) == 2
    subscribing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await subscribing
    assert client._subs == {}


async def test_an_ear_nobody_can_be_told_of_is_forgotten(late, monkeypatch):
    async def broken(_ear):
        raise ConnectionResetError

    _, client = late
    monkeypatch.setattr(client, "_send_subscribe", broken)
    with pytest.raises(ConnectionResetError):
        await listen(client, "push.user.one", [].append)
    assert client._subs == {}
