"""Sessions: one's own to see and to end, with effect at once."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest

from restock.engines.nats import NatsEngine
from tests.auth.conftest import PASSWORD, Auth, SignedIn, StartAuth, signed_in
from tests.fixtures.tokens import token_for

GUARDED = [
    ("GET", "/api/auth/verify"),
    ("POST", "/api/auth/logout"),
    ("POST", "/api/auth/logout-all"),
    ("GET", "/api/auth/sessions"),
    ("DELETE", f"/api/auth/sessions/{uuid4()}"),
]


def session_of(person: SignedIn) -> str:
    sid: str = jwt.decode(person.token, options={"verify_signature": False})["sid"]
    return sid


async def sessions(auth: Auth, person: SignedIn, query: str = "") -> Any:
    answer = await auth.ask("GET", f"/api/auth/sessions{query}", token=person.token)
    assert answer.status == 200
    return answer.json


async def revoked(auth: Auth) -> list[str]:
    return [told["sessionId"] for told in await auth.events("auth.session.revoked")]


async def test_without_a_token_nothing_is_told(auth: Auth) -> None:
    for method, path in GUARDED:
        for token in (None, "", "x", "a.b.c", token_for(lives_s=-5), token_for(aud="other")):
            answer = await auth.ask(method, path, token=token)
            assert answer.status == 401, (method, path, token)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_token_of_a_session_unknown_here_is_of_nobody(auth: Auth) -> None:
    assert not await auth.works(token_for())
    ada = await auth.newcomer()
    assert not await auth.works(token_for(session_id=session_of(ada)))


async def test_one_sees_where_one_is_signed_in(auth: Auth) -> None:
    ada = await auth.newcomer()
    headers = {"User-Agent": "Firefox", "X-Forwarded-For": "192.0.2.7"}
    laptop = signed_in(await auth.login("ada@example.org", PASSWORD, **headers))
    await auth.newcomer("bob@example.org")
    answer = await auth.ask("GET", "/api/auth/sessions", token=ada.token)
    assert answer.headers["Cache-Control"] == "no-store"
    seen = answer.json
    assert [session["id"] for session in seen] == [session_of(laptop), session_of(ada)]
    assert set(seen[0]) == {
        *("id", "userAgent", "address", "createdAt", "lastUsedAt", "current"),
    }
    assert (seen[0]["userAgent"], seen[0]["address"]) == ("Firefox", "192.0.2.7")
    assert [session["current"] for session in seen] == [False, True]
    assert [session["current"] for session in await sessions(auth, laptop)] == [True, False]


async def test_a_refresh_shows_as_use_from_where_it_came(auth: Auth) -> None:
    ada = await auth.newcomer()
    await auth.owner.execute("UPDATE sessions SET last_used_at = last_used_at - interval '1 hour'")
    [before] = await sessions(auth, ada)
    await auth.refresh(ada.refresh_token, **{"User-Agent": "Firefox", "X-Forwarded-For": "::1"})
    [after] = await sessions(auth, ada)
    assert after["createdAt"] == before["createdAt"]
    passed = datetime.fromisoformat(after["lastUsedAt"]) - datetime.fromisoformat(
        before["lastUsedAt"]
    )
    assert passed >= timedelta(hours=1)
    assert (after["userAgent"], after["address"]) == ("Firefox", "::1")


async def test_long_lists_come_in_pages(auth: Auth) -> None:
    ada = await auth.newcomer()
    expected = [session_of(ada)]
    for _ in range(4):
        expected.insert(0, session_of(await auth.again()))
    found, path = [], "/api/auth/sessions?limit=2"
    while path:
        answer = await auth.ask("GET", path, token=ada.token)
        assert len(answer.json) <= 2
        assert answer.headers["Cache-Control"] == "no-store"
        found += [session["id"] for session in answer.json]
        link = answer.headers.get("Link", "")
        path = link[link.find("<") + 1 : link.find(">")] if link else ""
    assert found == expected
    for query in ("limit=0", "limit=201", "limit=x", "cursor=x", "cursor=WyJ4Il0", "cursor=W10"):
        answer = await auth.ask("GET", f"/api/auth/sessions?{query}", token=ada.token)
        assert answer.status == 422, query


async def test_sessions_that_are_over_are_in_no_list(auth: Auth) -> None:
    ada = await auth.newcomer()
    for column, interval in (("last_used_at", "14 days"), ("created_at", "90 days")):
        over = session_of(await auth.again())
        await auth.owner.execute(
            f"UPDATE sessions SET {column} = {column} - interval '{interval}' WHERE id = $1", over
        )
    assert [session["id"] for session in await sessions(auth, ada)] == [session_of(ada)]


async def test_a_logout_ends_this_session_at_once(auth: Auth) -> None:
    ada = await auth.newcomer()
    laptop = await auth.again()
    answer = await auth.ask("POST", "/api/auth/logout", token=laptop.token)
    assert (answer.status, answer.body) == (204, b"")
    assert not await auth.works(laptop.token)
    assert (await auth.refresh(laptop.refresh_token)).status == 401
    assert (await auth.ask("POST", "/api/auth/logout", token=laptop.token)).status == 401
    assert await auth.works(ada.token)
    assert [session["id"] for session in await sessions(auth, ada)] == [session_of(ada)]
    [told] = await auth.events("auth.session.revoked")
    ends = jwt.decode(laptop.token, options={"verify_signature": False})["exp"]
    assert told["sessionId"] == session_of(laptop)
    assert told["userId"] == ada.id
    assert datetime.fromisoformat(told["expiresAt"]).timestamp() == ends


async def test_logout_from_everywhere(auth: Auth) -> None:
    devices = [await auth.newcomer()] + [await auth.again() for _ in range(4)]
    bob = await auth.newcomer("bob@example.org")
    answer = await auth.ask("POST", "/api/auth/logout-all", token=devices[2].token)
    assert (answer.status, answer.body) == (204, b"")
    for device in devices:
        assert not await auth.works(device.token)
        assert (await auth.refresh(device.refresh_token)).status == 401
    assert await auth.works(bob.token)
    assert sorted(await revoked(auth)) == sorted(session_of(device) for device in devices)
    again = await auth.again()
    assert await auth.works(again.token), "signing in again is free"


async def test_logouts_from_everywhere_at_once_do_not_block_each_other(auth: Auth) -> None:
    devices = [await auth.newcomer()] + [await auth.again() for _ in range(9)]
    answers = await asyncio.gather(
        *(auth.ask("POST", "/api/auth/logout-all", token=d.token) for d in devices),
        *(auth.ask("POST", "/api/auth/logout", token=d.token) for d in devices),
        *(auth.refresh(d.refresh_token) for d in devices),
    )
    assert {answer.status for answer in answers} <= {200, 204, 401}
    assert sorted(await revoked(auth)) == sorted(session_of(device) for device in devices)


async def test_a_session_that_nobody_seems_to_be_able_to_use_is_ended_for_all(auth: Auth) -> None:
    """The clock may be ahead, and the token of a longer setting before may live still."""
    ada = await auth.newcomer()
    old = session_of(await auth.again())
    await auth.owner.execute(
        "UPDATE sessions SET access_until = now() - interval '1 hour' WHERE id = $1", old
    )
    await auth.ask("POST", "/api/auth/logout-all", token=ada.token)
    assert sorted(await revoked(auth)) == sorted([session_of(ada), old])
    assert await auth.service.fetchval("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == 0


@pytest.mark.parametrize(
    ("method", "path"), GUARDED, ids=["verify", "logout", "logout all", "list", "end"]
)
async def test_who_was_ended_by_another_worker_does_nothing_here(
    auth: Auth, method: str, path: str
) -> None:
    """Though this one hasn't heard of it, as while NATS is away."""
    ada = await auth.newcomer()
    await auth.again()
    await auth.owner.execute(
        "UPDATE sessions SET ended_at = now(), ended_by = 'logout' WHERE id = $1", session_of(ada)
    )
    answer = await auth.ask(method, path, token=ada.token)
    assert answer.status == 401
    assert answer.json["detail"] == "The session was ended."
    live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL"
    assert await auth.service.fetchval(live) == 1
    assert await revoked(auth) == []


async def test_one_ends_a_session_of_ones_own(auth: Auth) -> None:
    ada = await auth.newcomer()
    laptop = await auth.again()
    path = f"/api/auth/sessions/{session_of(laptop)}"
    answer = await auth.ask("DELETE", path, token=ada.token)
    assert (answer.status, answer.body) == (204, b"")
    assert not await auth.works(laptop.token)
    assert (await auth.refresh(laptop.refresh_token)).status == 401
    assert await auth.works(ada.token)
    assert await revoked(auth) == [session_of(laptop)]
    assert (await auth.ask("DELETE", path, token=ada.token)).status == 404, "it is gone"
    mine = f"/api/auth/sessions/{session_of(ada)}"
    assert (await auth.ask("DELETE", mine, token=ada.token)).status == 204
    assert not await auth.works(ada.token)


async def test_what_is_not_yours_is_not_there(auth: Auth) -> None:
    ada, bob = await auth.newcomer(), await auth.newcomer("bob@example.org")
    answers = [
        await auth.ask("DELETE", f"/api/auth/sessions/{session_id}", token=bob.token)
        for session_id in (session_of(ada), str(uuid4()))
    ]
    problems: list[Any] = []
    for answer in answers:
        assert answer.status == 404
        assert answer.json["code"] == "auth.session_not_found"
        problems.append({n: v for n, v in answer.json.items() if n != "requestId"})
    assert problems[0] == problems[1]
    assert await auth.works(ada.token)
    assert await revoked(auth) == []
    for nonsense in ("x", "00000000-0000-0000-0000-00000000000g", "%00"):
        answer = await auth.ask("DELETE", f"/api/auth/sessions/{nonsense}", token=bob.token)
        assert answer.status in (400, 404)


@pytest.mark.parametrize("end", ["logout", "theft"])
async def test_other_workers_hear_of_it_by_the_stream(
    start_auth: StartAuth, nats: NatsEngine, end: str
) -> None:
    auth = await start_auth(nats=nats)
    other = await start_auth(nats=nats)
    ada = await auth.newcomer()
    heard = asyncio.Event()
    other.service.context.verifier.revocations.listen(
        lambda session_id: heard.set() if str(session_id) == session_of(ada) else None
    )
    if end == "logout":
        await auth.ask("POST", "/api/auth/logout", token=ada.token)
    else:
        await auth.refresh(ada.refresh_token)
        await auth.owner.execute("UPDATE sessions SET rotated_at = rotated_at - interval '1 min'")
        assert (await auth.refresh(ada.refresh_token)).status == 401
    async with asyncio.timeout(10):
        await heard.wait()
