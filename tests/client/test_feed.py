"""The socket client against a server of the test's own: what it asks for, and what it passes on."""

import asyncio

import pytest
import pytest_asyncio
import socketio
from aiohttp import web

from restock.client import FeedRefused, Gateway
from tests.client.stub_gateway import Stub, app_of
from tests.fixtures.ports import free_port


class SocketStub:
    """A feed whose events the test writes; it replays after `auth.lastSeq` like the real one."""

    def __init__(self) -> None:
        self.stub = Stub()
        self.events = []  # (name, data) in feed order, seq = place from 1
        self.auths = []
        self.runner = None
        self.said = []
        self.trailing = True
        self.refuse = 0
        self.server = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins=[])
        self.server.on("connect", self._connect)
        self.server.on("subscribe", self._subscribe)
        self.server.on("authenticate", self._authenticate)

    async def _connect(self, sid, environ, auth):
        self.auths.append(auth)
        if self.refuse or auth.get("token") not in self.stub.tokens:
            self.refuse = max(0, self.refuse - 1)
            raise socketio.exceptions.ConnectionRefusedError("token_ended")
        self.server.start_background_task(self._welcome, sid, auth)

    async def _welcome(self, sid, auth):
        await asyncio.sleep(0)
        await self.server.emit("sync", {"head": len(self.events), "unreadCount": 0}, to=sid)
        for seq in range(auth.get("lastSeq", len(self.events)) + 1, len(self.events) + 1):
            await self.emit(seq, trailing="lastSeq" not in auth, to=sid)

    async def write(self, name="new_notification"):
        self.events.append((name, {"seq": len(self.events) + 1}))
        await self.emit(len(self.events), trailing=len(self.auths) == 1)

    async def emit(self, seq, *, trailing, to=None):
        name, data = self.events[seq - 1]
        await self.server.emit(name, (data, str(seq)) if trailing else data, to=to)

    def break_all(self):
        for connection in self.runner.server.connections:
            connection.transport.abort()

    async def _subscribe(self, sid, data):
        return {"ok": data["userId"] == "me"}

    async def _authenticate(self, sid, data):
        self.said.append(data["token"])
        return {"ok": True}


@pytest_asyncio.fixture
async def sockets():
    running = SocketStub()
    app = app_of(running.stub)
    running.server.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=1)
    running.runner = runner
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    running.stub.url = f"http://127.0.0.1:{port}"
    yield running
    await runner.cleanup()


@pytest_asyncio.fixture
async def signed_in(sockets):
    async with Gateway(sockets.stub.url, patience=10) as gateway:
        await gateway.auth.register(email="ada@example.org", name="Ada", password="ten letters")
        yield gateway


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_events_come_with_their_place_in_the_feed(sockets, signed_in, transport):
    async with signed_in.feed(transports=(transport,)) as feed:
        assert (await feed.next_of("sync")).data == {"head": 0, "unreadCount": 0}
        await sockets.write()
        await sockets.write("vendor_contact_request")
        first, second = await anext(feed), await anext(feed)
    assert (first.event, first.seq) == ("new_notification", 1)
    assert (second.event, second.seq) == ("vendor_contact_request", 2)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_after_drops_all_is_heard_once_and_in_order(sockets, signed_in, transport):
    heard = []
    async with signed_in.feed(transports=(transport,)) as feed:
        await feed.next_of("sync")
        for round_ in range(5):
            await sockets.write()
            if round_ % 2:
                await feed.drop()
            else:
                sockets.break_all()
            await sockets.write()
            while len(heard) < len(sockets.events):
                heard.append((await feed.next_of("new_notification")).seq)
        assert feed.connections > 1
    assert heard == list(range(1, 11))


async def test_a_reconnect_before_the_first_event_goes_on_from_the_head(sockets, signed_in):
    sockets.events += [("new_notification", {"seq": n}) for n in (1, 2, 3)]
    async with signed_in.feed() as feed:
        await feed.next_of("sync")
        sockets.break_all()
        await feed.next_of("sync")
        await sockets.write()
        assert (await feed.next_of("new_notification")).seq == 4
    assert "lastSeq" not in sockets.auths[0]
    assert sockets.auths[-1]["lastSeq"] == 3


async def test_a_client_that_knows_its_place_hears_what_came_after(sockets, signed_in):
    sockets.events += [("new_notification", {"seq": n}) for n in (1, 2, 3)]
    async with signed_in.feed(last_seq=1) as feed:
        assert [(await feed.next_of("new_notification")).seq for _ in range(2)] == [2, 3]


async def test_an_ended_token_is_renewed_once_then_the_refusal_counts(sockets, signed_in):
    sockets.refuse = 1
    async with signed_in.feed():
        assert len({auth["token"] for auth in sockets.auths}) == 2
    sockets.refuse = 2
    with pytest.raises(FeedRefused, match="token_ended"):
        async with signed_in.feed():
            pytest.fail("connected")


async def test_an_expiring_token_is_renewed_in_place(sockets, signed_in):
    async with signed_in.feed() as feed:
        await feed.next_of("sync")
        await sockets.server.emit("auth_expiring", {"expiresAt": "2030-01-01T00:00:00Z"})
        await feed.next_of("auth_expiring")
        while not sockets.said:
            await asyncio.sleep(0)
        assert sockets.said == [await signed_in.auth.token()]
        assert sockets.said[0] != sockets.auths[0]["token"]
        assert feed.connections == 1


async def test_what_is_asked_is_acknowledged(sockets, signed_in):
    async with signed_in.feed() as feed:
        assert await feed.ask("subscribe", {"userId": "me"}) == {"ok": True}
        assert await feed.ask("subscribe", {"userId": "you"}) == {"ok": False}
