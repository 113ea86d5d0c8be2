"""The Socket.IO core: packets in and out of one process, and nothing about what they mean
(decision 0006).

`Engine` hides python-socketio behind two small shapes, so that another core may take its place:
a `Link` is one client as seen from here, a `Listener` is whoever decides what happens on it.
Below them it adds what that library leaves open: a client that never sends CONNECT is dropped, one
that stops reading is dropped when its backlog is full, and the transport can be closed without
a Socket.IO DISCONNECT, after which a client would not come back by itself.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol

import engineio
import socketio
from engineio.async_socket import AsyncSocket
from engineio.packet import CLOSE, MESSAGE, Packet
from prometheus_client import Counter, Gauge
from socketio.exceptions import ConnectionRefusedError as Refusal
from socketio.packet import CONNECT, CONNECT_ERROR

from restock.kernel.edge import problem_messages
from restock.kernel.faults import Unavailable
from restock.kernel.telemetry import log
from restock.notification.backlog import Backlog
from restock.notification.streams import Stream

CONNECT_WITHIN_S = 5.0
CLOSE_WITHIN_S = 2.0
PING_INTERVAL_S = 25
PING_TIMEOUT_S = 20
FRAME_BYTES_MOST = 16 * 1024
CONNECTS_MOST = 5
REFUSED_FOR_S = 2.0  # a CONNECT_ERROR may still be waiting to be polled
BINARY = ("5", "6")

OPEN_SOCKETS = Gauge(
    "restock_sockets_open", "Engine.IO connections open.", multiprocess_mode="livesum"
)
DROPPED = Counter("restock_sockets_dropped_total", "Connections ended by us, by reason.", ["why"])

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


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


class Link:
    """One client's connection. Its methods never wait, but for `room`."""

    def __init__(self, engine: "Engine", socket: AsyncSocket) -> None:
        self.closing = False
        self.joined = False
        self._engine = engine
        self._socket = socket
        self._connects = 0
        self._backlog: Backlog = socket.queue
        self._backlog.overflowed = lambda: self.close("slow reader")
        self._timer = self._await_connect()

    def send(self, packet: str) -> None:
        """Queue one Socket.IO packet. A link whose backlog is full is closed instead."""
        if not self.closing:
            self._backlog.put_nowait(Packet(MESSAGE, packet))

    @property
    def has_room(self) -> bool:
        return self._backlog.low.is_set()

    async def room(self) -> None:
        """Wait until most of what was queued has left, or the link is closed."""
        await self._backlog.low.wait()

    def close(self, why: str) -> None:
        """End the transport. The standard client takes it for a lost one and reconnects."""
        if self.closing:
            return
        self.closing = True
        self._timer.cancel()
        DROPPED.labels(why).inc()
        full = self._backlog.full_of_bytes
        self._backlog.release()
        self._engine.leave(self)
        if full:
            self._abort()  # who doesn't read won't read a farewell either
        else:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, self._abort)
        self._engine.spawn(self._part())

    def left(self) -> None:
        """The Socket.IO session ended on a transport that goes on: it may CONNECT again, soon."""
        self.joined = False
        if not self.closing:
            self._timer.cancel()
            self._timer = self._await_connect()

    def may_connect(self) -> bool:
        """Count a CONNECT; False, and the end, when there were many. A client needs one."""
        self._connects += 1
        if self._connects > CONNECTS_MOST:
            self.close("too many connects")
        return not self.closing

    def refused(self) -> None:
        """Its CONNECT was refused: the transport ends once the client could hear of it."""
        if not self.closing:
            self._timer.cancel()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(REFUSED_FOR_S, self.close, "refused")

    def entered(self) -> None:
        self.joined = True
        self._timer.cancel()

    def ended(self) -> None:
        """The transport is gone, or will be within CLOSE_WITHIN_S."""
        if not self.closing:
            self.closing = True
            self._timer.cancel()
            self._backlog.release()
            self._backlog.put_nowait(None)  # a poll that still waits gets its empty answer
            self._timer = asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, self._abort)

    def _await_connect(self) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(CONNECT_WITHIN_S, self.close, "no connect")

    async def _part(self) -> None:
        """A CLOSE packet ends a polling client, the None after it a websocket."""
        await self._socket.close(wait=False, abort=True)
        self._backlog.put_nowait(Packet(CLOSE))
        self._backlog.put_nowait(None)

    def _abort(self) -> None:
        stream = getattr(self._socket, "stream", None)
        if stream is not None:
            stream.abort()


class Engine:
    """Serves `/socket.io/` to one process's clients. An ASGI application."""

    def __init__(self, listener: Listener, *, worker: int) -> None:
        self.listener = listener
        self.links: dict[str, Link] = {}
        self._closed = False
        self._idle = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = _SocketIO(self, worker)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._closed:
            await self._server.handle_request(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1012})
        else:
            for message in problem_messages(Unavailable()):
                await send(message)

    async def shut_down(self) -> None:
        """Close every link and take no other; the clients come back to whoever serves next."""
        self._closed = True
        for link in list(self.links.values()):
            link.close("shutdown")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_WITHIN_S)
        if not self._idle:
            self._idle = True
            await self._server.shutdown()

    def leave(self, link: Link) -> None:
        if link.joined:
            link.joined = False
            self.listener.disconnected(link)

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _SocketIO(socketio.AsyncServer):
    """python-socketio, told where our links begin, join and end."""

    def __init__(self, engine: Engine, worker: int) -> None:
        quiet = logging.getLogger("restock.socketio")
        quiet.setLevel(logging.CRITICAL)  # it logs at error level whatever a client sends wrong
        super().__init__(
            async_mode="asgi",
            async_handlers=False,  # one event of a client at a time: the rest waits unread
            namespaces=["/"],
            logger=quiet,
            engineio_logger=quiet,
            worker=worker,
        )
        self._engine = engine
        self._pids: dict[str, str] = {}
        self.on("connect", self._judge)
        self.on("disconnect", self._leave)
        self.on("*", self._say)

    def _engineio_server_class(self) -> type[engineio.AsyncServer]:
        return _EngineIO

    async def _judge(self, sid: str, _environ: Any, auth: Any = None) -> None:
        link = self._link(sid)
        try:
            pid = await self._engine.listener.connect(link, auth)
        except Refused as refused:
            link.refused()
            raise Refusal(refused.message, {"code": refused.code}) from None
        except Away:
            link.close("away")
        except Exception as error:  # a mistake of ours must not leave the client hanging
            log.error("sockets.connect_failed", exc_info=error)
            link.close("away")
        if link.closing:
            self._engine.listener.disconnected(link)
            raise Refusal()
        if pid is not None:
            self._pids[self.manager.eio_sid_from_sid(sid, "/")] = pid

    async def _leave(self, sid: str, _reason: str) -> None:
        link = self._link(sid)
        self._engine.leave(link)
        link.left()

    async def _say(self, name: str, sid: str, *args: Any) -> Any:
        link = self._link(sid)
        if link.closing or not link.joined:
            return None
        return await self._engine.listener.event(link, name, args)

    def _link(self, sid: str) -> Link:
        return self._engine.links[self.manager.eio_sid_from_sid(sid, "/")]

    async def _handle_eio_connect(self, eio_sid: str, environ: Any) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        self._engine.links[eio_sid] = Link(self._engine, self.eio.sockets[eio_sid])
        OPEN_SOCKETS.inc()

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        """Whatever isn't Socket.IO, or comes out of turn, ends the connection."""
        link = self._engine.links.get(eio_sid)
        if link is None or link.closing:
            return
        try:
            if not isinstance(data, str) or data[:1] in BINARY:
                raise ValueError("nothing of ours is binary")
            if data[:1] == str(CONNECT) and not link.may_connect():
                return
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # the library raises many kinds for a packet it can't read
            log.info("sockets.bad_packet", why=repr(error))
            link.close("bad packet")

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        link = self._engine.links.get(eio_sid)
        if link is not None:
            self._engine.leave(link)
            link.ended()
        await super()._handle_eio_disconnect(eio_sid, reason)
        if self._engine.links.pop(eio_sid, None) is not None:
            OPEN_SOCKETS.dec()
        self._pids.pop(eio_sid, None)

    async def _send_packet(self, eio_sid: str, pkt: Any) -> None:
        """A CONNECT answer carries the pid, and what our listener sends comes right after it."""
        link = self._engine.links.get(eio_sid)
        answers = pkt.packet_type in (CONNECT, CONNECT_ERROR)
        if link is None or (answers and link.closing):
            if pkt.packet_type == CONNECT:
                self._forget(link, pkt.data["sid"])
            return
        pid = self._pids.pop(eio_sid, None)
        if pkt.packet_type == CONNECT and pid is not None:
            pkt.data["pid"] = pid
        await super()._send_packet(eio_sid, pkt)
        if pkt.packet_type == CONNECT:
            if link.closing:
                self._forget(link, pkt.data["sid"])
            link.entered()
            self._engine.listener.connected(link)

    def _forget(self, link: Link | None, sid: str) -> None:
        """The transport went while its CONNECT was judged."""
        self.manager.basic_disconnect(sid, "/")
        if link is not None:
            self._engine.listener.disconnected(link)
        raise ConnectionAbortedError()


class _EngineIO(engineio.AsyncServer):
    """python-engineio with numbered ids, bounded backlogs and streams that can be aborted."""

    def __init__(self, *, worker: int, **options: Any) -> None:
        super().__init__(
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_http_buffer_size=FRAME_BYTES_MOST,
            http_compression=False,
            cors_allowed_origins=[],  # which origins may call is the gateway's to say
            **options,
        )
        self._worker = worker
        drivers: dict[str, Any] = self._async  # type: ignore[has-type]
        self._async = drivers | {"websocket": Stream}

    def generate_id(self) -> str:
        """`<worker>-…`: the gateway sends a polling client back to its worker by it."""
        return f"{self._worker}-{secrets.token_urlsafe(15)}"

    def create_queue(self, *_args: Any, **_options: Any) -> "Backlog":
        return Backlog()
