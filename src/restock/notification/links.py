"""One client as the engine sees it, whatever carries its packets: its polls or its websocket.

A `Link` is what the rest of the service holds; a `Listener` is whoever decides what happens on it.
A client that never sends CONNECT is dropped, so is one that stops reading once its backlog is full,
and a link can be closed without a Socket.IO DISCONNECT, after which a client would not come back
by itself.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from prometheus_client import Counter

from restock.kernel.telemetry import log
from restock.notification import packets
from restock.notification.packets import BadPacket, Message

CONNECT_WITHIN_S = 5.0
CLOSE_WITHIN_S = 2.0
PING_INTERVAL_S = 25.0
PING_TIMEOUT_S = 20.0
CONNECTS_MOST = 5
REFUSED_FOR_S = 2.0  # a CONNECT_ERROR may still be waiting to be polled

DROPPED = Counter("restock_sockets_dropped_total", "Connections ended by us, by reason.", ["why"])


class Refused(Exception):
    """A CONNECT is refused for good: the client hears why and doesn't try again by itself."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Away(Exception):
    """A CONNECT can't be judged now: the transport is closed, so the client tries again."""


class Listener(Protocol):
    """What becomes of a link. Only `connected` and `disconnected` come without being awaited."""

    async def connect(self, link: "Link", auth: Any) -> str | None:
        """Judge a CONNECT; the `pid` its answer carries. Raises Refused or Away."""

    def connected(self, link: "Link") -> None:
        """The CONNECT answer is on its way: what is sent from now on comes after it."""

    async def event(self, link: "Link", name: str, args: Sequence[Any]) -> Any:
        """The client said something; what is returned is its acknowledgement."""

    def disconnected(self, link: "Link") -> None:
        """It is over, or `connect` was left before it counted. May come more than once."""


class Carrier(Protocol):
    """What brings packets to a client and back: a `Stream` or a `Polling`."""

    @property
    def has_room(self) -> bool: ...

    @property
    def waiting_bytes(self) -> int:
        """What has not left yet."""
        ...

    def send(self, packet: bytes) -> bool:
        """Send one packet of Engine.IO; False when too much waits already."""
        ...

    def go_on(self) -> None:
        """The link is no longer busy."""

    def close(self, *, farewell: bool = True) -> None:
        """End it politely; `Link.lost` follows when it is over. Who leaves by himself needs no
        farewell."""

    def abort(self) -> None:
        """End it at once; `Link.lost` follows."""


class House(Protocol):
    """Where links live: the engine."""

    listener: Listener

    def new_id(self) -> str: ...

    def spawn(self, work: Any) -> None: ...

    def forget(self, link: "Link") -> None: ...


class Link:
    """One client's connection. Its methods never wait, but for `room`."""

    __slots__ = (
        "__weakref__", "_beat", "_carrier", "_connects", "_deadline", "_house", "_room",
        "_unanswered", "busy", "closing", "joined", "sid",
    )  # fmt: skip

    def __init__(self, house: House, sid: str) -> None:
        self.sid = sid
        self.busy = False  # with a CONNECT or an event: the next waits unread
        self.closing = False
        self.joined = False
        self._house = house
        self._carrier: Carrier
        self._connects = 0
        self._room: asyncio.Future[None] | None = None
        self._unanswered = False
        self._beat = _later(PING_INTERVAL_S, self._ping)
        self._deadline: asyncio.TimerHandle | None = None
        self._await_connect()

    # -- for the listener

    def send(self, packet: bytes) -> None:
        """Queue one Socket.IO packet. A link whose backlog is full is closed instead."""
        if not self.closing and not self._carrier.send(b"4" + packet):
            self._close("slow reader", politely=False)

    @property
    def has_room(self) -> bool:
        return self._carrier.has_room

    @property
    def waiting_bytes(self) -> int:
        return self._carrier.waiting_bytes

    async def room(self) -> None:
        """Wait until most of what was queued has left, or the link is closed."""
        while not self.closing and not self._carrier.has_room:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def close(self, why: str) -> None:
        """End the transport. The standard client takes it for a lost one and reconnects."""
        self._close(why, politely=True)

    # -- for its carrier

    @property
    def carrier(self) -> Carrier:
        return self._carrier

    def carry(self, carrier: Carrier) -> None:
        """Go by this carrier from now on."""
        self._carrier = carrier
        self.roomy()

    def hear(self, text: str) -> None:
        """Take one packet of Engine.IO."""
        if self.closing:
            return
        if self.busy:  # a POST whose answer was not waited for before the upgrade
            self.close("bad packet")
            return
        kind = text[:1]
        if kind == packets.MESSAGE:
            try:
                self._take(packets.read_message(text[1:]))
            except BadPacket as error:
                log.info("sockets.bad_packet", why=str(error))
                self.close("bad packet")
        elif kind == packets.PONG:
            self._unanswered = False
            self._beat.cancel()
            self._beat = _later(PING_INTERVAL_S, self._ping)
        elif kind == packets.CLOSE:
            self._end()
            self._part(farewell=False)
        elif kind != packets.NOOP:
            self.close("bad packet")

    def roomy(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def lost(self) -> None:
        """The carrier is gone."""
        self._end()
        if self._deadline is not None:
            self._deadline.cancel()
        self._house.forget(self)

    # -- parts

    def _take(self, message: Message) -> None:
        if message.kind == packets.CONNECT:
            self._take_connect(message)
        elif message.namespace != packets.MAIN or not self.joined:
            raise BadPacket("out of turn")
        elif message.kind == packets.DISCONNECT:
            self._leave()
            self._await_connect()
        elif message.kind == packets.EVENT:
            self._work(self._say(message))

    def _take_connect(self, message: Message) -> None:
        self._connects += 1
        if self._connects > CONNECTS_MOST:
            self.close("too many connects")
        elif message.namespace != packets.MAIN:
            self.send(packets.refusal(message.namespace, "Invalid namespace"))
        elif self.joined:
            self.send(packets.refusal(packets.MAIN, "Already connected"))
        else:
            self._set_deadline(None)  # how long it is judged is not up to the client
            self._work(self._judge(message.data))

    def _work(self, work: Any) -> None:
        self.busy = True
        self._house.spawn(self._finish(work))

    async def _finish(self, work: Any) -> None:
        try:
            await work
        except Exception as error:  # a mistake of ours must not leave the client hanging
            log.error("sockets.failed", exc_info=error)
            self.close("away")
        finally:
            self.busy = False
            self._carrier.go_on()

    async def _judge(self, auth: Any) -> None:
        listener = self._house.listener
        try:
            pid = await listener.connect(self, auth)
        except Refused as refused:
            self.send(packets.refusal(packets.MAIN, refused.message, refused.code))
            self._let_go()
        except Away:
            self.close("away")
        except Exception:
            listener.disconnected(self)
            raise
        else:
            if not self.closing:
                self.joined = True
                self.send(packets.connected(self._house.new_id(), pid))
            if not self.closing:  # by a backlog that was full
                listener.connected(self)
        if self.closing:
            listener.disconnected(self)

    async def _say(self, message: Message) -> None:
        name, *args = message.data
        answer = await self._house.listener.event(self, name, args)
        if message.id is not None:
            self.send(packets.acknowledgement(message.id, answer))

    def _ping(self) -> None:
        if self._unanswered:
            self.close("ping timeout")
        else:
            self._unanswered = True
            self._beat = _later(PING_TIMEOUT_S, self._ping)
            if not self._carrier.send(packets.PING.encode()):
                self._close("slow reader", politely=False)

    def _close(self, why: str, *, politely: bool) -> None:
        if self.closing:
            return
        DROPPED.labels(why).inc()
        self._end()
        if politely:
            self._part(farewell=True)
        else:
            self._abort()

    def _end(self) -> None:
        self.closing = True
        self._beat.cancel()
        self._leave()
        self.roomy()

    def _part(self, *, farewell: bool) -> None:
        self._set_deadline(CLOSE_WITHIN_S, self._abort)
        self._carrier.close(farewell=farewell)

    def _abort(self) -> None:
        self._carrier.abort()

    def _leave(self) -> None:
        if self.joined:
            self.joined = False
            self._house.listener.disconnected(self)

    def _await_connect(self) -> None:
        self._set_deadline(CONNECT_WITHIN_S, self.close, "no connect")

    def _let_go(self) -> None:
        """Its CONNECT was refused: the transport ends once the client could hear of it."""
        if not self.closing:
            self._set_deadline(REFUSED_FOR_S, self.close, "refused")

    def _set_deadline(self, seconds: float | None, act: Any = None, *args: Any) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else _later(seconds, act, *args)


def _later(seconds: float, act: Any, *args: Any) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, act, *args)
