"""The keys that sign access tokens: made at the first start, kept in the database, shared.

Every worker reads them again after a few seconds, so a change of state by one is known to all.
A key is published before it signs and for as long as a token it signed may live: whoever checks
tokens has read it before the first one comes (decision 0022).
"""

import asyncio
import base64
import hashlib
import time
from dataclasses import dataclass
from datetime import timedelta

import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from restock.auth.store import keys as store
from restock.kernel.database import Database, DatabaseAway, Tx
from restock.kernel.revocations import LONGEST_LIFE_S
from restock.kernel.stopping import pause

log = structlog.get_logger()

_COORDINATE_BYTES = 32
# How much longer than any token it signed a retired key stays public. A worker that could not
# read the keys for so long no longer signs: its key may be retired.
KEY_OUTLIVES_TOKENS = timedelta(minutes=5)
# A retired key stays public so long: its last token may be of a setting that was longer.
KEPT = timedelta(seconds=LONGEST_LIFE_S) + KEY_OUTLIVES_TOKENS


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One ES256 key pair; `jwk` is the public half (RFC 7517)."""

    kid: str
    private: ec.EllipticCurvePrivateKey
    jwk: dict[str, str]

    def pem(self) -> str:
        """The private half as PKCS #8."""
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()


def new_key() -> SigningKey:
    """A fresh key pair."""
    return _key(ec.generate_private_key(ec.SECP256R1()))


def read_key(pem: str) -> SigningKey:
    """A key pair from its private half."""
    private = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError("a signing key must be an elliptic curve key")
    return _key(private)


async def make_keys(tx: Tx) -> None:
    """Make the key that signs and the one after it, where there is none."""
    for state in ("active", "next"):
        key = new_key()
        await store.add_key(tx, state, key.kid, private_pem=key.pem(), jwk=key.jwk)


async def rotate(tx: Tx, *, signed_for: timedelta, public_for: timedelta) -> str | None:
    """Let the next key sign, and publish one to come after it, once the times have passed.

    The kid of the key that signs now, or None when it wasn't time.
    """
    kid = await store.rotate_key(tx, signed_for=signed_for, public_for=public_for)
    if kid is not None:
        await make_keys(tx)
    return kid


async def replace(tx: Tx) -> None:
    """Put fresh keys in place of all there are: tokens signed so far are good no longer."""
    await store.forget_keys(tx)
    await make_keys(tx)


def _key(private: ec.EllipticCurvePrivateKey) -> SigningKey:
    numbers = private.public_key().public_numbers()
    x, y = _coordinate(numbers.x), _coordinate(numbers.y)
    # RFC 7638: the required members in lexicographic order, nothing between them
    canonical = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
    kid = _base64url(hashlib.sha256(canonical.encode()).digest())
    jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256"}
    return SigningKey(kid, private, jwk)


def _coordinate(value: int) -> str:
    return _base64url(value.to_bytes(_COORDINATE_BYTES, "big"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Keyring:
    """The keys of the system as this process last read them.

    When the database is away it goes on with what it knows: tokens can still be checked, and for
    some minutes signed.
    """

    def __init__(self, database: Database, *, reload_after: timedelta) -> None:
        self._database = database
        self._reload_after = reload_after.total_seconds()
        self._active: SigningKey | None = None
        self._published: list[dict[str, str]] = []
        self._tried_at = self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def open(self) -> None:
        """Make the first keys where there are none yet, and read the keys."""
        async with self._database.tx() as tx:
            await make_keys(tx)
        await self._read()

    async def signer(self) -> SigningKey:
        """The key that signs now. Raises DatabaseAway when it can't be known."""
        await self._keep_fresh()
        too_old = time.monotonic() - self._read_at > KEY_OUTLIVES_TOKENS.total_seconds()
        if self._active is None or too_old:
            raise DatabaseAway()
        return self._active

    async def published(self) -> list[dict[str, str]]:
        """The public keys (JWKs) of every token that may be about, or may be soon."""
        await self._keep_fresh()
        return self._published

    async def _keep_fresh(self) -> None:
        if self._is_fresh():
            return
        async with self._reading:
            if self._is_fresh():
                return  # by whom we have waited for
            try:
                await self._read()
            except DatabaseAway:
                if self._active is None:
                    raise
                self._tried_at = time.monotonic()
                log.warning("signing_keys_not_reloaded")

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._tried_at < self._reload_after

    async def _read(self) -> None:
        async with self._database.tx(single=True) as tx:
            keys = await store.published_keys(tx, retired_within=KEPT)
        active = next((key for key in keys if key.state == "active"), None)
        if active is None or active.private_pem is None:
            raise RuntimeError("there is no active signing key")
        if self._active is None or self._active.kid != active.kid:
            self._active = read_key(active.private_pem)
        self._published = [key.jwk for key in keys]
        self._tried_at = self._read_at = time.monotonic()


class KeyRotation:
    """Replaces the signing key when it is old. Every worker tries, and one of them does it."""

    def __init__(
        self, database: Database, *, signs_for: timedelta, public_for: timedelta, every: timedelta
    ) -> None:
        self._database = database
        self._signs_for = signs_for
        self._public_for = public_for
        self._every = every.total_seconds()

    async def run(self, stop: asyncio.Event) -> None:
        """Look now and then, until told to stop; never rotates when `signs_for` is nothing."""
        while not stop.is_set():
            if self._signs_for:
                try:
                    await self.rotate_if_due()
                except DatabaseAway as error:
                    log.warning("signing_key_rotation_put_off", why=repr(error))
            await pause(stop, self._every)

    async def rotate_if_due(self) -> None:
        """Raises DatabaseAway."""
        async with self._database.tx() as tx:
            kid = await rotate(tx, signed_for=self._signs_for, public_for=self._public_for)
        if kid is not None:
            log.info("signing_key_rotated", kid=kid)
