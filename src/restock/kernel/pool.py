"""Connections to one database: few, kept open, lent in the order of asking.

asyncpg's own pool wraps a connection anew for every loan, and lets newcomers pass those who wait
(decision 0012).
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

import asyncpg

from restock.kernel.tenants import TenantConnection

ACQUIRE_TIMEOUT_S = 3.0
UNUSED_S = 300.0
CLOSE_TIMEOUT_S = 5.0

Connect = Callable[[], Awaitable[TenantConnection]]
Waiter = asyncio.Future[TenantConnection | None]


class Pool:
    """At most `size` connections, each made by `connect` when there is need of one more.

    Whoever borrowed one leaves nothing behind on it: no open transaction, advisory lock of the
    session, LISTEN or SET. What is in doubt is terminated before it is released; what the server
    has closed is not lent again.
    """

    def __init__(self, connect: Connect, size: int) -> None:
        self._connect = connect
        self._left = size  # how many may be lent besides those that are
        self._idle: list[tuple[TenantConnection, float]] = []  # with the time of their return
        self._lent: set[TenantConnection] = set()
        self._outworn: set[TenantConnection] = set()  # those lent that are not to be lent again
        # who waits, and until when; one timer for all, since the first in the queue ends first
        self._waiting: deque[tuple[Waiter, float]] = deque()
        self._ends: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._closing: asyncio.Event | None = None

    async def acquire(self) -> TenantConnection:
        """A connection, to be released.

        Raises TimeoutError when none comes free in time, and whatever keeps one from being made.
        """
        ends = asyncio.get_running_loop().time() + ACQUIRE_TIMEOUT_S
        if self._closing is not None:
            raise closed()
        if self._left:
            self._left -= 1
            connection = self._unused()
        else:
            connection = await self._wait(ends)
        if connection is None or connection.is_closed():
            connection = await self._make(ends)
        self._lent.add(connection)
        return connection

    async def _make(self, ends: float) -> TenantConnection:
        try:
            async with asyncio.timeout_at(ends):
                connection = await self._connect()
            if self._closing is not None:
                connection.terminate()
                raise closed()
        except BaseException:
            self._pass_on(None)
            raise
        return connection

    def release(self, connection: TenantConnection) -> None:
        """Give a connection back."""
        self._lent.discard(connection)
        if connection in self._outworn:
            self._outworn.discard(connection)
            connection.terminate()
        self._pass_on(None if connection.is_closed() else connection)

    def renew(self) -> None:
        """Lend none of today's connections again: those in use end when they are released."""
        while self._idle:
            self._idle.pop()[0].terminate()
        self._outworn |= self._lent

    def _unused(self) -> TenantConnection | None:
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _wait(self, ends: float) -> TenantConnection | None:
        """The connection somebody releases, or None: one may be made in its place."""
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        self._waiting.append((waiter, ends))
        if self._ends is None:
            self._ends = loop.call_at(ends, self._end_waiting)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())  # it came too late for us
            raise

    def _end_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        self._ends = None
        while self._waiting:
            waiter, ends = self._waiting[0]
            if ends > loop.time() and not waiter.done():
                self._ends = loop.call_at(ends, self._end_waiting)
                return
            self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(TimeoutError("no connection came free"))

    def _pass_on(self, connection: TenantConnection | None) -> None:
        """To whoever waits first, or to rest."""
        while self._waiting:
            waiter, _ = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._left += 1
        if self._closing is not None and connection is not None:
            connection.terminate()
        elif connection is not None:
            self._idle.append((connection, time.monotonic()))
            if self._sweep is None:
                loop = asyncio.get_running_loop()
                self._sweep = loop.call_later(UNUSED_S, self._close_unused)
        if self._closing is not None and not self._lent:
            self._closing.set()

    def _close_unused(self) -> None:
        """Close what a rush has left behind: the server pays for each with a process."""
        loop = asyncio.get_running_loop()
        since = time.monotonic() - UNUSED_S
        while self._idle and self._idle[0][1] <= since:
            self._idle.pop(0)[0].terminate()
        self._sweep = loop.call_later(UNUSED_S, self._close_unused) if self._idle else None

    async def close(self) -> None:
        """Lend no more, wait a moment for what is lent, close everything."""
        self._closing = asyncio.Event()
        for timer in (self._ends, self._sweep):
            if timer is not None:
                timer.cancel()
        for waiter, _ in self._waiting:
            if not waiter.done():
                waiter.set_exception(closed())
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if self._lent:
                    await self._closing.wait()
                for connection, _ in self._idle:
                    await connection.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            for connection in [*self._lent, *(idle for idle, _ in self._idle)]:
                connection.terminate()


def closed() -> asyncpg.InterfaceError:
    return asyncpg.InterfaceError("the pool is closed")
