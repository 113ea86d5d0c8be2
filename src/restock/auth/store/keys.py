"""What belongs to the whole system: the keys that sign access tokens, and secrets made once."""

from collections.abc import Sequence
from datetime import timedelta

from restock.auth.domain import StoredKey
from restock.kernel.database import Tx


async def add_key(tx: Tx, state: str, kid: str, *, private_pem: str, jwk: dict[str, str]) -> None:
    """Make this the active or the next signing key, unless there is one: of several one wins."""
    await tx.execute(
        """
        INSERT INTO signing_keys (kid, state, private_pem, public_jwk, activated_at)
        VALUES ($2, $1, $3, $4, CASE $1 WHEN 'active' THEN now() END)
        ON CONFLICT DO NOTHING
        """,
        state,
        kid,
        private_pem,
        jwk,
    )


async def rotate_key(tx: Tx, *, signed_for: timedelta, public_for: timedelta) -> str | None:
    """Let the next key sign in place of the active one; its kid, or None when it isn't time.

    It is, once the active key has signed and the next one was public for so long. Of several at
    once one does it: the others wait for the active key's row, and find it retired.
    """
    kid: str | None = await tx.fetchval(
        """
        WITH heir AS (
            SELECT kid FROM signing_keys
            WHERE state = 'next' AND created_at <= now() - $2::interval
        ), retired AS (
            UPDATE signing_keys SET state = 'retired', retired_at = now(), private_pem = NULL
            WHERE state = 'active' AND activated_at <= now() - $1::interval
              AND EXISTS (SELECT FROM heir)
            RETURNING kid
        )
        UPDATE signing_keys SET state = 'active', activated_at = now()
        WHERE kid = (SELECT kid FROM heir) AND EXISTS (SELECT FROM retired)
        RETURNING kid
        """,
        signed_for,
        public_for,
    )
    return kid


async def forget_keys(tx: Tx) -> None:
    """Forget every signing key: whatever they signed is of nobody."""
    await tx.execute("DELETE FROM signing_keys")


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
