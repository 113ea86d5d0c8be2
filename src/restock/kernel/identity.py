"""Who is calling: an access token, verified here whatever the gateway did before.

Tokens are ES256 JWTs made by auth. Rules from RFC 8725 (one algorithm, all claims required, typ
checked because neither the gateway nor the JWT library does). What may be read in two ways (a name
twice, an audience that is a list) is refused, also of auth's own key (decision 0022).
"""

import asyncio
import base64
import hashlib
import json
import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import jwt

from restock.kernel.faults import Unauthenticated, Unavailable
from restock.kernel.revocations import LONGEST_LIFE_S, Revocations
from restock.kernel.stopping import pause
from restock.kernel.telemetry import log
from restock.kernel.tenants import Tenant

ALGORITHM = "ES256"
TOKEN_TYPE = "at+jwt"  # noqa: S105  RFC 9068, section 2.1
KEYS_FRESH_S = 60.0
KEYS_RETRY_S = 1.0
CLOCKS_DIFFER_S = 30.0
REMEMBERED_TOKENS = 20_000
CLAIMS = ["iss", "aud", "sub", "email", "name", "role", "wid", "wrole", "sid", "iat", "exp"]

# base64url without padding; an ES256 signature is 64 bytes
_FORM = re.compile(r"[A-Za-z0-9_-]{1,1000}\.[A-Za-z0-9_-]{1,8000}\.[A-Za-z0-9_-]{86}")

# what keeps auth's keys from being read: it is away, or what answers isn't auth
_NOT_READ = (
    aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, LookupError, jwt.PyJWTError,
)  # fmt: skip

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

    @property
    def tenant(self) -> Tenant:
        """Whose rows a request of his may touch."""
        return Tenant(self.workspace_id, (self.user_id,))


class KeysAway(Unavailable):
    """No public key is known yet, and auth can't be reached."""

    code = "auth.keys_unavailable"


class TokenVerifier:
    """Turns a token into a Principal. Keys are cached; so are verified tokens, by their hash.

    A Run: it reads the keys again now and then, so that one that was withdrawn is known as such.
    """

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
        self._tried_at = -math.inf
        self._fetching = asyncio.Lock()
        self._known: dict[bytes, tuple[Principal, float]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Read the keys again every `KEYS_FRESH_S`; the known ones serve while auth is away."""
        while not stop.is_set():
            await pause(stop, KEYS_FRESH_S)
            if self._keys and not stop.is_set():
                await self._update()

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
        key = await self._key(_kid_of(token))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                options={"require": CLAIMS, "verify_iat": False, "strict_aud": True},
            )
            _require_names_once(token.split(".")[1])
            if claims["exp"] - claims["iat"] > LONGEST_LIFE_S:
                raise Unauthenticated("The token is not valid.")
            if claims["iat"] > time.time() + CLOCKS_DIFFER_S:
                raise Unauthenticated("The token is not valid yet.")
            return _principal(claims, token)
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has ended.") from None
        except _UNREADABLE:
            raise Unauthenticated("The token is not valid.") from None

    async def _key(self, kid: str) -> Any:
        if kid not in self._keys:
            await self._update()
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
            except _NOT_READ as why:
                log.warning("identity.keys_not_read", why=repr(why))
            finally:
                self._tried_at = time.monotonic()


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


def _kid_of(token: str) -> str:
    """The key that an access token says it was signed with. Raises Unauthenticated."""
    try:
        if _FORM.fullmatch(token):
            header = _require_names_once(token.split(".")[0])
            kind = (header["alg"], header["typ"])
            if kind == (ALGORITHM, TOKEN_TYPE) and "crit" not in header:
                return _text(header["kid"])
    except _UNREADABLE:
        pass
    raise Unauthenticated("The token is not valid.")


def _require_names_once(part: str) -> dict[str, Any]:
    """The object in a part of a token. Raises one of _UNREADABLE, also for a name that is twice."""
    text = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    found: dict[str, Any] = json.loads(text, object_pairs_hook=_names_once)
    return found


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


# whatever a token may hold where something else was expected
_UNREADABLE = (
    jwt.PyJWTError, ValueError, TypeError, LookupError, AttributeError, OverflowError,
    RecursionError,
)  # fmt: skip


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
