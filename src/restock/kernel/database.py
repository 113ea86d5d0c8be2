"""PostgreSQL: the transaction that one request or message is, and the codecs of its values.

A `Tx` is lazy: it takes a connection at its first statement, so that work before it (hashing a
password, asking another service) holds none.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
from asyncpg import Record

from restock.kernel.faults import Unavailable
from restock.kernel.pool import ACQUIRE_TIMEOUT_S, Pool
from restock.kernel.revision import WrongTables
from restock.kernel.stopping import pause
from restock.kernel.telemetry import log
from restock.kernel.tenants import NOBODY, Tenant, TenantConnection
from restock.kernel.wire import encode

STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
PURGED_AT_ONCE = 5_000
PING_FRESH_S = 1.0
PING_TIMEOUT_S = 1.5
WATCH_EVERY_S = 5.0

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
    asyncpg.PostgresSystemError,
    # a migration went over tables in use: asked again, the statement is planned anew
    asyncpg.InvalidCachedStatementError,
    WrongTables,
)

# Said to whoever wants to connect: it lets nobody in, or not us. Of a statement these are mistakes.
SHUT = (
    asyncpg.InvalidAuthorizationSpecificationError,  # the password was changed, say
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InsufficientPrivilegeError,
)

Admit = Callable[[TenantConnection], Awaitable[Any]]


class DatabaseAway(Unavailable):
    """The database can't be reached or did not answer in time."""

    code = "database.unavailable"


class NotCommitted(Exception):
    """PostgreSQL rolled back what was to be committed."""


class Tx:
    """One transaction, begun at its first statement, ended by who made it.

    With `single` each statement is PostgreSQL's own implicit transaction: no BEGIN and COMMIT
    round trips. At most one statement of such a Tx writes, and it holds a connection only while a
    statement runs.

    Set `keep_on_refusal` for a refusal that must leave a trace: what was written is committed
    although the answer is a 4xx. `on_begin` is awaited right after the transaction began.
    `tenant` is for whom the following statements run: of tables that belong to tenants they see
    and change his rows only, whatever they say themselves (decision 0020).
    """

    def __init__(
        self, database: "Database", *, single: bool = False, tenant: Tenant = NOBODY
    ) -> None:
        self.keep_on_refusal = False
        self.tenant = tenant
        self.database = database
        self.on_begin: Callable[[], Awaitable[None]] | None = None
        self._single = single
        self._connection: TenantConnection | None = None
        self._begun = False
        self._lost = False
        self._after_commit: list[Callable[[], None]] = []

    async def fetch(self, sql: str, *args: Any) -> list[Record]:
        rows: list[Record] = await self._call("fetch", sql, args)
        return rows

    async def fetchrow(self, sql: str, *args: Any) -> Record | None:
        return await self._call("fetchrow", sql, args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        return await self._call("fetchval", sql, args)

    async def execute(self, sql: str, *args: Any) -> str:
        status: str = await self._call("execute" if args else "execute_plain", sql, args)
        return status

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Have `callback` called right after the commit, before the answer leaves."""
        self._after_commit.append(callback)

    async def begin(self) -> None:
        """Begin now instead of at the first statement. Raises DatabaseAway."""
        if self._connection is not None:
            return
        try:
            self._connection = await self.database.pool.acquire()
            if not self._single:
                await self._connection.execute("BEGIN")
                self._begun = True
        except (*AWAY, *SHUT) as error:
            self._lost = True
            raise DatabaseAway() from error
        except asyncio.CancelledError:
            self._lost = True
            raise
        if self.on_begin is not None:
            await self.on_begin()

    async def savepoint(self) -> None:
        """What follows can be undone by `rollback_to_savepoint`."""
        await self._call("execute", "SAVEPOINT kept", ())

    async def rollback_to_savepoint(self) -> None:
        """Undo what came after `savepoint`; its after-commit callbacks are forgotten."""
        await self._call("execute", "ROLLBACK TO SAVEPOINT kept", ())
        if self._connection is not None:
            self._connection.forget()
        self._after_commit.clear()

    async def commit(self) -> None:
        """End it. Raises DatabaseAway when it isn't known to have been committed.

        Raises NotCommitted when an error was swallowed on the way: PostgreSQL then answers COMMIT
        with ROLLBACK, and nothing may be acknowledged.
        """
        connection, begun, self._begun = self._connection, self._begun, False
        try:
            if connection is not None and begun:
                status = await connection.execute("COMMIT")
                if status != "COMMIT":
                    raise NotCommitted(status)
        except AWAY as error:
            self._lost = True
            raise DatabaseAway() from error
        except asyncio.CancelledError:
            self._lost = True
            raise
        except Exception:  # a deferred constraint, say: what was told is undone with the rest
            if connection is not None:
                connection.forget()
            raise
        finally:
            self._release()
        callbacks, self._after_commit = self._after_commit, []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # it is committed: that must be said, whatever fails now
                log.error("database.after_commit_failed", exc_info=error)

    async def rollback(self) -> None:
        """Undo it. Never raises: a lost connection has undone it already."""
        self._after_commit.clear()
        connection, begun, self._begun = self._connection, self._begun, False
        try:
            if connection is not None and begun and not self._lost:
                connection.forget()
                await connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, *AWAY):
            self._lost = True
        except asyncio.CancelledError:
            self._lost = True
            raise
        finally:
            self._release()

    async def _call(self, method: str, sql: str, args: tuple[Any, ...]) -> Any:
        if self._connection is None:
            await self.begin()
        connection: Any = self._connection
        connection.tenant = self.tenant
        try:
            return await getattr(connection, method)(sql, *args)
        except AWAY as error:
            # a refusal by the server leaves the connection usable; silence does not
            self._lost |= not isinstance(error, asyncpg.PostgresError)
            raise DatabaseAway() from error
        except asyncio.CancelledError:
            self._lost = True  # the statement may be running still
            raise
        finally:
            if self._single:
                self._release()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._lost:
                connection.terminate()  # waiting for a server that is silent helps nobody
            self.database.pool.release(connection)
        self._lost = False


async def deleted(tx: Tx, sql: str, older_than: timedelta) -> int:
    """Run a DELETE of what is older than $1, at most $2 rows; how many there were."""
    status = await tx.execute(sql, older_than, PURGED_AT_ONCE)
    return int(status.rpartition(" ")[2])


class Database:
    """A service's PostgreSQL. It heals by itself when the server returns.

    `admit` is asked of every new connection and by `ping`, and raises WrongTables: then the
    connections that were made before are not used again.
    """

    def __init__(
        self, url: str, *, size: int, application: str = "restock", admit: Admit | None = None
    ) -> None:
        self.pool = Pool(self._connect, size)
        self._url = url
        self._application = application
        self._pinged_at = -PING_FRESH_S
        self._answers = False
        self._admit = admit
        self.wrong = "away"  # why `ping` last said no: "away", or the state of WrongTables
        self.wake_relay: Callable[[], None] = _nobody

    async def _connect(self) -> TenantConnection:
        connection: TenantConnection = await asyncpg.connect(
            self._url,
            connection_class=TenantConnection,
            timeout=ACQUIRE_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_MS / 1000 + 2,
            server_settings={
                "application_name": self._application,
                "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": "30000",
                "timezone": "UTC",
                "datestyle": "ISO",
            },
        )
        try:
            await _prepare(connection)
            await self._require_admitted(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def close(self) -> None:
        """Close every connection, waiting a moment for those in use."""
        await self.pool.close()

    def begin(self, *, single: bool = False, tenant: Tenant = NOBODY) -> Tx:
        """A Tx whose end is the caller's to make."""
        return Tx(self, single=single, tenant=tenant)

    @asynccontextmanager
    async def tx(self, *, single: bool = False, tenant: Tenant = NOBODY) -> AsyncIterator[Tx]:
        """A Tx committed at the end of the block, rolled back when it raises."""
        tx = self.begin(single=single, tenant=tenant)
        try:
            yield tx
        except BaseException:
            await tx.rollback()
            raise
        await tx.commit()

    async def now(self) -> datetime:
        """By PostgreSQL's clock. Raises DatabaseAway."""
        async with self.tx(single=True) as tx:
            now: datetime = await tx.fetchval("SELECT now()")
            return now

    async def ping(self) -> bool:
        """Whether the database answers, asked at most once a second.

        By a connection of its own: that every other one is busy doesn't make the database away.
        """
        if time.monotonic() - self._pinged_at > PING_FRESH_S:
            self._pinged_at = time.monotonic()
            self._answers = await self._ask()
        return self._answers

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                connection = await asyncpg.connect(self._url)
                try:
                    await connection.fetchval("SELECT 1")
                    await self._require_admitted(connection)
                finally:
                    connection.terminate()
        except (asyncpg.PostgresError, *AWAY) as error:
            self.wrong = error.state if isinstance(error, WrongTables) else "away"
            return False
        return True

    async def _require_admitted(self, connection: asyncpg.Connection) -> None:
        if self._admit is None:
            return
        try:
            await self._admit(connection)
        except WrongTables:
            self.pool.renew()  # those made before were admitted to other tables
            raise

    async def require_served(self) -> None:
        """Raise WrongTables where this program can't work on the tables, if that can be asked."""
        try:
            self.pool.release(await self.pool.acquire())
        except WrongTables:
            raise
        except (asyncpg.PostgresError, *AWAY):
            pass  # away: asked again by each connection that is made later


class TablesWatch:
    """Asks every few seconds whether this program may work on the tables still.

    So it stops where they are replaced beneath it, also where nobody looks at its health.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._database.ping()
            await pause(stop, WATCH_EVERY_S)


async def _prepare(connection: TenantConnection) -> None:
    await connection.prepare_telling()
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind,
            schema="pg_catalog",
            encoder=lambda value: encode(value).decode(),
            decoder=_read_json.decode,
        )
    # asyncpg reads the binary form of 10000 as 1E+4; the text form has the digits as they are
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=str, decoder=Decimal, format="text"
    )
    # Python reads ISO text in a fifth of the time that asyncpg takes to add up the binary form
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=datetime.isoformat,
        decoder=datetime.fromisoformat,
        format="text",
    )


def _nobody() -> None:
    """No relay runs in this process: the slow poll of another finds the row."""


_read_json = msgspec.json.Decoder(float_hook=Decimal)
