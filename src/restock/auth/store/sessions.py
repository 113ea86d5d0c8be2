"""Sessions, found by their own id or by their account."""

from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record

from restock.auth.domain import Account, Device, Session
from restock.auth.store.accounts import ACCOUNT, account_of
from restock.kernel.database import Tx, deleted

_SESSION = """
    session.id AS session_id, session.account_id, session.workspace_id AS session_workspace_id,
    session.counter, session.user_agent, session.address,
    session.created_at AS session_created_at, session.rotated_at, session.last_used_at,
    session.access_until, session.ended_at
"""


async def add_session(
    tx: Tx,
    session_id: UUID,
    account: Account,
    device: Device,
    *,
    now: datetime,
    access_until: datetime,
    over_at: datetime,
) -> None:
    """Begin a session in the account's workspace, with refresh token number 0."""
    await tx.execute(
        """
        INSERT INTO sessions (id, account_id, workspace_id, user_agent, address,
                              created_at, rotated_at, last_used_at, access_until, over_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6, $6, $7, $8)
        """,
        session_id,
        account.id,
        account.workspace_id,
        device.user_agent,
        device.address,
        now,
        access_until,
        over_at,
    )


async def lock_session(tx: Tx, session_id: UUID) -> tuple[Session, Account] | None:
    """A session and its account. Until the transaction ends nobody else changes the session."""
    row = await tx.fetchrow(
        f"""
        SELECT {_SESSION}, {ACCOUNT}
        FROM sessions AS session
        JOIN accounts AS account ON account.id = session.account_id
        JOIN members AS member
          ON member.workspace_id = session.workspace_id AND member.account_id = account.id
        WHERE session.id = $1
        FOR UPDATE OF session
        """,  # noqa: S608
        session_id,
    )
    return (_session(row), account_of(row)) if row else None


async def use_session(
    tx: Tx,
    session: Session,
    device: Device,
    *,
    counter: int,
    rotated_at: datetime,
    now: datetime,
    access_until: datetime,
    over_at: datetime,
) -> None:
    """Note a refresh of a locked session: its newest refresh token, and a new access token.

    A clock that was set back makes no session older.
    """
    await tx.execute(
        """
        UPDATE sessions
        SET counter = $2, rotated_at = $3, last_used_at = greatest(last_used_at, $4),
            access_until = greatest(access_until, $5), user_agent = $6, address = $7,
            over_at = greatest(over_at, $8)
        WHERE id = $1
        """,
        session.id,
        counter,
        rotated_at,
        now,
        access_until,
        device.user_agent,
        device.address,
        over_at,
    )


async def live_sessions(
    tx: Tx,
    account_id: UUID,
    *,
    used_after: datetime,
    created_after: datetime,
    before: UUID | None,
    limit: int,
) -> list[Session]:
    """An account's sessions that are not over, newest first, from the one before `before` on."""
    rows = await tx.fetch(
        f"""
        SELECT {_SESSION} FROM sessions AS session
        WHERE account_id = $1 AND ended_at IS NULL AND last_used_at > $2 AND created_at > $3
          AND ($4::uuid IS NULL OR id < $4)
        ORDER BY id DESC LIMIT $5
        """,  # noqa: S608
        account_id,
        used_after,
        created_after,
        before,
        limit,
    )
    return [_session(row) for row in rows]


async def end_session(
    tx: Tx, account_id: UUID, session_id: UUID, *, by: str, now: datetime
) -> Session | None:
    """End one session of an account. None when there is none, or it has ended already.

    It waits for the row, as a refresh does, so it sees the last access token that was made.
    """
    row = await tx.fetchrow(
        f"""
        UPDATE sessions AS session SET ended_at = $3, ended_by = $4
        WHERE id = $2 AND account_id = $1 AND ended_at IS NULL
        RETURNING {_SESSION}
        """,  # noqa: S608
        account_id,
        session_id,
        now,
        by,
    )
    return _session(row) if row else None


async def end_sessions(tx: Tx, account_id: UUID, *, by: str, now: datetime) -> list[Session]:
    """End every session of an account, locked in the order of their ids."""
    rows = await tx.fetch(
        f"""
        WITH mine AS (
            SELECT id FROM sessions WHERE account_id = $1 AND ended_at IS NULL
            ORDER BY id FOR UPDATE
        )
        UPDATE sessions AS session SET ended_at = $2, ended_by = $3
        FROM mine WHERE session.id = mine.id
        RETURNING {_SESSION}
        """,  # noqa: S608
        account_id,
        now,
        by,
    )
    return [_session(row) for row in rows]


async def forget_sessions(tx: Tx, *, over_for: timedelta) -> int:
    """Delete some of the sessions that have been over for so long; how many.

    Ids are UUIDv7: what was over then had begun before, so only that end of the table is read.
    """
    return await deleted(
        tx,
        """
        DELETE FROM sessions WHERE id IN (
            SELECT id FROM sessions
            WHERE id < (SELECT uuidv7(-$1::interval))
              AND least(ended_at, over_at) < now() - $1::interval
            ORDER BY id LIMIT $2
        )
        """,
        over_for,
    )


def _session(row: Record) -> Session:
    return Session(
        id=row["session_id"],
        account_id=row["account_id"],
        workspace_id=row["session_workspace_id"],
        counter=row["counter"],
        device=Device(row["user_agent"], row["address"]),
        created_at=row["session_created_at"],
        rotated_at=row["rotated_at"],
        last_used_at=row["last_used_at"],
        access_until=row["access_until"],
        ended_at=row["ended_at"],
    )
