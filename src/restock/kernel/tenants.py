"""For whom a statement runs, as PostgreSQL's row-level security knows it (decision 0020).

The policies in every service's `tables.sql` compare each row with three settings of the connection.
A connection remembers what it was last told; when its next statement is for somebody else, the
settings travel in front of that statement, in the same round trip.
"""

import struct
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

TELL = "restock_tell"  # a prepared statement of every connection
# No row comes back. num_nulls looks at all its arguments, where AND would stop at the first.
_TELL_SQL = f"""
PREPARE {TELL} (text, text, text) AS
SELECT WHERE num_nulls(
    set_config('restock.workspace', $1, false),
    set_config('restock.accounts', $2, false),
    set_config('restock.everybody', $3, false)) > 0
"""
_HEAD = b"\0" + TELL.encode() + b"\0\0\0\0\3"  # portal, statement, all of text, three values
_EXECUTE = b"E\0\0\0\x09\0\0\0\0\0"
TOLD_OFTEN = 2_000  # tenants whose message is kept ready


class Tenant(NamedTuple):
    """Whose rows a statement may see and change. Without anything: nobody's."""

    workspace_id: UUID | None = None
    accounts: tuple[UUID, ...] = ()
    everybody: bool = False


NOBODY = Tenant()
# Sign-in, before anybody is known, and the forgetting of what is old. Never for a known caller.
EVERYBODY = Tenant(everybody=True)


class TenantConnection(asyncpg.Connection):  # type: ignore[misc]  # it says no types
    """A connection whose statements run for `tenant`, which may be changed between them."""

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.tenant = NOBODY
        self._told: Tenant | None = None  # None: not known, as after an error
        self._nothing: Any = None

    async def prepare_telling(self) -> None:
        """To be called once, before the first statement."""
        await self.execute(_TELL_SQL)
        self._nothing = await self.prepare("SELECT 1")

    def forget(self) -> None:
        """What was told may have been undone: a transaction was rolled back."""
        self._told = None

    async def execute_plain(self, sql: str) -> str:
        """Run a statement without parameters. It is sent as text, so the telling goes by itself."""
        if self._told != self.tenant:
            await self._tell_and(lambda *_: self._nothing.fetch(), None, None)
        return str(await self.execute(sql))

    async def _do_execute(
        self,
        query: str,
        executor: Callable[..., Awaitable[Any]],
        timeout: Any,
        *a: Any,
        **more: Any,
    ) -> Any:
        """asyncpg's: every statement with parameters or rows goes through here."""
        if self._told != self.tenant:
            executor = partial(self._tell_and, executor)
        try:
            return await super()._do_execute(query, executor, timeout, *a, **more)
        except BaseException:
            self._told = None
            raise

    async def _tell_and(
        self, executor: Callable[..., Awaitable[Any]], statement: Any, timeout: Any
    ) -> Any:
        """Write our Bind and Execute right before those that asyncpg writes, up to its Sync."""
        sent, tenant = self._protocol.queries_count, self.tenant
        self._transport.write(_message(tenant))
        try:
            answer = await executor(statement, timeout)
        except Exception:
            if self._protocol.queries_count == sent and not self.is_closed():
                # asyncpg could not write a value, so nothing followed ours: let something follow
                await self._nothing.fetch()
            raise
        self._told = tenant
        return answer


def _message(tenant: Tenant) -> bytes:
    """What tells it; kept ready for single accounts, since a crowd is long and seldom the same."""
    return _kept_ready(tenant) if len(tenant.accounts) <= 1 else _written(tenant)


def _written(tenant: Tenant) -> bytes:
    """Bind and Execute of the prepared statement (PostgreSQL's protocol, version 3)."""
    parts = [_HEAD]
    for value in (
        str(tenant.workspace_id or ""),
        ",".join(map(str, tenant.accounts)),
        "yes" if tenant.everybody else "",
    ):
        text = value.encode()
        parts += (struct.pack("!i", len(text)), text)
    parts.append(b"\0\0")
    body = b"".join(parts)
    return b"B" + struct.pack("!i", len(body) + 4) + body + _EXECUTE


_kept_ready = lru_cache(maxsize=TOLD_OFTEN)(_written)
