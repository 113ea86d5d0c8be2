"""Idempotency-Key: the first answer again, instead of the effect again.

The key's row is written first in the transaction of the effect, so a concurrent duplicate waits
for it at the primary key, then finds the answer. (IETF draft-ietf-httpapi-idempotency-key-header.)
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from restock.kernel.database import Tx, deleted
from restock.kernel.faults import FieldError, Invalid
from restock.kernel.identity import Principal

KEPT = timedelta(hours=48)
VISIBLE = re.compile("[!-~]{1,200}")
REPLAYED = ("Idempotent-Replayed", "true")


class BadKey(Invalid):
    """An Idempotency-Key is 1–200 visible ASCII characters."""

    code = "request.bad_idempotency_key"
    title = "An Idempotency-Key is 1 to 200 visible ASCII characters"


class KeyReused(Invalid):
    """The key was used before, for another request."""

    code = "request.idempotency_key_reused"
    title = "This Idempotency-Key was used for another request: make a new one"


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The key a client sent, and the SHA-256 of the method, path and body it stands for."""

    key: str
    hash: bytes


class AlreadyAnswered(Exception):
    """The key has its answer; this is it."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body


def read_key(header: str, method: str, path: str, body: bytes) -> RequestKey:
    """The request's key. Raises BadKey."""
    if not VISIBLE.fullmatch(header):
        raise BadKey(errors=[FieldError("", "Expected 1 to 200 visible ASCII characters")])
    digest = hashlib.sha256(f"{method} {path}\n".encode())
    digest.update(body)
    return RequestKey(header, digest.digest())


async def claim(tx: Tx, who: Principal, key: RequestKey) -> None:
    """Make the key ours for this transaction.

    A concurrent duplicate waits here for the first one's end. Raises AlreadyAnswered, and
    KeyReused when the key stands for another request.

    The lock is the one that a service takes which keeps keys elsewhere too. It is taken before the
    savepoint: one taken after it would end with a refusal, before that is kept.
    """
    claimed = await tx.fetchval(
        """
        WITH held AS MATERIALIZED (
            SELECT pg_advisory_xact_lock(
                hashtextextended(concat_ws(' ', $1::uuid, $2::uuid, $3::text), 0))
        )
        INSERT INTO kept_answers (workspace_id, user_id, key, request_hash)
        SELECT $1, $2, $3, $4 FROM held
        ON CONFLICT DO NOTHING
        RETURNING true
        """,
        who.workspace_id,
        who.user_id,
        key.key,
        key.hash,
    )
    if not claimed:
        await look_up(tx, who, key)
        raise KeyReused()


async def look_up(tx: Tx, who: Principal, key: RequestKey) -> None:
    """Raise AlreadyAnswered or KeyReused when the key was used before; otherwise do nothing."""
    kept = await tx.fetchrow(
        """
        SELECT request_hash, status, headers, body
        FROM kept_answers
        WHERE workspace_id = $1 AND user_id = $2 AND key = $3
        """,
        who.workspace_id,
        who.user_id,
        key.key,
    )
    if kept is None:
        return
    if kept["request_hash"] != key.hash:
        raise KeyReused()
    headers = [(name, value) for name, value in kept["headers"]]
    raise AlreadyAnswered(kept["status"], headers, kept["body"])


async def keep(
    tx: Tx, who: Principal, key: RequestKey, status: int, headers: list[Any], body: bytes
) -> None:
    """Write the answer beside its key."""
    await tx.execute(
        """
        UPDATE kept_answers SET status = $4, headers = $5, body = $6
        WHERE workspace_id = $1 AND user_id = $2 AND key = $3
        """,
        who.workspace_id,
        who.user_id,
        key.key,
        status,
        headers,
        body,
    )


async def purge(tx: Tx) -> int:
    """Forget some answers nobody may ask for again; how many rows."""
    return await deleted(
        tx,
        """
        DELETE FROM kept_answers WHERE (workspace_id, user_id, key) IN (
            SELECT workspace_id, user_id, key FROM kept_answers
            WHERE created_at < now() - $1::interval LIMIT $2
        )
        """,
        KEPT,
    )
