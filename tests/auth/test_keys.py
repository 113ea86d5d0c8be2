"""The keys that sign: made once, shared, replaced without anybody noticing."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest

from restock.auth import store
from restock.auth.keys import Keyring, SigningKey, new_key
from restock.kernel.database import DatabaseAway
from tests.auth.conftest import Auth, StartAuth


async def published(auth: Auth) -> list[dict[str, Any]]:
    answer = await auth.ask("GET", "/.well-known/jwks.json")
    assert answer.status == 200
    keys: list[dict[str, Any]] = answer.json["keys"]
    return keys


async def add(auth: Auth, key: SigningKey, state: str) -> None:
    await auth.owner.execute(
        "INSERT INTO signing_keys (kid, state, private_pem, public_jwk, retired_at)"
        " VALUES ($1, $2, $3, $4::text::jsonb, CASE $2::text WHEN 'retired' THEN now() END)",
        key.kid,
        state,
        key.pem(),
        json.dumps(key.jwk),
    )


def kid_of(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


async def test_the_public_keys_are_public_and_nothing_else_is(auth: Auth) -> None:
    answer = await auth.ask("GET", "/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    [key] = answer.json["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    ada = await auth.newcomer()
    assert jwt.get_unverified_header(ada.token) == {
        "alg": "ES256",
        "typ": "at+jwt",
        "kid": key["kid"],
    }
    jwt.decode(ada.token, jwt.PyJWK(key).key, algorithms=["ES256"], audience="restock")


async def test_workers_that_start_at_once_agree_on_one_key_and_one_secret(auth: Auth) -> None:
    await auth.owner.execute("DELETE FROM signing_keys")
    await auth.owner.execute("DELETE FROM secrets")
    database = auth.service.context.database
    rings = [
        Keyring(database, reload_after=timedelta(0), kept=timedelta(minutes=20)) for _ in range(8)
    ]
    await asyncio.gather(*(ring.open() for ring in rings))
    assert len({(await ring.signer()).kid for ring in rings}) == 1
    assert await auth.service.fetchval("SELECT count(*) FROM signing_keys") == 1

    async def keep(value: bytes) -> bytes:
        async with database.tx() as tx:
            return await store.keep_first_secret(tx, "refresh_tokens", value)

    kept = await asyncio.gather(*(keep(bytes([n]) * 32) for n in range(8)))
    assert len(set(kept)) == 1


async def test_a_later_start_makes_no_further_key(auth: Auth) -> None:
    before = await published(auth)
    ring = Keyring(
        auth.service.context.database, reload_after=timedelta(0), kept=timedelta(minutes=20)
    )
    await ring.open()
    assert await ring.published() == before


async def test_a_key_is_published_before_it_signs_and_while_its_tokens_live(
    start_auth: StartAuth,
) -> None:
    auth = await start_auth(keys_reload_seconds="0")
    ada = await auth.newcomer()
    [old] = await published(auth)
    fresh = new_key()
    await add(auth, fresh, "next")
    assert [key["kid"] for key in await published(auth)] == [old["kid"], fresh.kid]
    assert kid_of((await auth.again()).token) == old["kid"], "the next key doesn't sign yet"
    async with auth.owner.transaction():
        await auth.owner.execute(
            "UPDATE signing_keys SET state = 'retired', retired_at = now() WHERE state = 'active'"
        )
        await auth.owner.execute("UPDATE signing_keys SET state = 'active' WHERE state = 'next'")
    assert kid_of((await auth.again()).token) == fresh.kid
    assert [key["kid"] for key in await published(auth)] == [old["kid"], fresh.kid]
    assert await auth.works(ada.token), "tokens of the retired key are good to their end"
    await auth.owner.execute(
        "UPDATE signing_keys SET retired_at = now() - interval '21 minutes' WHERE state = 'retired'"
    )
    assert [key["kid"] for key in await published(auth)] == [fresh.kid]


async def test_while_the_database_is_away_tokens_can_still_be_checked(
    start_auth: StartAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = await start_auth(keys_reload_seconds="0")
    before = await published(auth)

    async def away(*_: Any, **__: Any) -> Any:
        raise DatabaseAway()

    monkeypatch.setattr(store, "published_keys", away)
    assert await published(auth) == before


async def test_when_the_keys_grow_old_one_of_many_callers_reads_them(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Keyring(
        auth.service.context.database, reload_after=timedelta(0), kept=timedelta(minutes=20)
    )
    await ring.open()
    ring._reload_after = 60.0
    read, reads = store.published_keys, []

    async def counted(*args: Any, **named: Any) -> Any:
        reads.append(args)
        return await read(*args, **named)

    monkeypatch.setattr(store, "published_keys", counted)
    ring._read_at -= 61
    signers = await asyncio.gather(*(ring.signer() for _ in range(20)))
    assert len(reads) == 1
    assert {key.kid for key in signers} == {key["kid"] for key in await ring.published()}


async def test_there_can_be_only_one_active_key(auth: Auth) -> None:
    with pytest.raises(Exception, match="signing_keys_active"):
        await add(auth, new_key(), "active")
