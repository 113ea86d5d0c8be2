"""Websockets that cost little while they are idle: one object each, no task and no queue.

uvicorn hands an upgrade over to a `Stream`, which asks the application once, by ASGI, whether it
wants it: whoever does takes the stream itself out of the scope, accepts it and becomes its owner.
RFC 6455 is read and written by the sans-I/O half of websockets, in slices: what is left of one
waits while the owner is busy, and the client with it.
"""

import asyncio
from typing import Any, Protocol, cast

from websockets import protocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, SERVER
from websockets.server import ServerProtocol

from restock.kernel.telemetry import log

STREAM = "restock.stream"
MESSAGE_BYTES_MOST = 16 * 1024
SLICE_BYTES = 4 * 1024
FRAMES_MOST = 1_000  # some 10 us each, and many times what a client has to say
FRAMES_WITHIN_S = 10.0
FRAGMENTS_MOST = 1_000
ANSWERS_MOST = 500  # pongs in a row of which the client has read nothing
BYTES_MOST = 128 * 1024
BYTES_LOW = 32 * 1024
PART_WITHIN_S = 2.0
IGNORED_BYTES_MOST = 256 * 1024

NORMAL, GOING_AWAY, UNSUPPORTED, BAD_TEXT = 1000, 1001, 1003, 1007
REASONS = {400: "Bad Request", 403: "Forbidden", 500: "Internal Server Error"}
UNAVAILABLE = 503


class Owner(Protocol):
    """Whoever a stream belongs to."""

    busy: bool

    def hear(self, text: str) -> None:
        """A message came. One that sets `busy` is the last until `Stream.go_on`."""

    def roomy(self) -> None:
        """Most of what was sent has left."""

    def lost(self) -> None:
        """The stream is over, or as good as."""


class Stream(asyncio.Protocol):
    """One websocket, from its request to its end. What uvicorn calls a websocket protocol."""

    __slots__ = (
        "_answers", "_app", "_connections", "_counted", "_counted_until", "_data", "_frames",
        "_full", "_ignored", "_owner", "_parts", "_reading", "_request", "_tasks", "_timer",
        "_transport", "_wire",
    )  # fmt: skip

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        self._app = config.loaded_app
        self._connections = server_state.connections
        self._tasks = server_state.tasks
        self._transport: asyncio.Transport | None = None
        self._wire: protocol.Protocol = ServerProtocol(max_size=MESSAGE_BYTES_MOST)
        self._request: Request | None = None
        self._owner: Owner | None = None
        self._data = b""
        self._frames: list[Frame] = []
        self._counted = 0
        self._counted_until = 0.0
        self._parts: list[Any] | None = None
        self._reading = True
        self._full = False
        self._answers = 0
        self._ignored = 0
        self._timer: asyncio.TimerHandle | None = None

    # -- for its owner

    def accept(self) -> bool:
        """Open the websocket, for `belong`; False when it can't be, and is closed."""
        if self._transport is None or self._request is None or self._transport.is_closing():
            return False
        handshake = cast(ServerProtocol, self._wire)
        handshake.send_response(handshake.accept(self._request))
        self._request = None
        self._transport.write(b"".join(handshake.data_to_send()))
        if handshake.state is not OPEN:
            self._transport.close()
            return False
        # the one that shook hands would keep the request
        self._wire = protocol.Protocol(SERVER, max_size=MESSAGE_BYTES_MOST)
        return True

    def refuse(self, status: int) -> None:
        """Answer the request by this status instead."""
        if self._transport is not None:
            self._request = None
            reason = REASONS.get(status, "Service Unavailable")
            answer = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            self._transport.write(answer.encode())
            self._transport.close()

    def belong(self, owner: Owner) -> None:
        """Tell this owner what happens from now on."""
        self._owner = owner

    def send(self, packet: bytes) -> bool:
        """Send a text message; False when too much waits already."""
        if self._transport is None or self._owner is None:
            return True
        if self._full and self.waiting_bytes + len(packet) > BYTES_MOST:
            return False
        self._transport.write(text_frame(packet))
        return True

    @property
    def has_room(self) -> bool:
        return not self._full

    @property
    def waiting_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def go_on(self) -> None:
        """Take what has come, until there is no more or the owner is busy."""
        while self._owner is None or not self._owner.busy:
            if self._frames:
                self._take(self._frames.pop())
            elif self._data:
                some, self._data = self._data[:SLICE_BYTES], self._data[SLICE_BYTES:]
                self._wire.receive_data(some)
                self._frames = cast(list[Frame], self._wire.events_received()[::-1])
                if not self._may_send(len(self._frames)):
                    self.abort()
                    return
            else:
                self._read_on(going=True)
                return
            if not self._frames:
                self._answer()
        self._read_on(going=False)

    def close(self, *, farewell: bool = True) -> None:
        """End it politely, and within PART_WITHIN_S."""
        self._close(NORMAL)

    def abort(self) -> None:
        """End it at once: who doesn't read won't read a farewell either."""
        if self._transport is not None:
            self._transport.abort()

    # -- for uvicorn and its transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # the protocol before was told whether earlier answers fill it: now whatever waits does
        self._transport.set_write_buffer_limits(high=0)
        self._full = self.waiting_bytes > 0
        self._transport.set_write_buffer_limits(high=BYTES_LOW)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._owner is not None:
            self._data = self._data + data if self._data else data
            self.go_on()
        elif self._app is not None:
            self._shake_hands(data)
        else:
            self._ignored += len(data)
            if self._request is not None or self._ignored > IGNORED_BYTES_MOST:
                self.abort()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._owner is not None:
            self._owner.roomy()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._let_go()

    def shutdown(self) -> None:
        if self._owner is not None:
            self._close(GOING_AWAY)
        elif self._transport is not None:
            self._transport.close()

    # -- parts

    def _shake_hands(self, data: bytes) -> None:
        app, self._app = self._app, None
        self._wire.receive_data(data)
        found = self._wire.events_received()
        if not found:
            self.refuse(400)
            return
        self._request = cast(Request, found[0])
        task = asyncio.get_running_loop().create_task(self._ask(app, self._request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, app: Any, request: Request) -> None:
        """Have the application say what becomes of it: accepted by its new owner, or refused."""
        path, _, query = request.path.partition("?")
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "ws",
            "server": None,
            "client": None,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in request.headers.raw_items()],
            "subprotocols": [],
            "state": {},
            "extensions": {STREAM: self},
        }
        said = iter(["websocket.connect"])

        async def receive() -> dict[str, Any]:
            return {"type": next(said, "websocket.disconnect"), "code": 1005}

        async def send(_message: Any) -> None:
            """Only who knows the stream itself can accept it."""

        status = 403
        try:
            await app(scope, receive, send)
        except Exception as error:
            log.error("streams.request_failed", exc_info=error)
            status = 500
        if self._request is not None:
            self.refuse(status)

    def _may_send(self, frames: int) -> bool:
        """Count frames that came; False when they are too many."""
        moment = asyncio.get_running_loop().time()
        if moment > self._counted_until:
            self._counted, self._counted_until = 0, moment + FRAMES_WITHIN_S
        self._counted += frames
        return self._counted <= FRAMES_MOST

    def _take(self, frame: Frame) -> None:
        if self._owner is None or frame.opcode not in (Opcode.TEXT, Opcode.CONT, Opcode.BINARY):
            return  # the others have been answered
        if frame.opcode is Opcode.BINARY:
            self._fail(UNSUPPORTED)
            return
        said = frame.data
        if self._parts is not None or not frame.fin:
            self._parts = self._parts or []
            self._parts.append(said)
            if len(self._parts) > FRAGMENTS_MOST:
                self.abort()
            if not frame.fin:
                return
            said, self._parts = b"".join(self._parts), None
        try:
            text = str(said, "utf-8")
        except UnicodeDecodeError:
            self._fail(BAD_TEXT)
        else:
            self._owner.hear(text)

    def _answer(self) -> None:
        """Send what the protocol has to say by itself: pongs, the answer to a farewell."""
        said = self._wire.data_to_send()
        if not said or self._transport is None:
            return
        self._answers = self._answers + 1 if self._transport.get_write_buffer_size() else 1
        self._transport.write(b"".join(said))
        if self._answers > ANSWERS_MOST or self.waiting_bytes > BYTES_MOST:
            self.abort()
        elif said[-1] == b"":
            self._finish()

    def _finish(self) -> None:
        """The last frame was sent. A client that failed may still be sending: it can't read its
        close code once we close both ways."""
        self._let_go()
        if self._transport is None:
            return
        if self._wire.close_rcvd is not None:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
        self._await_end()

    def _fail(self, code: int) -> None:
        self._frames = []
        if not self._wire.eof_sent:
            self._wire.fail(code)
        self._answer()

    def _close(self, code: int) -> None:
        if self._transport is None or self._transport.is_closing() or self._timer is not None:
            return
        if self._wire.state is OPEN:
            self._wire.send_close(code)
            self._answer()
        self._await_end()

    def _await_end(self) -> None:
        if self._timer is None and self._transport is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PART_WITHIN_S, self._transport.abort)

    def _let_go(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.lost()

    def _read_on(self, *, going: bool) -> None:
        if self._transport is None or self._transport.is_closing() or going is self._reading:
            return
        self._reading = going
        if going:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()


def text_frame(said: bytes) -> bytes:
    """A server's frame of one whole text message."""
    size = len(said)
    if size < 126:
        return bytes((0x81, size)) + said
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + said
    return b"\x81\x7f" + size.to_bytes(8, "big") + said
