"""Registration: an account, its workspace, its first session."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.auth.conftest import PASSWORD, Auth, StartAuth
from tests.auth.held import Held

GOOD = {"email": "ada@example.org", "name": "Ada", "password": PASSWORD}


async def test_an_account_is_made_and_signed_in(auth: Auth) -> None:
    answer = await auth.register("Ada@Example.org", name="Ada Lovelace")
    assert answer.status == 201
    assert set(answer.json) == {"user", "token", "refreshToken", "expiresIn"}
    assert answer.json["expiresIn"] == 900
    user = answer.json["user"]
    assert set(user) == {
        *("id", "email", "name", "role", "workspaceId", "emailVerified"),
        *("createdAt", "updatedAt"),
    }
    assert user["email"] == "Ada@Example.org", "an address is kept as it was written"
    assert (user["name"], user["role"], user["emailVerified"]) == ("Ada Lovelace", "user", False)
    assert user["createdAt"].endswith("Z")
    verified = await auth.ask("GET", "/api/auth/verify", token=answer.json["token"])
    assert verified.json == user


async def test_answers_with_secrets_are_not_kept_on_the_way(auth: Auth) -> None:
    registered = await auth.register("ada@example.org")
    answers = [
        registered,
        await auth.login("ada@example.org"),
        await auth.refresh(registered.json["refreshToken"]),
    ]
    assert [answer.headers["Cache-Control"] for answer in answers] == ["no-store"] * 3


async def test_the_account_owns_a_workspace_of_its_own(auth: Auth) -> None:
    ada, bob = await auth.newcomer(), await auth.newcomer("bob@example.org")
    assert ada.workspace_id != bob.workspace_id
    members = await auth.service.fetch(
        "SELECT workspace_id::text, account_id::text, role FROM members"
    )
    assert {tuple(row) for row in members} == {
        (ada.workspace_id, ada.id, "owner"),
        (bob.workspace_id, bob.id, "owner"),
    }


async def test_others_are_told(auth: Auth) -> None:
    ada = await auth.newcomer()
    assert await auth.events("auth.user.registered") == [
        {
            "userId": ada.id,
            "workspaceId": ada.workspace_id,
            "email": "ada@example.org",
            "name": "Ada",
            "role": "user",
        }
    ]


@pytest.mark.parametrize("role", ["user", "vendor"])
async def test_the_two_open_roles_can_be_asked_for(auth: Auth, role: str) -> None:
    assert (await auth.register("ada@example.org", role=role)).json["user"]["role"] == role


async def refused_fields(auth: Auth, body: Any) -> list[str]:
    """The fields for which a registration is refused; none of it may be written."""
    answer = await auth.ask("POST", "/api/auth/register", json=body)
    assert answer.status == 422, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert await auth.service.fetchval("SELECT count(*) FROM accounts") == 0
    return [error["pointer"] for error in answer.json["errors"]]


async def test_no_other_role_can_be_asked_for(auth: Auth) -> None:
    for role in ["admin", "owner", "USER", "", None, 1, ["user"]]:
        assert await refused_fields(auth, GOOD | {"role": role}) == ["/role"]


async def test_nothing_else_can_be_set(auth: Auth) -> None:
    for field in [
        *("id", "userId", "workspaceId", "workspace_id", "emailVerified", "createdAt"),
        *("updatedAt", "passwordHash", "password_hash", "isAdmin", "__proto__", "Role"),
    ]:
        assert await refused_fields(auth, GOOD | {field: "admin"}) == [f"/{field}"]


async def test_a_bad_field_is_named(auth: Auth) -> None:
    bad: dict[str, list[Any]] = {
        "email": ["ada", "ada@localhost", "", "a" * 190 + "@example.org", 5, None, {"$ne": None}],
        "name": ["", "x" * 201, "Ada\0", "Ada\r\nBcc: x", "Ada\n", "\x1b", "\x7f", True, None],
        "password": ["x" * 9, "x" * 129, "correct\0horse", 1234567890, None],
    }
    for field, values in bad.items():
        for value in values:
            assert await refused_fields(auth, GOOD | {field: value}) == [f"/{field}"], value
        missing = {name: value for name, value in GOOD.items() if name != field}
        assert await refused_fields(auth, missing) == [f"/{field}"]


@pytest.mark.parametrize("path", ["register", "login", "refresh"])
async def test_a_bad_body_is_refused(auth: Auth, path: str) -> None:
    bad = {
        400: [
            *(b"", b"{", b"\xff\xfe", b'{"email": "\xff"}', b'{"email": "\\ud800"}'),
            b"[" * 500_000,
        ],
        422: [b"[]", b"null", b'"ada@example.org"', b"{}"],
        413: [b'{"email": "' + b"x" * 2_000_000 + b'"}'],
    }
    for status, bodies in bad.items():
        for body in bodies:
            answer = await auth.ask("POST", f"/api/auth/{path}", body=body)
            assert answer.status == status, body[:30]
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_password_may_be_any_text(auth: Auth) -> None:
    password = "пароль 🐎 'quoted\" \\ \t" + "x" * 50
    assert (await auth.register("ada@example.org", password=password)).status == 201
    assert (await auth.login("ada@example.org", password)).status == 200


@pytest.mark.parametrize("email", ["ada@example.org", "ADA@example.ORG"])
async def test_a_taken_address_is_refused_in_any_letter_case(auth: Auth, email: str) -> None:
    await auth.newcomer("Ada@example.org")
    answer = await auth.register(email, name="Somebody else", password="another password")
    assert answer.status == 409
    assert answer.json["code"] == "auth.email_taken"
    assert "token" not in answer.json
    assert await auth.service.fetchval("SELECT count(*) FROM workspaces") == 1
    assert (await auth.login("ada@example.org")).status == 200, "the first one's password stays"


async def test_of_many_at_once_one_gets_the_address(auth: Auth) -> None:
    emails = ["ada@example.org", "ADA@example.org", "Ada@Example.Org"] * 8
    answers = await asyncio.gather(*(auth.register(email) for email in emails))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 23
    for table in ("accounts", "workspaces", "members", "sessions"):
        assert await auth.service.fetchval(f"SELECT count(*) FROM {table}") == 1
    assert len(await auth.events("auth.user.registered")) == 1


async def test_beyond_the_queue_newcomers_are_asked_to_come_back(
    start_auth: StartAuth, hold: Callable[[], Held]
) -> None:
    auth = await start_auth(password_threads="1", password_queue="0")
    held = hold()
    first = asyncio.create_task(auth.register("ada@example.org"))
    await held.begun()
    for refused in (await auth.register("bob@example.org"), await auth.login("ada@example.org")):
        assert refused.status == 503
        assert refused.json["code"] == "auth.too_many_sign_ins"
        assert int(refused.headers["Retry-After"]) >= 1
    held.gate.set()
    assert (await first).status == 201
    assert await auth.service.fetchval("SELECT count(*) FROM accounts") == 1


async def test_hashing_holds_no_connection(start_auth: StartAuth, hold: Callable[[], Held]) -> None:
    auth = await start_auth(pool_size="1")
    ada = await auth.newcomer()
    held = hold()
    waiting = asyncio.create_task(auth.register("bob@example.org"))
    await held.begun()
    assert await auth.works(ada.token), "the only connection is free"
    held.gate.set()
    assert (await waiting).status == 201


async def test_the_password_is_kept_as_a_hash_only(auth: Auth) -> None:
    await auth.newcomer()
    kept = await auth.service.fetchval("SELECT password_hash FROM accounts")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    everything = await auth.service.fetchval(
        "SELECT concat((SELECT json_agg(a) FROM accounts a), (SELECT json_agg(o) FROM outbox o))"
    )
    assert PASSWORD not in everything
