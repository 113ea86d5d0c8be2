"""Signing in: right, or one answer for everything that isn't."""

from typing import Any

import jwt
import pytest
from argon2 import Parameters, PasswordHasher, Type, extract_parameters

from restock.auth.hasher import PARAMETERS
from restock.auth.hashing import Hashing
from tests.auth.conftest import PASSWORD, Auth, StartAuth
from tests.fixtures.running import Answered

WEAKER = PasswordHasher.from_parameters(
    Parameters(
        type=Type.ID,
        version=19,
        salt_len=16,
        hash_len=32,
        time_cost=1,
        memory_cost=8 * 1024,
        parallelism=1,
    )
)


async def test_a_person_signs_in_with_the_address_in_any_letter_case(auth: Auth) -> None:
    registered = await auth.register("ada@example.org")
    for email in ["ada@example.org", "ADA@EXAMPLE.ORG", "Ada@example.org"]:
        answer = await auth.login(email)
        assert answer.status == 200
        assert set(answer.json) == {"user", "token", "refreshToken", "expiresIn"}
        assert answer.json["user"] == registered.json["user"]
        assert await auth.works(answer.json["token"])


async def test_the_token_says_who_and_where(auth: Auth) -> None:
    ada = await auth.newcomer()
    claims = jwt.decode(ada.token, options={"verify_signature": False})
    session = await auth.service.fetchval("SELECT id::text FROM sessions")
    assert set(claims) == {
        *("iss", "aud", "sub", "email", "name", "role", "wid", "wrole", "sid", "iat", "exp")
    }
    assert (claims["iss"], claims["aud"]) == ("restock", "restock")
    assert (claims["sub"], claims["wid"], claims["sid"]) == (ada.id, ada.workspace_id, session)
    assert (claims["role"], claims["wrole"]) == ("user", "owner")
    assert claims["exp"] - claims["iat"] == 900


async def test_the_life_of_a_token_is_a_setting(start_auth: StartAuth) -> None:
    auth = await start_auth(RESTOCK_TOKEN_MINUTES="5")
    answer = await auth.register("ada@example.org")
    claims = jwt.decode(answer.json["token"], options={"verify_signature": False})
    assert answer.json["expiresIn"] == claims["exp"] - claims["iat"] == 300


def told(answer: Answered) -> tuple[Any, ...]:
    """All that an answer tells, but for the request's own id."""
    problem = {name: value for name, value in answer.json.items() if name != "requestId"}
    headers = {n.lower(): v for n, v in answer.headers.items() if n.lower() != "x-request-id"}
    return answer.status, problem, headers


async def test_one_answer_for_whatever_is_not_right(auth: Auth) -> None:
    await auth.newcomer()
    wrong = await auth.login("ada@example.org", "another password")
    assert wrong.status == 401
    assert wrong.json["code"] == "auth.wrong_credentials"
    for email, password in [
        ("nobody@example.org", PASSWORD),
        ("nobody@example.org", "another password"),
        ("no address at all", PASSWORD),
        ("ada@example.org", PASSWORD.upper()),
        ("ada@example.org", "x"),
        ("ada@example.org' OR true --", PASSWORD),
    ]:
        assert told(await auth.login(email, password)) == told(wrong)


async def test_the_same_work_is_done_for_nobody(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    await auth.newcomer()
    work: list[Parameters] = []
    verify = Hashing.verify

    async def spy(self: Hashing, stored: str, password: str) -> bool:
        work.append(extract_parameters(stored))
        return await verify(self, stored, password)

    monkeypatch.setattr(Hashing, "verify", spy)
    await auth.login("ada@example.org", "another password")
    await auth.login("nobody@example.org", "another password")
    assert work == [PARAMETERS, PARAMETERS]


async def test_a_refused_sign_in_leaves_no_session(auth: Auth) -> None:
    await auth.newcomer()
    await auth.login("ada@example.org", "another password")
    assert await auth.service.fetchval("SELECT count(*) FROM sessions") == 1


async def test_a_bad_field_is_named(auth: Auth) -> None:
    email = {"email": "ada@example.org"}
    for body, pointer in [
        (email, "/password"),
        ({"password": PASSWORD}, "/email"),
        (email | {"password": "x" * 129}, "/password"),
        (email | {"password": ""}, "/password"),
        (email | {"password": ["x"]}, "/password"),
        (email | {"password": PASSWORD, "role": "admin"}, "/role"),
    ]:
        answer = await auth.ask("POST", "/api/auth/login", json=body)
        assert answer.status == 422
        assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


async def test_an_old_hash_is_made_anew_at_the_next_sign_in(auth: Auth) -> None:
    await auth.newcomer()
    await auth.owner.execute("UPDATE accounts SET password_hash = $1", WEAKER.hash(PASSWORD))
    assert (await auth.login("ada@example.org", "another password")).status == 401
    kept = await auth.service.fetchval("SELECT password_hash FROM accounts")
    assert extract_parameters(kept) != PARAMETERS, "only the right password can do it"
    assert (await auth.login("ada@example.org")).status == 200
    kept = await auth.service.fetchval("SELECT password_hash FROM accounts")
    assert extract_parameters(kept) == PARAMETERS
    assert (await auth.login("ada@example.org")).status == 200


async def test_an_idempotency_key_brings_no_kept_secrets_back(auth: Auth) -> None:
    await auth.newcomer()
    header = {"Idempotency-Key": "the-same"}
    first = await auth.login("ada@example.org", PASSWORD, **header)
    second = await auth.login("ada@example.org", PASSWORD, **header)
    wrong = await auth.login("ada@example.org", "another password", **header)
    assert first.json["refreshToken"] != second.json["refreshToken"]
    assert (first.status, second.status, wrong.status) == (200, 200, 401)


async def test_names_of_other_tongues_travel_in_the_token(auth: Auth) -> None:
    answer = await auth.register("zoe@example.org", name="Zoë Żółć 李")
    claims = jwt.decode(answer.json["token"], options={"verify_signature": False})
    assert claims["name"] == answer.json["user"]["name"] == "Zoë Żółć 李"
