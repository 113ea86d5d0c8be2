"""Who is calling: an access token, verified here whatever the gateway did before.

Tokens are ES256 JWTs made by auth. Rules from RFC 8725 (one algorithm, all claims required, typ
checked because neither the gateway nor the JWT library does).
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import jwt

from restock.kernel.faults import Unauthenticated, Unavailable
from restock.kernel.revocations import Revocations
from restock.kernel.telemetry import log

ALGORITHM = "ES256"
TOKEN_TYPE = "at+jwt"  # noqa: S105  RFC 9068, section 2.1
KEYS_FRESH_S = 60.0
KEYS_RETRY_S = 1.0
CLOCKS_DIFFER_S = 30.0
REMEMBERED_TOKENS = 20_000
CLAIMS = ["iss", "aud", "sub", "email", "name", "role", "wid", "wrole", "sid", "iat", "exp"]

Keys = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Principal:
    """The account behind a request, as its token says."""

    user_id: UUID
    workspace_id: UUID
    email: str
    name: str
    role: str
    workspace_role: str
    session_id: UUID
    expires_at: datetime
    token: str


class KeysAway(Unavailable):
    """No public key is known yet, and auth can't be reached."""

    code = "auth.keys_unavailable"


class TokenVerifier:
    """Turns a token into a Principal. Keys are cached; so are verified tokens, by their hash."""

    def __init__(
        self,
        fetch_keys: Callable[[], Awaitable[Keys]],
        revocations: Revocations,
        *,
        issuer: str,
        audience: str,
    ) -> None:
        self.revocations = revocations
        self._fetch_keys = fetch_keys
        self._issuer = issuer
        self._audience = audience
        self._keys: Keys = {}
        self._fetched_at = -KEYS_FRESH_S
        self._tried_at = -KEYS_FRESH_S
        self._fetching = asyncio.Lock()
        self._refresh: asyncio.Task[None] | None = None
        self._known: dict[bytes, tuple[Principal, float]] = {}

    async def verify(self, token: str) -> Principal:
        """The token's Principal.

        Raises Unauthenticated for a token that is forged, ended, revoked or of another kind, and
        Unavailable while nothing can be verified yet.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None:
            principal, ends = known
            if ends <= time.time():
                del self._known[digest]
                raise Unauthenticated("The token has ended.")
        else:
            principal = await self._read(token)
            if len(self._known) >= REMEMBERED_TOKENS:
                del self._known[next(iter(self._known))]
            self._known[digest] = (principal, principal.expires_at.timestamp())
        if not self.revocations.ready:
            raise Unavailable("Ended sessions are not known yet.")
        if self.revocations.is_revoked(principal.session_id):
            raise Unauthenticated("The session was ended.")
        return principal

    async def _read(self, token: str) -> Principal:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Unauthenticated("The token is not valid.") from None
        if header.get("alg") != ALGORITHM or header.get("typ") != TOKEN_TYPE or "crit" in header:
            raise Unauthenticated("The token is not valid.")
        key = await self._key(header.get("kid"))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                options={"require": CLAIMS, "verify_iat": False},
            )
            if claims["iat"] > time.time() + CLOCKS_DIFFER_S:
                raise Unauthenticated("The token is not valid yet.")
            return _principal(claims, token)
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has ended.") from None
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
            raise Unauthenticated("The token is not valid.") from None

    async def _key(self, kid: Any) -> Any:
        if not isinstance(kid, str):
            raise Unauthenticated("The token is not valid.")
        if kid not in self._keys:
            await self._update()
        elif time.monotonic() - self._fetched_at > KEYS_FRESH_S and self._refresh is None:
            # the known keys serve meanwhile, also when auth is away
            self._refresh = asyncio.create_task(self._update())
            self._refresh.add_done_callback(self._refreshed)
        if not self._keys:
            raise KeysAway()
        if kid not in self._keys:
            raise Unauthenticated("The token is not valid.")
        return self._keys[kid]

    async def _update(self) -> None:
        tried_before = self._tried_at
        async with self._fetching:
            if self._tried_at != tried_before or (time.monotonic() - self._tried_at < KEYS_RETRY_S):
                return  # another task has just asked; unknown kids must not flood auth
            try:
                keys = await self._fetch_keys()
                if keys.keys() != self._keys.keys():
                    self._known.clear()  # a key may have been withdrawn
                self._keys = keys
                self._fetched_at = time.monotonic()
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, jwt.PyJWTError) as why:
                log.warning("identity.keys_not_read", why=repr(why))
            finally:
                self._tried_at = time.monotonic()

    def _refreshed(self, task: "asyncio.Task[None]") -> None:
        self._refresh = None
        if not task.cancelled():
            task.exception()


def read_jwks(document: Any) -> Keys:
    """The ES256 keys of a JWKS (RFC 7517) by `kid`.

    Raises ValueError for what isn't one.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a JWKS")
    keys = {
        entry["kid"]: jwt.PyJWK(entry, algorithm=ALGORITHM).key
        for entry in document["keys"]
        if isinstance(entry, dict)
        and (entry.get("kty"), entry.get("crv")) == ("EC", "P-256")
        and isinstance(entry.get("kid"), str)
    }
    if not keys:
        raise ValueError("a JWKS without a key of ours")
    return keys


def keys_at(url: str) -> Callable[[], Awaitable[Keys]]:
    """Fetches the JWKS at a URL."""

    async def fetch() -> Keys:
        timeout = aiohttp.ClientTimeout(total=3)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            answer.raise_for_status()
            return read_jwks(await answer.json(content_type=None))

    return fetch


def _principal(claims: dict[str, Any], token: str) -> Principal:
    return Principal(
        user_id=UUID(claims["sub"]),
        workspace_id=UUID(claims["wid"]),
        email=_text(claims["email"]),
        name=_text(claims["name"]),
        role=_text(claims["role"]),
        workspace_role=_text(claims["wrole"]),
        session_id=UUID(claims["sid"]),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        token=token,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text")
    return value
