"""Long polling: a client's packets come in the bodies of its POSTs, ours wait for its next GET."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from restock.notification import packets
from restock.notification.links import Link

BODY_BYTES_MOST = 16 * 1024
BYTES_MOST = 128 * 1024
BYTES_LOW = 32 * 1024
PACKETS_MOST = 2_000
BODY_PACKETS_MOST = 1_000
PACKET_OVERHEAD_BYTES = 64

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class BadBody(ValueError):
    """A body too large, of too many packets, or no text."""


class Polling:
    """Carries a link by its polls: bounded, because a client may stop asking."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._poll: asyncio.Future[bytes | None] | None = None
        self._rest: asyncio.Future[None] | None = None
        self._posting = False
        self._ended = False
        self.upgrading = False  # polls end at once, so that the client can go over

    # -- for its link

    @property
    def has_room(self) -> bool:
        return self._bytes <= BYTES_LOW

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    @property
    def polled(self) -> bool:
        """Whether a GET waits."""
        return self._poll is not None and not self._poll.done()

    def send(self, packet: bytes) -> bool:
        size = len(packet) + PACKET_OVERHEAD_BYTES
        if self._bytes + size > BYTES_MOST or len(self._waiting) >= PACKETS_MOST:
            return False
        self._waiting.append(packet)
        self._bytes += size
        self._wake(None)
        return True

    def go_on(self) -> None:
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)

    def close(self, *, farewell: bool = True) -> None:
        """A poll that waits is told; the next would find nobody, which says the same."""
        self._wake(packets.CLOSE if farewell else packets.NOOP)
        self._lost()

    def abort(self) -> None:
        self.close()

    def retire(self) -> list[bytes]:
        """Another carrier takes over; what has not been polled."""
        left, self._waiting = self._waiting, []
        self._wake(packets.NOOP)
        self._ended = True
        self.go_on()
        return left

    def nudge(self) -> None:
        """End a poll that waits."""
        self._wake(packets.NOOP)

    # -- for the engine

    async def get(self, receive: Receive, send: Send) -> None:
        """Answer with what waits, as soon as something does."""
        if self.polled:
            self._link.close("polled twice")
            await answer(send, 400)
            return
        said = None
        if not self._waiting and not self.upgrading:
            said = await self._next(receive)
        if said is None:
            said = packets.SEPARATOR.encode().join(self._waiting) or packets.NOOP.encode()
            self._waiting, self._bytes = [], 0
            self._link.roomy()
        await answer(send, 200, said)

    async def post(self, receive: Receive, send: Send) -> None:
        """Take the packets of a body, one after the other; answered when all were taken."""
        if self._posting:
            self._link.close("posted twice")
            await answer(send, 400)
            return
        self._posting, text = True, ""
        try:
            for text in await read_packets(receive):
                self._link.hear(text)
                await self._idle()
        except BadBody:
            self._link.close("bad packet")
        finally:
            self._posting = False
        if self._link.closing and text != packets.CLOSE:
            await answer(send, 400)
        else:
            await answer(send, 200, b"ok")

    # -- parts

    async def _next(self, receive: Receive) -> bytes | None:
        """Wait for something to say; what to say instead, when it is known already."""
        poll: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._poll = poll
        leaving: asyncio.Future[None] = asyncio.ensure_future(_gone(receive))
        either: list[asyncio.Future[Any]] = [poll, leaving]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not poll.done():
            self._link.close("poll left")
        return poll.result()

    async def _idle(self) -> None:
        while self._link.busy and not self._ended:
            self._rest = asyncio.get_running_loop().create_future()
            await self._rest

    def _wake(self, kind: str | None) -> None:
        """Answer a poll that waits: by this packet, or by what waits."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None if kind is None else kind.encode())

    def _lost(self) -> None:
        if not self._ended:
            self._ended = True
            self.go_on()
            self._link.lost()


async def answer(send: Send, status: int, body: bytes = b"") -> None:
    """A whole answer, never kept by anyone on its way."""
    headers = [
        (b"content-type", b"text/plain; charset=UTF-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_packets(receive: Receive) -> list[str]:
    """The packets of a request. Raises BadBody."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or len(body) > BODY_BYTES_MOST:
            raise BadBody()
        if not message.get("more_body", False):
            break
    try:
        found = body.decode().split(packets.SEPARATOR)
    except UnicodeDecodeError:
        raise BadBody() from None
    if len(found) > BODY_PACKETS_MOST:
        raise BadBody()
    return found


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
