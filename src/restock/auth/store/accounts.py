"""Accounts, each with its first workspace and its place in it."""

from uuid import UUID

from asyncpg import Record

from restock.auth.domain import Account
from restock.kernel.database import Tx

ACCOUNT = """
    account.id, account.email, account.email_verified, account.name, account.role,
    account.created_at, account.updated_at,
    member.workspace_id, member.role AS workspace_role
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
        SELECT {ACCOUNT} FROM account, member
        """,  # noqa: S608  the columns are a constant above
        email,
        name,
        role,
        password_hash,
        workspace_name,
    )
    return account_of(row) if row else None


async def find_credentials(tx: Tx, email: str) -> tuple[Account, str] | None:
    """The account with this e-mail, in any letter case, and its password hash.

    Where there is none a member is looked for as well, and a row comes: for the same time.
    """
    [row] = await tx.fetch(
        f"""
        SELECT {ACCOUNT}, account.password_hash
        FROM (VALUES ('00000000-0000-0000-0000-000000000000'::uuid)) AS nobody (id)
        LEFT JOIN account_signing_in($1) AS account ON true
        LEFT JOIN members AS member
          ON member.workspace_id = coalesce(account.workspace_id, nobody.id)
         AND member.account_id = coalesce(account.id, nobody.id)
        """,  # noqa: S608
        email,
    )
    return (account_of(row), row["password_hash"]) if row["workspace_role"] is not None else None


async def find_signed_in(tx: Tx, account_id: UUID, session_id: UUID) -> Account | None:
    """The account, seen from the workspace of a session of its own that has not ended."""
    row = await tx.fetchrow(
        f"""
        SELECT {ACCOUNT}
        FROM sessions AS session
        JOIN accounts AS account ON account.id = session.account_id
        JOIN members AS member
          ON member.workspace_id = session.workspace_id AND member.account_id = account.id
        WHERE session.id = $2 AND session.account_id = $1 AND session.ended_at IS NULL
        """,  # noqa: S608
        account_id,
        session_id,
    )
    return account_of(row) if row else None


async def replace_password_hash(tx: Tx, account_id: UUID, *, known: str, better: str) -> None:
    """Keep the same password under a better hash, unless the password has changed meanwhile."""
    await tx.execute(
        "UPDATE accounts SET password_hash = $3 WHERE id = $1 AND password_hash = $2",
        account_id,
        known,
        better,
    )


def account_of(row: Record) -> Account:
    """What a row with the columns of `ACCOUNT` says."""
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
