"""The keys that sign: made once, shared, replaced without anybody noticing."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg
import jwt
import pytest

from restock.auth import operator
from restock.auth.keys import Keyring, KeyRotation, new_key
from restock.auth.store import keys as store
from restock.kernel.database import DatabaseAway
from tests.auth.conftest import Auth, StartAuth, signed_in


async def published(auth: Auth) -> list[dict[str, Any]]:
    answer = await auth.ask("GET", "/.well-known/jwks.json")
    assert answer.status == 200
    keys: list[dict[str, Any]] = answer.json["keys"]
    return keys


async def states(auth: Auth) -> dict[str, str]:
    """The key in each state; of the retired ones the one retired last."""
    rows = await auth.owner.fetch("SELECT state, kid FROM signing_keys ORDER BY retired_at")
    return {row["state"]: row["kid"] for row in rows}


async def age(auth: Auth, **passed: str) -> None:
    """Let time pass: move a moment of every key into the past."""
    for column, interval in passed.items():
        await auth.owner.execute(
            f"UPDATE signing_keys SET {column} = {column} - interval '{interval}'"
        )


def rotation(auth: Auth, **days: float) -> KeyRotation:
    return KeyRotation(
        auth.service.context.database,
        signs_for=timedelta(**days or {"days": 30}),
        public_for=timedelta(seconds=300),
        every=timedelta(seconds=0.01),
    )


def kid_of(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


async def test_the_public_keys_are_public_and_nothing_else_is(auth: Auth) -> None:
    answer = await auth.ask("GET", "/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    for key in answer.json["keys"]:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    signs = (await states(auth))["active"]
    [key] = [key for key in answer.json["keys"] if key["kid"] == signs]
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
    rings = [Keyring(database, reload_after=timedelta(0)) for _ in range(8)]
    await asyncio.gather(*(ring.open() for ring in rings))
    assert len({(await ring.signer()).kid for ring in rings}) == 1
    assert await auth.service.fetchval("SELECT count(*) FROM signing_keys") == 2

    async def keep(value: bytes) -> bytes:
        async with database.tx() as tx:
            return await store.keep_first_secret(tx, "refresh_tokens", value)

    kept = await asyncio.gather(*(keep(bytes([n]) * 32) for n in range(8)))
    assert len(set(kept)) == 1


async def test_a_later_start_makes_no_further_key(auth: Auth) -> None:
    before = await published(auth)
    ring = Keyring(auth.service.context.database, reload_after=timedelta(0))
    await ring.open()
    assert await ring.published() == before


async def test_a_key_is_published_before_it_signs_and_while_its_tokens_live(
    start_auth: StartAuth,
) -> None:
    auth = await start_auth(keys_reload_seconds="0")
    ada = await auth.newcomer()
    first = await states(auth)
    assert kid_of(ada.token) == first["active"]
    assert {key["kid"] for key in await published(auth)} == set(first.values())
    await age(auth, created_at="31 days", activated_at="31 days")
    await rotation(auth).rotate_if_due()
    second = await states(auth)
    assert (second["active"], second["retired"]) == (first["next"], first["active"])
    assert kid_of((await auth.again()).token) == first["next"]
    assert {key["kid"] for key in await published(auth)} == set(second.values())
    assert len(second) == 3
    assert await auth.works(ada.token), "tokens of the retired key are good to their end"
    await age(auth, retired_at="64 minutes")
    assert len(await published(auth)) == 3
    await age(auth, retired_at="2 minutes")
    assert {key["kid"] for key in await published(auth)} == {second["active"], second["next"]}


async def test_a_key_that_no_longer_signs_has_no_private_half(auth: Auth) -> None:
    await age(auth, created_at="31 days", activated_at="31 days")
    await rotation(auth).rotate_if_due()
    rows = await auth.owner.fetch("SELECT state, private_pem FROM signing_keys")
    assert {row["state"]: row["private_pem"] is None for row in rows} == {
        "active": False,
        "next": False,
        "retired": True,
    }


@pytest.mark.parametrize(
    ("signed", "public", "rotates"),
    [
        ("29 days 23 hours 59 minutes", "30 days", False),
        ("30 days", "30 days", True),
        ("90 days", "299 seconds", False),
        ("90 days", "301 seconds", True),
    ],
)
async def test_a_key_signs_its_time_and_no_heir_before_everybody_knows_it(
    auth: Auth, signed: str, public: str, rotates: bool
) -> None:
    before = await states(auth)
    await age(auth, activated_at=signed, created_at=public)
    await rotation(auth).rotate_if_due()
    assert ((await states(auth))["active"] == before["next"]) is rotates


async def test_without_a_life_of_keys_nothing_is_rotated(auth: Auth) -> None:
    before = await states(auth)
    await age(auth, activated_at="10 years", created_at="10 years")
    stop = asyncio.Event()
    for signs_for, expected in ((0, before["active"]), (1, before["next"])):
        running = asyncio.create_task(rotation(auth, days=signs_for).run(stop))
        async with asyncio.timeout(20):
            for _ in range(20):  # long enough to do it, if it does
                await asyncio.sleep(0.01)
            while (await states(auth))["active"] != expected:
                await asyncio.sleep(0.01)
        stop.set()
        await running
        stop.clear()


async def test_many_workers_rotate_once(auth: Auth) -> None:
    """Ten times eight at once: each time one new key signs, and there is always one and one."""
    kids = [await states(auth)]
    for _ in range(10):
        await age(auth, created_at="31 days", activated_at="31 days")
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(rotation(auth).rotate_if_due())
        kids.append(await states(auth))
        assert kids[-1]["active"] == kids[-2]["next"]
    counts = await auth.owner.fetch("SELECT state, count(*) FROM signing_keys GROUP BY state")
    assert dict(map(tuple, counts)) == {"active": 1, "next": 1, "retired": 10}


async def test_the_operator_rotates_at_once_but_not_twice(auth: Auth) -> None:
    url = auth.service.context.settings.database_url
    before = await states(auth)
    assert await operator.rotate_keys(url, public_for=timedelta(seconds=300)) is None
    await age(auth, created_at="301 seconds")
    kid = await operator.rotate_keys(url, public_for=timedelta(seconds=300))
    assert kid == before["next"] == (await states(auth))["active"]
    assert await operator.rotate_keys(url, public_for=timedelta(seconds=300)) is None


async def test_a_compromised_key_is_taken_away(start_auth: StartAuth) -> None:
    auth = await start_auth(keys_reload_seconds="0")
    ada = await auth.newcomer()
    before = {key["kid"] for key in await published(auth)}
    assert await auth.works(ada.token)
    await operator.replace_keys(auth.service.context.settings.database_url)
    assert not before & {key["kid"] for key in await published(auth)}
    # what every process does each minute
    auth.service.context.verifier._tried_at -= 60
    await auth.service.context.verifier._update()
    assert not await auth.works(ada.token), "also of a token that was found good before"
    heir = signed_in(await auth.refresh(ada.refresh_token))
    assert await auth.works(heir.token), "nobody has to sign in again"


async def test_keys_that_were_not_read_for_minutes_do_not_sign(
    start_auth: StartAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = await start_auth(keys_reload_seconds="0")
    ring = auth.service.context.resources.keys

    async def away(*_: Any, **__: Any) -> Any:
        raise DatabaseAway()

    monkeypatch.setattr(store, "published_keys", away)
    await ring.signer()
    ring._read_at -= 301
    with pytest.raises(DatabaseAway):
        await ring.signer()
    assert await published(auth), "what was signed can still be checked"


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
    ring = Keyring(auth.service.context.database, reload_after=timedelta(0))
    await ring.open()
    ring._reload_after = 60.0
    read, reads = store.published_keys, []

    async def counted(*args: Any, **named: Any) -> Any:
        reads.append(args)
        return await read(*args, **named)

    monkeypatch.setattr(store, "published_keys", counted)
    ring._tried_at -= 61
    signers = await asyncio.gather(*(ring.signer() for _ in range(20)))
    assert len(reads) == 1
    assert {key.kid for key in signers} == {(await states(auth))["active"]}


@pytest.mark.parametrize("state", ["active", "next"])
async def test_there_can_be_only_one_of_a_kind(auth: Auth, state: str) -> None:
    key = new_key()
    with pytest.raises(asyncpg.UniqueViolationError, match=f"signing_keys_{state}"):
        await auth.owner.execute(
            "INSERT INTO signing_keys (kid, state, private_pem, public_jwk)"
            " VALUES ($1, $2, $3, $4::text::jsonb)",
            key.kid,
            state,
            key.pem(),
            json.dumps(key.jwk),
        )
