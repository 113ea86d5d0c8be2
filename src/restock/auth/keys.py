"""The keys that sign access tokens: made at the first start, kept in the database, shared.

Every worker reads them again after a few seconds, so a change of state by one is known to all.
A key is published before it signs and for as long as a token it signed may live.
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

from restock.auth import store
from restock.kernel.database import Database, DatabaseAway

log = structlog.get_logger()

_COORDINATE_BYTES = 32


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

    When the database is away it goes on with what it knows: tokens can still be checked.
    """

    def __init__(self, database: Database, *, reload_after: timedelta, kept: timedelta) -> None:
        self._database = database
        self._reload_after = reload_after.total_seconds()
        self._kept = kept
        self._active: SigningKey | None = None
        self._published: list[dict[str, str]] = []
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def open(self) -> None:
        """Make the first key where there is none yet, and read the keys."""
        async with self._database.tx() as tx:
            key = new_key()
            await store.add_first_key(tx, key.kid, private_pem=key.pem(), jwk=key.jwk)
        await self._read()

    async def signer(self) -> SigningKey:
        """The key that signs now. Raises DatabaseAway when none is known."""
        await self._keep_fresh()
        if self._active is None:
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
                self._read_at = time.monotonic()
                log.warning("signing_keys_not_reloaded")

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._read_at < self._reload_after

    async def _read(self) -> None:
        async with self._database.tx(single=True) as tx:
            keys = await store.published_keys(tx, retired_within=self._kept)
        active = next((key for key in keys if key.state == "active"), None)
        if active is None:
            raise RuntimeError("there is no active signing key")
        if self._active is None or self._active.kid != active.kid:
            self._active = read_key(active.private_pem)
        self._published = [key.jwk for key in keys]
        self._read_at = time.monotonic()
