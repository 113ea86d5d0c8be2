"""Who has an account: nothing an answer says, and not the time it takes, tells a stranger."""

import random
import time
from collections.abc import Awaitable, Callable
from math import erfc, sqrt
from typing import Any
from uuid import uuid4

import pytest

from tests.auth.conftest import StartAuth
from tests.auth.guessing import STRANGER, guess, settle
from tests.fixtures.figures import Figures
from tests.fixtures.running import Answered

LONG = pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(900)])
Ask = Callable[[], Awaitable[Answered]]


def told(answer: Answered) -> tuple[Any, ...]:
    """All that an answer tells, but for the request's own id."""
    body = answer.body.replace(answer.json["requestId"].encode(), b"")
    headers = {n.lower(): v for n, v in answer.headers.items() if n.lower() != "x-request-id"}
    return answer.status, body, headers


def slower(ours: list[float], theirs: list[float]) -> float:
    """How often one of ours took longer than one of theirs (Mann and Whitney's U, 0 to 1)."""
    above = sum((a > b) + (a == b) / 2 for a in ours for b in theirs)
    return above / (len(ours) * len(theirs))


def by_chance(ours: list[float], theirs: list[float]) -> float:
    """The probability of so great a difference if there is none (two-sided, normal)."""
    n, m = len(ours), len(theirs)
    away = abs(slower(ours, theirs) - 0.5) / sqrt((n + m + 1) / (12 * n * m))
    return erfc(away / sqrt(2))


async def timed(pairs: int, first: Ask, second: Ask) -> tuple[list[float], list[float]]:
    """Seconds that the two took, asked in turns, in either order."""
    taken: dict[Ask, list[float]] = {first: [], second: []}
    for _ in range(pairs):
        answers = {}
        for ask in random.sample([first, second], 2):
            began = time.perf_counter()
            answers[ask] = await ask()
            taken[ask].append(time.perf_counter() - began)
        assert told(answers[first]) == told(answers[second])
    return taken[first], taken[second]


async def same_time(pairs: int, first: Ask, second: Ask) -> float:
    """The least likely of what was seen; a difference must show twice to be one.

    Few pairs can't show a small one: there the bound is on its size.
    """
    for _ in range(2):
        ours, theirs = await timed(pairs, first, second)
        chance, share = by_chance(ours, theirs), slower(ours, theirs)
        if chance > 0.01 or (pairs < 100 and 0.3 < share < 0.7):
            return chance
    raise AssertionError(f"one takes longer in {share:.0%} of all pairs, by chance {chance:.1e}")


def test_the_rank_test_tells_a_difference_from_none() -> None:
    dice = random.Random(1)
    same = [dice.gauss(30, 3) for _ in range(600)]
    later = [dice.gauss(32, 3) for _ in range(300)]
    assert by_chance(same[:300], same[300:]) > 0.01
    assert by_chance(same[:300], later) < 0.001
    assert slower([2.0, 3.0], [1.0, 2.0]) == 0.875


@pytest.mark.parametrize("pairs", [40, LONG])
async def test_a_sign_in_takes_its_time_for_nobody_too(
    start_auth: StartAuth, figures: Figures, pairs: int
) -> None:
    auth = await start_auth(guesses_account="1000000", guesses_address="1000000")
    await settle(auth, "ada@example.org")
    chance = await same_time(
        pairs,
        lambda: guess(auth, STRANGER, "ada@example.org"),
        lambda: guess(auth, STRANGER, "eve@example.org"),
    )
    figures.tell("sign-in, known or not: the times differ by chance", f"p = {chance:.2f}")


@pytest.mark.parametrize("pairs", [40, LONG])
async def test_a_refused_sign_in_takes_its_time_for_nobody_too(
    start_auth: StartAuth, pairs: int
) -> None:
    auth = await start_auth(guesses_account="1", guesses_wait_seconds="3600")
    await settle(auth, "ada@example.org")

    async def ask(email: str) -> Answered:
        answer = await guess(auth, STRANGER, email)
        if answer.status == 429:  # counting down
            answer = Answered(
                answer.status, {**answer.headers, "Retry-After": "n"}, answer.body, answer.json
            )
        return answer

    await ask("ada@example.org")
    await ask("eve@example.org")
    await same_time(pairs, lambda: ask("ada@example.org"), lambda: ask("eve@example.org"))


@pytest.mark.parametrize("pairs", [40, LONG])
async def test_a_forged_refresh_token_tells_nothing_of_its_session(
    start_auth: StartAuth, pairs: int
) -> None:
    """Of a session that lives or of none: whoever has no genuine token has none to compare."""
    auth = await start_auth()
    ada = await settle(auth, "ada@example.org")
    genuine = ada.json["refreshToken"]
    make = auth.service.context.resources.refresh_tokens.make
    nobodys = make(uuid4(), 0)
    assert (await auth.refresh(nobodys)).status == 401, "genuine, of no session"
    forged = genuine[:-6] + ("AAAAAA" if genuine[-6:] != "AAAAAA" else "BBBBBB")
    elsewhere = nobodys[:-6] + ("AAAAAA" if nobodys[-6:] != "AAAAAA" else "BBBBBB")
    await same_time(pairs, lambda: auth.refresh(forged), lambda: auth.refresh(elsewhere))
