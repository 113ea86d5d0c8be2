"""Access tokens that anybody can check, refresh tokens that only auth can read."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restock.auth.domain import Account
from restock.auth.keys import new_key, read_key
from restock.auth.tokens import AccessTokens, RefreshClaim, RefreshTokens

NOW = datetime.now(UTC).replace(microsecond=400_000)
SESSION = UUID("0198f000-0000-7000-8000-000000000001")
ACCOUNT = Account(
    id=UUID("0198f000-0000-7000-8000-000000000002"),
    workspace_id=UUID("0198f000-0000-7000-8000-000000000003"),
    workspace_role="owner",
    email="ada@example.org",
    email_verified=False,
    name="Ada",
    role="user",
    created_at=NOW,
    updated_at=NOW,
)
SECRET = bytes(range(32))


def test_an_access_token_says_what_the_contract_says_and_no_more() -> None:
    key = new_key()
    token = AccessTokens("restock", "shop").make(
        key, ACCOUNT, SESSION, issued_at=NOW, expires_at=NOW + timedelta(minutes=15)
    )
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}
    public = jwt.PyJWK(key.jwk).key
    claims = jwt.decode(token, public, algorithms=["ES256"], audience="shop", issuer="restock")
    assert claims == {
        "iss": "restock",
        "aud": "shop",
        "sub": str(ACCOUNT.id),
        "email": "ada@example.org",
        "name": "Ada",
        "role": "user",
        "wid": str(ACCOUNT.workspace_id),
        "wrole": "owner",
        "sid": str(SESSION),
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 900,
    }


def test_a_key_comes_back_from_its_private_half() -> None:
    key = new_key()
    again = read_key(key.pem())
    assert again.kid == key.kid
    assert again.jwk == key.jwk


def test_the_public_half_holds_no_private_member() -> None:
    assert set(new_key().jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_a_kid_is_the_thumbprint_of_its_key() -> None:
    key = new_key()
    required = {name: key.jwk[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True).encode()
    digest = hashlib.sha256(canonical).digest()
    assert key.kid == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert new_key().kid != key.kid


@given(st.uuids(), st.integers(0, 2**48 - 1))
def test_a_refresh_token_comes_back_as_it_was_made(session_id: UUID, counter: int) -> None:
    tokens = RefreshTokens(SECRET)
    token = tokens.make(session_id, counter)
    assert tokens.read(token) == RefreshClaim(session_id, counter)
    assert tokens.make(session_id, counter) == token


def test_every_changed_character_is_noticed() -> None:
    tokens = RefreshTokens(SECRET)
    genuine = tokens.make(SESSION, 7)
    for place, character in enumerate(genuine):
        changed = "A" if character != "A" else "B"
        assert tokens.read(genuine[:place] + changed + genuine[place + 1 :]) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "rr1.",
        "rr1.AAAA",
        "rr1.é",
        "x" * 200,
        "rr1." + "A" * 72,
        "rr1." + "A" * 70 + "==",
        "rr1." + "=" * 72,
        "\u0661" * 76,
    ],
)
def test_what_is_no_refresh_token_is_none_of_ours(token: str) -> None:
    assert RefreshTokens(SECRET).read(token) is None


def test_nothing_may_be_added_to_a_refresh_token() -> None:
    tokens = RefreshTokens(SECRET)
    genuine = tokens.make(SESSION, 7)
    for added in (" ", "\n", "=", "A", "AAAA"):
        assert tokens.read(genuine + added) is None
        assert tokens.read(added + genuine) is None


def test_a_refresh_token_of_another_system_is_none_of_ours() -> None:
    assert RefreshTokens(SECRET).read(RefreshTokens(bytes(32)).make(SESSION, 0)) is None


def test_an_access_token_is_no_refresh_token() -> None:
    token = AccessTokens("restock", "restock").make(
        new_key(), ACCOUNT, SESSION, issued_at=NOW, expires_at=NOW + timedelta(minutes=15)
    )
    assert RefreshTokens(SECRET).read(token) is None
