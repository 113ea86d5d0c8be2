"""What waits to be sent to one client: bounded, because a client may stop reading."""

import asyncio
from collections.abc import Callable
from typing import Any

BYTES_MOST = 128 * 1024
BYTES_LOW = 32 * 1024
PACKETS_MOST = 2_000
PACKET_OVERHEAD_BYTES = 64


class Backlog(asyncio.Queue[Any]):
    """What waits to be sent to one client, counted in bytes.

    The library takes all of it at once and then writes packet by packet, so a client that doesn't
    read holds at most twice the limit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.low = asyncio.Event()
        self.low.set()
        self.full_of_bytes = False
        self.overflowed: Callable[[], None] = _nobody
        self._bytes = 0
        self._released = False

    def release(self) -> None:
        """Forget what waits: nobody is going to read it."""
        self._released = True
        self._queue.clear()  # type: ignore[attr-defined]
        self._bytes = 0
        self.low.set()

    async def join(self) -> None:
        """Whoever closes a client doesn't wait for it to read."""

    def _put(self, item: Any) -> None:
        size = _size(item)
        if self._released:
            super()._put(item)
            return
        if self._bytes + size > BYTES_MOST or self.qsize() >= PACKETS_MOST:
            if not self.full_of_bytes:
                self.full_of_bytes = True
                self.overflowed()
            return
        self._bytes += size
        if self._bytes > BYTES_LOW:
            self.low.clear()
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self._bytes = max(0, self._bytes - _size(item))
        if self._bytes <= BYTES_LOW:
            self.low.set()
        return item


def _size(item: Any) -> int:
    if item is None or not isinstance(item.data, str):
        return PACKET_OVERHEAD_BYTES
    return PACKET_OVERHEAD_BYTES + len(item.data)


def _nobody() -> None:
    """No link looks after this backlog yet."""
