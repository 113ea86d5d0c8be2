"""PostgreSQL: the pool, and the transaction that one request or message is.

A `Tx` is lazy: it takes a connection at its first statement, so that work before it (hashing a
password, asking another service) holds none.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
from asyncpg import Connection, Pool, Record

from restock.kernel.faults import Unavailable
from restock.kernel.wire import encode

ACQUIRE_TIMEOUT_S = 3.0
STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000

# What says that the database is away or would not wait, as against a mistake in a statement.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
)


class DatabaseAway(Unavailable):
    """The database can't be reached or did not answer in time."""

    code = "database.unavailable"


class Tx:
    """One transaction, begun at its first statement, ended by who made it.

    With `single` each statement is PostgreSQL's own implicit transaction: no BEGIN and COMMIT
    round trips. At most one statement of such a Tx writes.

    Set `keep_on_refusal` for a refusal that must leave a trace: what was written is committed
    although the answer is a 4xx.
    """

    def __init__(self, database: "Database", *, single: bool = False) -> None:
        self.keep_on_refusal = False
        self.database = database
        self._single = single
        self._connection: Connection[Record] | None = None
        self._transaction: Any = None
        self._after_commit: list[Callable[[], None]] = []

    async def fetch(self, sql: str, *args: Any) -> list[Record]:
        rows: list[Record] = await self._call("fetch", sql, args)
        return rows

    async def fetchrow(self, sql: str, *args: Any) -> Record | None:
        return await self._call("fetchrow", sql, args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        return await self._call("fetchval", sql, args)

    async def execute(self, sql: str, *args: Any) -> str:
        status: str = await self._call("execute", sql, args)
        return status

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Have `callback` called right after the commit, before the answer leaves."""
        self._after_commit.append(callback)

    async def savepoint(self) -> None:
        """What follows can be undone by `rollback_to_savepoint`."""
        await self.execute("SAVEPOINT kept")

    async def rollback_to_savepoint(self) -> None:
        """Undo what came after `savepoint`; its after-commit callbacks are forgotten."""
        await self.execute("ROLLBACK TO SAVEPOINT kept")
        self._after_commit.clear()

    async def commit(self) -> None:
        """End it. Raises DatabaseAway when it isn't known to have been committed."""
        try:
            if self._transaction is not None:
                await self._transaction.commit()
        except AWAY as error:
            raise DatabaseAway() from error
        finally:
            self._transaction = None
            await self._release()
        callbacks, self._after_commit = self._after_commit, []
        for callback in callbacks:
            callback()

    async def rollback(self) -> None:
        """Undo it. Never raises: a lost connection has undone it already."""
        self._after_commit.clear()
        transaction, self._transaction = self._transaction, None
        try:
            if transaction is not None:
                await transaction.rollback()
        except (asyncpg.PostgresError, *AWAY):
            pass
        finally:
            await self._release()

    async def _call(self, method: str, sql: str, args: tuple[Any, ...]) -> Any:
        try:
            if self._connection is None:
                await self._begin()
            return await getattr(self._connection, method)(sql, *args)
        except AWAY as error:
            raise DatabaseAway() from error

    async def _begin(self) -> None:
        self._connection = await self.database.acquire()
        if not self._single:
            self._transaction = self._connection.transaction()
            await self._transaction.start()

    async def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self.database.release(connection)


class Database:
    """A service's PostgreSQL. Opened once; the pool heals by itself when the server returns."""

    def __init__(self, url: str, *, size: int = 10, application: str = "restock") -> None:
        self._url = url
        self._size = size
        self._application = application
        self._pool: Pool[Record] | None = None
        # the pool lets newcomers pass those who wait; this queue is first come, first served
        self._turn = asyncio.Semaphore(size)
        self.wake_relay: Callable[[], None] = _nobody

    async def open(self) -> None:
        """Make the pool. Connections are made when they are first needed."""
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._size,
            timeout=ACQUIRE_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_MS / 1000 + 2,
            init=_prepare,
            reset=_no_reset,
            server_settings={
                "application_name": self._application,
                "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": "30000",
                "timezone": "UTC",
            },
        )

    async def close(self) -> None:
        if self._pool is not None:
            try:
                async with asyncio.timeout(5):
                    await self._pool.close()
            except (TimeoutError, OSError, asyncpg.PostgresError):
                self._pool.terminate()

    @property
    def pool(self) -> "Pool[Record]":
        if self._pool is None:
            raise RuntimeError("the database is not open")
        return self._pool

    async def acquire(self) -> "Connection[Record]":
        """A connection, in the order of asking. Raises TimeoutError when none comes free."""
        async with asyncio.timeout(ACQUIRE_TIMEOUT_S):
            await self._turn.acquire()
            try:
                return await self.pool.acquire()
            except BaseException:
                self._turn.release()
                raise

    async def release(self, connection: "Connection[Record]") -> None:
        """Give a connection back."""
        self._turn.release()
        await self.pool.release(connection)

    def begin(self, *, single: bool = False) -> Tx:
        """A Tx whose end is the caller's to make."""
        return Tx(self, single=single)

    @asynccontextmanager
    async def tx(self, *, single: bool = False) -> AsyncIterator[Tx]:
        """A Tx committed at the end of the block, rolled back when it raises."""
        tx = self.begin(single=single)
        try:
            yield tx
        except BaseException:
            await tx.rollback()
            raise
        await tx.commit()

    async def ping(self) -> bool:
        """Whether the database answers."""
        try:
            async with self.tx(single=True) as tx:
                await tx.fetchval("SELECT 1")
        except (asyncpg.PostgresError, DatabaseAway):
            return False
        return True


async def _prepare(connection: "Connection[Record]") -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind,
            schema="pg_catalog",
            encoder=lambda value: encode(value).decode(),
            decoder=_read_json.decode,
        )


def _nobody() -> None:
    """No relay runs in this process: the slow poll of another finds the row."""


async def _no_reset(connection: "Connection[Record]") -> None:
    """Our statements leave nothing behind on a connection, so returning one costs no round trip.

    Advisory locks, LISTEN and SET are what a reset would undo; no statement of ours uses them.
    """


_read_json = msgspec.json.Decoder(float_hook=Decimal)
