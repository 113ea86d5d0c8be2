"""What auth keeps open while it runs: keys, token makers and the process that hashes passwords."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from restock.auth.domain import SessionLimits
from restock.auth.guesses import Guesses, GuessLimits
from restock.auth.keys import Keyring, KeyRotation
from restock.auth.passwords import Passwords
from restock.auth.settings import Settings
from restock.auth.store import keys as store
from restock.auth.tokens import AccessTokens, RefreshTokens
from restock.kernel.database import Database
from restock.kernel.revocations import Revocations
from restock.kernel.service import Context, Run

REFRESH_SECRET = "refresh_tokens"  # noqa: S105  a name, not a secret
GUESS_SECRET = "sign_in_failures"  # noqa: S105  a name, not a secret
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Resources:
    """At hand in every operation that signs somebody in."""

    database: Database
    passwords: Passwords
    guesses: Guesses
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
    reload_after = timedelta(seconds=settings.keys_reload_seconds)
    keys = Keyring(context.database, reload_after=reload_after)
    await keys.open()
    async with context.database.tx() as tx:
        secret, guess_secret = [
            await store.keep_first_secret(tx, name, secrets.token_bytes(SECRET_BYTES))
            for name in (REFRESH_SECRET, GUESS_SECRET)
        ]
    passwords = Passwords(threads=settings.password_threads, queue=settings.password_queue)
    async with passwords:
        yield Resources(
            database=context.database,
            passwords=passwords,
            guesses=Guesses(guess_secret, _guess_limits(settings)),
            keys=keys,
            access_tokens=AccessTokens(settings.issuer, settings.audience),
            refresh_tokens=RefreshTokens(secret),
            token_life=timedelta(minutes=settings.token_minutes),
            limits=SessionLimits(
                idle=timedelta(days=settings.session_idle_days),
                absolute=timedelta(days=settings.session_absolute_days),
                grace=timedelta(seconds=settings.refresh_grace_seconds),
            ),
            revocations=context.verifier.revocations,
        )


def _guess_limits(settings: Settings) -> GuessLimits:
    return GuessLimits(
        account=settings.guesses_account,
        address=settings.guesses_address,
        first=timedelta(seconds=settings.guesses_wait_seconds),
        longest=timedelta(seconds=settings.guesses_wait_most_seconds),
    )


def key_rotation(context: Context) -> list[Run]:
    """What replaces the signing key when it is old."""
    settings: Settings = context.settings
    rotation = KeyRotation(
        context.database,
        signs_for=timedelta(days=settings.keys_days),
        public_for=timedelta(seconds=settings.keys_ahead_seconds),
        every=timedelta(seconds=max(1, settings.keys_reload_seconds)),
    )
    return [rotation]
