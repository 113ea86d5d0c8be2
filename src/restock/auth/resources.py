"""What auth keeps open while it runs: keys, token makers and the threads that hash passwords."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from restock.auth import store
from restock.auth.domain import SessionLimits
from restock.auth.keys import Keyring
from restock.auth.passwords import Passwords
from restock.auth.settings import Settings
from restock.auth.tokens import AccessTokens, RefreshTokens
from restock.kernel.database import Database
from restock.kernel.revocations import Revocations
from restock.kernel.service import Context

REFRESH_SECRET = "refresh_tokens"  # noqa: S105  a name, not a secret
SECRET_BYTES = 32
# How much longer than any token it signed a retired key stays published.
KEY_OUTLIVES_TOKENS = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Resources:
    """At hand in every operation that signs somebody in."""

    database: Database
    passwords: Passwords
    keys: Keyring
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokens
    token_life: timedelta
    limits: SessionLimits
    revocations: Revocations


@asynccontextmanager
async def open_resources(context: Context) -> AsyncIterator[Resources]:
    """Open them. At the first start of all this makes the first key and the first secret."""
    settings: Settings = context.settings
    token_life = timedelta(minutes=settings.token_minutes)
    keys = Keyring(
        context.database,
        reload_after=timedelta(seconds=settings.keys_reload_seconds),
        kept=token_life + KEY_OUTLIVES_TOKENS,
    )
    await keys.open()
    async with context.database.tx() as tx:
        secret = await store.keep_first_secret(
            tx, REFRESH_SECRET, secrets.token_bytes(SECRET_BYTES)
        )
    passwords = Passwords(threads=settings.password_threads, queue=settings.password_queue)
    with passwords:
        yield Resources(
            database=context.database,
            passwords=passwords,
            keys=keys,
            access_tokens=AccessTokens(settings.issuer, settings.audience),
            refresh_tokens=RefreshTokens(secret),
            token_life=token_life,
            limits=SessionLimits(
                idle=timedelta(days=settings.session_idle_days),
                absolute=timedelta(days=settings.session_absolute_days),
                grace=timedelta(seconds=settings.refresh_grace_seconds),
            ),
            revocations=context.verifier.revocations,
        )
