"""Refreshes that race with each other and with the end of their session, over and over."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import jwt
import pytest

from restock.kernel.ids import new_id
from tests.auth.conftest import Auth, SignedIn, StartAuth, signed_in
from tests.fixtures.figures import Figures
from tests.fixtures.running import Answered

AT_ONCE = 20
LONG = pytest.param(500, marks=[pytest.mark.long, pytest.mark.timeout(900)])
TRIALS = pytest.mark.parametrize("trials", [30, LONG])


async def begin(auth: Auth) -> SignedIn:
    """A session that has been refreshed once, begun without the work of a password."""
    session_id = new_id()
    await auth.owner.execute(
        """
        INSERT INTO sessions (id, account_id, workspace_id, user_agent, address,
            created_at, rotated_at, last_used_at, access_until, over_at)
        SELECT $1, id, workspace_id, '', '', now(), now(), now(), now(),
            now() + interval '14 days'
        FROM accounts
        """,
        session_id,
    )
    first = auth.service.context.resources.refresh_tokens.make(session_id, 0)
    return signed_in(await auth.refresh(first))


def claims_of(person: SignedIn) -> dict[str, Any]:
    return dict(jwt.decode(person.token, options={"verify_signature": False}))


def session_of(person: SignedIn) -> UUID:
    return UUID(claims_of(person)["sid"])


async def rotations(auth: Auth, person: SignedIn) -> int:
    """How often the session was refreshed for a new token, after `begin`."""
    counter = await auth.owner.fetchval(
        "SELECT counter FROM sessions WHERE id = $1", session_of(person)
    )
    return int(counter) - 1


async def nothing_lives(auth: Auth, person: SignedIn, refreshed: list[Answered], by: str) -> None:
    """Neither what the session had nor what it got meanwhile is good for anything, anywhere."""
    heirs = [signed_in(answer) for answer in refreshed if answer.status == 200]
    assert {answer.status for answer in refreshed} <= {200, 401}
    known = auth.service.context.verifier.revocations
    assert known.is_revoked(session_of(person))
    ended_by, told = await auth.owner.fetchrow(
        "SELECT ended_by, (SELECT jsonb_agg(data) FROM outbox WHERE data->>'sessionId' = $2)"
        " FROM sessions WHERE id = $1",
        session_of(person),
        str(session_of(person)),
    )
    assert ended_by == by
    [event] = told if isinstance(told, list) else jwt.api_jwt.json.loads(told)
    until = datetime.fromisoformat(event["expiresAt"]).timestamp()
    for one in (person, *heirs):
        assert not await auth.works(one.token)
        assert (await auth.refresh(one.refresh_token)).status == 401
        assert claims_of(one)["exp"] <= until, "what others are told outlasts each access token"


@TRIALS
async def test_of_many_at_once_one_rotates(auth: Auth, figures: Figures, trials: int) -> None:
    await auth.newcomer()
    for _ in range(trials):
        ada = await begin(auth)
        answers = await asyncio.gather(*(auth.refresh(ada.refresh_token) for _ in range(AT_ONCE)))
        heirs = {signed_in(answer).refresh_token for answer in answers}
        assert len(heirs) == 1
        assert await rotations(auth, ada) == 1
        assert (await auth.refresh(heirs.pop())).status == 200
    figures.add("refresh races", trials)


@TRIALS
@pytest.mark.parametrize("way", ["logout", "logout-all"])
async def test_after_a_logout_nothing_lives(
    auth: Auth, figures: Figures, way: str, trials: int
) -> None:
    await auth.newcomer()
    for _ in range(trials):
        ada, laptop = await begin(auth), await begin(auth)
        by = ada if way == "logout" else laptop
        left, *refreshed = await asyncio.gather(
            auth.ask("POST", f"/api/auth/{way}", token=by.token),
            *(auth.refresh(ada.refresh_token) for _ in range(4)),
        )
        assert left.status == 204
        await nothing_lives(auth, ada, refreshed, way.replace("-", "_"))
        assert await auth.works(laptop.token) is (way == "logout")
    figures.add("refresh races", trials)


@TRIALS
async def test_after_a_theft_nothing_lives(auth: Auth, figures: Figures, trials: int) -> None:
    """The owner refreshes while a thief comes with a token two steps old."""
    await auth.newcomer()
    for _ in range(trials):
        ada = await begin(auth)
        child = signed_in(await auth.refresh(ada.refresh_token))
        heir = signed_in(await auth.refresh(child.refresh_token))
        answers = await asyncio.gather(
            auth.refresh(heir.refresh_token),
            auth.refresh(ada.refresh_token),
            auth.refresh(heir.refresh_token),
        )
        assert answers[1].status == 401
        await nothing_lives(auth, ada, list(answers), "theft")
        assert await auth.owner.fetchval(
            "SELECT ended_at IS NOT NULL FROM sessions WHERE id = $1", session_of(heir)
        )
    figures.add("refresh races", trials)


@TRIALS
async def test_thief_and_owner_do_not_share_a_session(
    start_auth: StartAuth, figures: Figures, trials: int
) -> None:
    """Parent and child, used at once and over and over without grace: one of them ends it."""
    auth = await start_auth(refresh_grace_seconds="0")
    await auth.newcomer()
    for _ in range(trials):
        ada = await begin(auth)
        child = signed_in(await auth.refresh(ada.refresh_token))
        answers = await asyncio.gather(
            auth.refresh(ada.refresh_token), auth.refresh(child.refresh_token)
        )
        assert answers[0].status == 401
        await nothing_lives(auth, ada, list(answers), "theft")
    figures.add("refresh races", trials)


@TRIALS
async def test_an_honest_client_is_never_logged_out(
    auth: Auth, figures: Figures, trials: int
) -> None:
    """Two tabs that share what they were given last, refresh at once and lose answers."""
    await auth.newcomer()
    ada = await begin(auth)
    for step in range(trials):
        tabs = await asyncio.gather(*(auth.refresh(ada.refresh_token) for _ in range(2)))
        if step % 2:  # both answers were lost: the same token once more
            tabs = [await auth.refresh(ada.refresh_token)]
        [heir] = {signed_in(answer).refresh_token for answer in tabs}
        assert await rotations(auth, ada) == step + 1
        ada = signed_in(tabs[-1])
        assert ada.refresh_token == heir
        assert await auth.works(ada.token)
    figures.add("refresh races", trials)
