"""The Socket.IO server of one process: sessions, their polls and websockets, and nothing about what
they mean (decision 0016). An ASGI application, asked once for a websocket and once for each poll.
"""

import asyncio
import secrets
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from prometheus_client import Gauge

from restock.kernel.edge import problem_messages
from restock.kernel.faults import Unavailable
from restock.notification import links, packets
from restock.notification.links import CLOSE_WITHIN_S, Link, Listener
from restock.notification.polling import (
    BODY_BYTES_MOST,
    Polling,
    Receive,
    Scope,
    Send,
    answer,
)
from restock.notification.streams import STREAM, UNAVAILABLE, Stream

UPGRADE_STEP_WITHIN_S = 10.0

OPEN_SOCKETS = Gauge(
    "restock_sockets_open", "Engine.IO connections open.", multiprocess_mode="livesum"
)


class Engine:
    """Serves `/socket.io/` to one process's clients."""

    def __init__(self, listener: Listener, *, worker: int) -> None:
        self.listener = listener
        self.links: dict[str, Link] = {}
        self._worker = worker
        self._closed = False
        self._emptied = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._upgrades: dict[Link, Upgrade] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        sid = query.get("sid")
        if scope["type"] == "websocket":
            self._take_stream(scope["extensions"][STREAM], query, sid)
        elif self._closed:
            for message in problem_messages(Unavailable()):
                await send(message)
        elif (query.get("EIO"), query.get("transport")) != (packets.VERSION, "polling"):
            await answer(send, 400)
        elif sid is None:
            await self._begin_polling(scope, send)
        else:
            await self._poll(sid, scope, receive, send)

    async def shut_down(self) -> None:
        """Close every link and take no other; the clients come back to whoever serves next."""
        self._closed = True
        for link in list(self.links.values()):
            link.close("shutdown")
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S + 1):
                while self.links:
                    self._emptied.clear()
                    await self._emptied.wait()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_WITHIN_S)

    # -- for links

    def new_id(self) -> str:
        """`<worker>-…`: the gateway sends a polling client back to its worker by it."""
        return f"{self._worker}-{secrets.token_urlsafe(15)}"

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, link: Link) -> None:
        if self.links.pop(link.sid, None) is not None:
            OPEN_SOCKETS.dec()
            self._emptied.set()
        upgrade = self._upgrades.pop(link, None)
        if upgrade is not None:
            upgrade.give_up()

    # -- parts

    def _take_stream(self, stream: Stream, query: dict[str, str], sid: str | None) -> None:
        if self._closed:
            stream.refuse(UNAVAILABLE)
        elif (query.get("EIO"), query.get("transport")) != (packets.VERSION, "websocket"):
            stream.refuse(400)
        elif sid is None:
            if stream.accept():
                link = self._new_link()
                stream.belong(link)
                link.carry(stream)
                stream.send(_opening(link, []))
        else:
            self._upgrade(stream, self.links.get(sid))

    def _upgrade(self, stream: Stream, link: Link | None) -> None:
        """Of two that want to take over, the later counts."""
        if link is None or link.closing:
            stream.refuse(400)
        elif stream.accept():
            if not isinstance(link.carrier, Polling):
                stream.close()  # it went over long ago
                return
            earlier = self._upgrades.get(link)
            if earlier is not None:
                earlier.give_up()
            self._upgrades[link] = Upgrade(self._upgrades, link, link.carrier, stream)

    async def _begin_polling(self, scope: Scope, send: Send) -> None:
        if scope["method"] != "GET":
            await answer(send, 400)
            return
        link = self._new_link()
        link.carry(Polling(link))
        await answer(send, 200, _opening(link, ["websocket"]))

    async def _poll(self, sid: str, scope: Scope, receive: Receive, send: Send) -> None:
        link = self.links.get(sid)
        carrier = link.carrier if link is not None else None
        if not isinstance(carrier, Polling):
            await answer(send, 400)
        elif scope["method"] == "GET":
            await carrier.get(receive, send)
        elif scope["method"] == "POST":
            await carrier.post(receive, send)
        else:
            await answer(send, 400)

    def _new_link(self) -> Link:
        link = Link(self, self.new_id())
        self.links[link.sid] = link
        OPEN_SOCKETS.inc()
        return link


class Upgrade:
    """A websocket that is to take the place of a link's polling: it says `2probe`, hears `3probe`,
    and says `5` when its last poll has ended. Until then the polls go on."""

    busy = False

    def __init__(
        self, upgrades: "dict[Link, Upgrade]", link: Link, polling: Polling, stream: Stream
    ) -> None:
        self._upgrades = upgrades
        self._link = link
        self._polling = polling
        self._stream = stream
        self._timer = self._await_step()
        stream.belong(self)

    def hear(self, text: str) -> None:
        if self._upgrades.get(self._link) is not self:
            return  # given up: what it still says counts no more
        if not self._polling.upgrading and text == packets.PING + packets.PROBE:
            self._timer.cancel()
            self._timer = self._await_step()
            self._polling.upgrading = True
            self._polling.nudge()
            self._stream.send((packets.PONG + packets.PROBE).encode())
        elif self._polling.upgrading and text == packets.UPGRADE:
            self._take_over()
        else:
            self.give_up()

    def roomy(self) -> None:
        """Two short packets are all that is sent."""

    def lost(self) -> None:
        self._timer.cancel()
        if self._upgrades.get(self._link) is self:
            del self._upgrades[self._link]
            self._polling.upgrading = False

    def give_up(self) -> None:
        """The polls go on, without this websocket."""
        self.lost()
        self._stream.close()

    def _take_over(self) -> None:
        self._timer.cancel()
        self._upgrades.pop(self._link, None)
        self._stream.belong(self._link)
        self._link.carry(self._stream)
        for packet in self._polling.retire():
            self._stream.send(packet)

    def _await_step(self) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(UPGRADE_STEP_WITHIN_S, self.give_up)


def _opening(link: Link, upgrades: list[str]) -> bytes:
    return packets.opening(
        link.sid,
        upgrades=upgrades,
        interval_s=links.PING_INTERVAL_S,
        timeout_s=links.PING_TIMEOUT_S,
        most=BODY_BYTES_MOST,
    )
