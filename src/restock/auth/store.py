"""Every SQL statement of auth."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record

from restock.auth.domain import Account, Device, Session, StoredKey
from restock.kernel.database import Tx, deleted

_ACCOUNT = """
    account.id, account.email, account.email_verified, account.name, account.role,
    account.created_at, account.updated_at,
    member.workspace_id, member.role AS workspace_role
"""
_SESSION = """
    session.id AS session_id, session.account_id, session.workspace_id AS session_workspace_id,
    session.counter, session.user_agent, session.address,
    session.created_at AS session_created_at, session.rotated_at, session.last_used_at,
    session.access_until, session.ended_at
"""


async def add_account(
    tx: Tx, *, email: str, name: str, role: str, password_hash: str, workspace_name: str
) -> Account | None:
    """Make an account, its first workspace and its place in it. None when the e-mail is taken."""
    row = await tx.fetchrow(
        f"""
        WITH account AS (
            INSERT INTO accounts AS account (workspace_id, email, name, role, password_hash)
            VALUES (uuidv7(), $1, $2, $3, $4)
            ON CONFLICT (lower(email COLLATE "C")) DO NOTHING
            RETURNING *
        ), workspace AS (
            INSERT INTO workspaces (id, name) SELECT workspace_id, $5 FROM account
        ), member AS (
            INSERT INTO members (workspace_id, account_id, role)
            SELECT workspace_id, id, 'owner' FROM account
            RETURNING workspace_id, role
        )
        SELECT {_ACCOUNT} FROM account, member
        """,  # noqa: S608  the columns are a constant above
        email,
        name,
        role,
        password_hash,
        workspace_name,
    )
    return _account(row) if row else None


async def find_credentials(tx: Tx, email: str) -> tuple[Account, str] | None:
    """The account with this e-mail, in any letter case, and its password hash."""
    row = await tx.fetchrow(
        f"""
        SELECT {_ACCOUNT}, account.password_hash
        FROM accounts AS account
        JOIN members AS member
          ON member.workspace_id = account.workspace_id AND member.account_id = account.id
        WHERE lower(account.email COLLATE "C") = lower($1 COLLATE "C")
        """,  # noqa: S608
        email,
    )
    return (_account(row), row["password_hash"]) if row else None


async def find_signed_in(tx: Tx, account_id: UUID, session_id: UUID) -> Account | None:
    """The account, seen from the workspace of a session of its own that has not ended."""
    row = await tx.fetchrow(
        f"""
        SELECT {_ACCOUNT}
        FROM sessions AS session
        JOIN accounts AS account ON account.id = session.account_id
        JOIN members AS member
          ON member.workspace_id = session.workspace_id AND member.account_id = account.id
        WHERE session.id = $2 AND session.account_id = $1 AND session.ended_at IS NULL
        """,  # noqa: S608
        account_id,
        session_id,
    )
    return _account(row) if row else None


async def replace_password_hash(tx: Tx, account_id: UUID, *, known: str, better: str) -> None:
    """Keep the same password under a better hash, unless the password has changed meanwhile."""
    await tx.execute(
        "UPDATE accounts SET password_hash = $3 WHERE id = $1 AND password_hash = $2",
        account_id,
        known,
        better,
    )


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
        SELECT {_SESSION}, {_ACCOUNT}
        FROM sessions AS session
        JOIN accounts AS account ON account.id = session.account_id
        JOIN members AS member
          ON member.workspace_id = session.workspace_id AND member.account_id = account.id
        WHERE session.id = $1
        FOR UPDATE OF session
        """,  # noqa: S608
        session_id,
    )
    return (_session(row), _account(row)) if row else None


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
    """Note a refresh of a locked session: its newest refresh token, and a new access token."""
    await tx.execute(
        """
        UPDATE sessions
        SET counter = $2, rotated_at = $3, last_used_at = $4,
            access_until = greatest(access_until, $5), user_agent = $6, address = $7,
            over_at = $8
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


async def add_first_key(tx: Tx, kid: str, *, private_pem: str, jwk: dict[str, str]) -> None:
    """Make this the active signing key, unless there is one: of several at once, one wins."""
    await tx.execute(
        """
        INSERT INTO signing_keys (kid, state, private_pem, public_jwk, activated_at)
        VALUES ($1, 'active', $2, $3, now())
        ON CONFLICT (state) WHERE state = 'active' DO NOTHING
        """,
        kid,
        private_pem,
        jwk,
    )


async def published_keys(tx: Tx, *, retired_within: timedelta) -> Sequence[StoredKey]:
    """The keys that everybody must know: the next, the active, and the lately retired ones."""
    rows = await tx.fetch(
        """
        SELECT kid, state, private_pem, public_jwk FROM signing_keys
        WHERE state <> 'retired' OR retired_at > now() - $1::interval
        ORDER BY created_at, kid
        """,
        retired_within,
    )
    return [
        StoredKey(row["kid"], row["state"], row["private_pem"], row["public_jwk"]) for row in rows
    ]


async def keep_first_secret(tx: Tx, name: str, value: bytes) -> bytes:
    """The secret of this name: `value` if it is the first, else what was kept before."""
    await tx.execute(
        "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        name,
        value,
    )
    kept: bytes = await tx.fetchval("SELECT value FROM secrets WHERE name = $1", name)
    return kept


def _account(row: Record) -> Account:
    return Account(
        id=row["id"],
        workspace_id=row["workspace_id"],
        workspace_role=row["workspace_role"],
        email=row["email"],
        email_verified=row["email_verified"],
        name=row["name"],
        role=row["role"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
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
