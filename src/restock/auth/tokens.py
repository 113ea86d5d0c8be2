"""Tokens: access tokens that every service can check, refresh tokens that only auth can.

An access token is a JWT (RFC 9068, `typ` at+jwt) signed with ES256. A refresh token is opaque:
the session's id and the token's number, authenticated with HMAC-SHA256, so no table of tokens is
kept and the same number always gives the same token.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import jwt

from restock.auth.domain import Account
from restock.auth.keys import SigningKey

TOKEN_TYPE = "at+jwt"  # noqa: S105  a media type, not a secret
_PREFIX = "rr1."
_PURPOSE = b"restock refresh token 1\n"
_COUNTER_BYTES = 6
_CLAIM_BYTES = 16 + _COUNTER_BYTES  # with the tag 54 bytes, 72 characters and no padding


@dataclass(frozen=True, slots=True)
class AccessTokens:
    """Makes access tokens."""

    issuer: str
    audience: str

    def make(
        self,
        key: SigningKey,
        account: Account,
        session_id: UUID,
        *,
        issued_at: datetime,
        expires_at: datetime,
    ) -> str:
        """An access token of this session, signed with `key`."""
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(account.id),
            "email": account.email,
            "name": account.name,
            "role": account.role,
            "wid": str(account.workspace_id),
            "wrole": account.workspace_role,
            "sid": str(session_id),
            "iat": int(issued_at.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        headers = {"kid": key.kid, "typ": TOKEN_TYPE}
        return jwt.encode(claims, key.private, algorithm="ES256", headers=headers)


@dataclass(frozen=True, slots=True)
class RefreshClaim:
    """What a genuine refresh token says: its session, and its number in it."""

    session_id: UUID
    counter: int


class RefreshTokens:
    """Makes and reads refresh tokens."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, session_id: UUID, counter: int) -> str:
        """The refresh token numbered `counter` of a session: always the same one."""
        claim = session_id.bytes + counter.to_bytes(_COUNTER_BYTES, "big")
        tag = hmac.digest(self._secret, _PURPOSE + claim, "sha256")
        return _PREFIX + base64.urlsafe_b64encode(claim + tag).decode()

    def read(self, token: str) -> RefreshClaim | None:
        """What a token says, or None when it is not one of ours."""
        if not token.isascii() or not token.startswith(_PREFIX):
            return None
        try:
            raw = base64.b64decode(token[len(_PREFIX) :], altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        if len(raw) < _CLAIM_BYTES:
            return None
        counter = int.from_bytes(raw[16:_CLAIM_BYTES], "big")
        claim = RefreshClaim(UUID(bytes=raw[:16]), counter)
        # compared as text: another spelling of the same bytes is another token
        genuine = self.make(claim.session_id, claim.counter)
        return claim if hmac.compare_digest(token, genuine) else None
