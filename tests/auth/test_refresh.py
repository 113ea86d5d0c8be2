"""Refresh tokens: good once, forgiven for a moment, deadly when stolen."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt

from restock.auth.tokens import RefreshTokens
from tests.auth.conftest import Auth, SignedIn, StartAuth, signed_in


def expiry(token: str) -> float:
    ends: float = jwt.decode(token, options={"verify_signature": False})["exp"]
    return ends


async def rotate(auth: Auth, refresh_token: str) -> SignedIn:
    return signed_in(await auth.refresh(refresh_token))


async def back(auth: Auth, column: str, seconds: float) -> None:
    """Let time pass: move a moment of every session into the past."""
    await auth.owner.execute(
        f"UPDATE sessions SET {column} = {column} - $1::interval", timedelta(seconds=seconds)
    )


async def ends(auth: Auth) -> list[tuple[str | None, int]]:
    """How each session ended, and how many refresh tokens it had."""
    rows = await auth.service.fetch("SELECT ended_by, counter FROM sessions ORDER BY id")
    return [tuple(row) for row in rows]


async def is_dead(auth: Auth, *refresh_tokens: str) -> bool:
    answers = [await auth.refresh(token) for token in refresh_tokens]
    return all(
        answer.status == 401 and answer.json["code"] == "auth.bad_refresh_token"
        for answer in answers
    )


async def test_a_refresh_gives_a_new_pair(auth: Auth) -> None:
    ada = await auth.newcomer()
    answer = await auth.refresh(ada.refresh_token)
    assert answer.status == 200
    assert set(answer.json) == {"user", "token", "refreshToken", "expiresIn"}
    assert answer.json["user"]["id"] == ada.id
    assert answer.json["refreshToken"] != ada.refresh_token
    assert await auth.works(answer.json["token"])
    claims = [
        jwt.decode(token, options={"verify_signature": False})
        for token in (ada.token, answer.json["token"])
    ]
    assert claims[0]["sid"] == claims[1]["sid"], "it is the same session"
    newest = await rotate(auth, answer.json["refreshToken"])
    assert await ends(auth) == [(None, 2)]
    assert newest.refresh_token not in (ada.refresh_token, answer.json["refreshToken"])


async def test_a_lost_answer_is_given_again(auth: Auth) -> None:
    ada = await auth.newcomer()
    first = await rotate(auth, ada.refresh_token)
    second = await rotate(auth, ada.refresh_token)
    assert second.refresh_token == first.refresh_token
    assert await auth.works(second.token)
    await rotate(auth, first.refresh_token)
    assert await ends(auth) == [(None, 2)]


async def test_of_many_at_once_one_rotates_and_all_get_its_successor(auth: Auth) -> None:
    ada = await auth.newcomer()
    answers = await asyncio.gather(*(auth.refresh(ada.refresh_token) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["refreshToken"] for answer in answers}) == 1
    assert await ends(auth) == [(None, 1)]
    await rotate(auth, answers[0].json["refreshToken"])


async def test_grace_does_not_grow_by_being_used(auth: Auth) -> None:
    ada = await auth.newcomer()
    await rotate(auth, ada.refresh_token)
    await back(auth, "rotated_at", 6)
    await rotate(auth, ada.refresh_token)
    await back(auth, "rotated_at", 6)
    assert await is_dead(auth, ada.refresh_token)


async def test_a_spent_token_after_the_grace_ends_the_session_for_good(auth: Auth) -> None:
    ada = await auth.newcomer()
    heir = await rotate(auth, ada.refresh_token)
    await back(auth, "rotated_at", 10.5)
    assert await is_dead(auth, ada.refresh_token)
    assert await ends(auth) == [("theft", 1)], "it is written although the answer was a refusal"
    assert await is_dead(auth, heir.refresh_token, ada.refresh_token, heir.refresh_token)
    assert not await auth.works(heir.token)
    assert not await auth.works(ada.token)
    [told] = await auth.events("auth.session.revoked")
    assert told["userId"] == ada.id
    assert datetime.fromisoformat(told["expiresAt"]).timestamp() == expiry(heir.token)


async def test_a_token_two_steps_old_ends_the_session_even_at_once(auth: Auth) -> None:
    ada = await auth.newcomer()
    child = await rotate(auth, ada.refresh_token)
    grandchild = await rotate(auth, child.refresh_token)
    assert await is_dead(auth, ada.refresh_token)
    assert await ends(auth) == [("theft", 2)]
    assert await is_dead(auth, grandchild.refresh_token, child.refresh_token)
    assert len(await auth.events("auth.session.revoked")) == 1


async def test_a_theft_ends_one_session_and_no_other(auth: Auth) -> None:
    ada, bob = await auth.newcomer(), await auth.newcomer("bob@example.org")
    other = await auth.again()
    await rotate(auth, ada.refresh_token)
    await back(auth, "rotated_at", 60)
    assert await is_dead(auth, ada.refresh_token)
    assert await auth.works(other.token)
    await rotate(auth, other.refresh_token)
    await rotate(auth, bob.refresh_token)


async def test_without_grace_a_second_use_is_a_theft(start_auth: StartAuth) -> None:
    auth = await start_auth(refresh_grace_seconds="0")
    ada = await auth.newcomer()
    await rotate(auth, ada.refresh_token)
    assert await is_dead(auth, ada.refresh_token)
    assert await ends(auth) == [("theft", 1)]


async def test_a_forged_token_does_no_harm(auth: Auth) -> None:
    ada = await auth.newcomer()
    genuine = ada.refresh_token
    session_id = await auth.service.fetchval("SELECT id FROM sessions")
    for token in (
        genuine[:-1] + ("A" if genuine[-1] != "A" else "B"),
        genuine[:10] + ("A" if genuine[10] != "A" else "B") + genuine[11:],
        genuine + "=",
        genuine.upper(),
        RefreshTokens(bytes(32)).make(session_id, 0),
        ada.token[:200],
        "x",
    ):
        assert await is_dead(auth, token)
    assert await ends(auth) == [(None, 0)]
    await rotate(auth, genuine)


async def test_one_answer_for_every_token_that_is_no_good(auth: Auth) -> None:
    ada = await auth.newcomer()
    tokens = auth.service.context.resources.refresh_tokens
    child = await rotate(auth, ada.refresh_token)
    await rotate(auth, child.refresh_token)
    answers = [
        await auth.refresh(token)
        for token in (
            "x",
            tokens.make(uuid4(), 0),  # genuine, of a session that never was
            ada.refresh_token,  # the theft
            child.refresh_token,  # of an ended session
        )
    ]
    problems: list[Any] = []
    for answer in answers:
        assert answer.status == 401
        problems.append({n: v for n, v in answer.json.items() if n != "requestId"})
    assert problems == [problems[0]] * 4


async def test_a_token_of_one_kind_does_not_do_for_the_other(auth: Auth) -> None:
    ada = await auth.newcomer()
    assert (await auth.ask("GET", "/api/auth/verify", token=ada.refresh_token)).status == 401
    body = {"refreshToken": ada.token}
    answer = await auth.ask("POST", "/api/auth/refresh", json=body)
    assert answer.status in (401, 422), "an access token is longer than a refresh token may be"


async def test_bad_fields_are_named(auth: Auth) -> None:
    for body, pointer in [
        ({}, "/refreshToken"),
        ({"refreshToken": ""}, "/refreshToken"),
        ({"refreshToken": 5}, "/refreshToken"),
        ({"refreshToken": None}, "/refreshToken"),
        ({"refreshToken": "x" * 201}, "/refreshToken"),
        ({"refreshToken": "x", "sessionId": str(uuid4())}, "/sessionId"),
    ]:
        answer = await auth.ask("POST", "/api/auth/refresh", json=body)
        assert answer.status == 422
        assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


async def test_an_unused_session_is_over_after_a_while(start_auth: StartAuth) -> None:
    auth = await start_auth(session_idle_days="2")
    ada = await auth.newcomer()
    await back(auth, "last_used_at", 2 * 86_400 - 60)
    heir = await rotate(auth, ada.refresh_token)
    await back(auth, "last_used_at", 2 * 86_400 - 60)
    heir = await rotate(auth, heir.refresh_token)
    await back(auth, "last_used_at", 2 * 86_400)
    assert await is_dead(auth, heir.refresh_token)


async def test_a_session_in_daily_use_is_over_in_the_end(start_auth: StartAuth) -> None:
    auth = await start_auth(session_absolute_days="3")
    ada = await auth.newcomer()
    await back(auth, "created_at", 3 * 86_400 - 120)
    answer = await auth.refresh(ada.refresh_token)
    assert 60 < answer.json["expiresIn"] <= 120, "its last access token ends with it"
    await back(auth, "created_at", 120)
    assert await is_dead(auth, answer.json["refreshToken"])


async def test_a_refresh_sees_the_account_as_it_is_now(auth: Auth) -> None:
    ada = await auth.newcomer()
    await auth.owner.execute("UPDATE accounts SET role = 'admin', name = 'Countess'")
    heir = await rotate(auth, ada.refresh_token)
    claims = jwt.decode(heir.token, options={"verify_signature": False})
    assert (claims["role"], claims["name"]) == ("admin", "Countess")


async def test_after_a_logout_that_races_with_a_refresh_nothing_lives(auth: Auth) -> None:
    await auth.newcomer()
    for _ in range(25):
        ada = await auth.again()
        logout = auth.ask("POST", "/api/auth/logout", token=ada.token)
        left, *refreshed = await asyncio.gather(
            logout, *(auth.refresh(ada.refresh_token) for _ in range(3))
        )
        assert left.status == 204
        told = (await auth.events("auth.session.revoked"))[-1]
        known_until = datetime.fromisoformat(told["expiresAt"]).timestamp()
        assert await is_dead(auth, ada.refresh_token)
        for answer in refreshed:
            assert answer.status in (200, 401)
            if answer.status == 200:
                heir = signed_in(answer)
                assert await is_dead(auth, heir.refresh_token)
                assert not await auth.works(heir.token)
                assert expiry(heir.token) <= known_until, "the event outlasts each access token"
