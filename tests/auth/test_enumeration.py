"""Who has an account: nothing an answer says, and not the time it takes, tells a stranger."""

import random
import time
from bisect import bisect
from collections.abc import Awaitable, Callable
from math import comb
from typing import Any
from uuid import uuid4

import pytest

from restock.auth import hashing
from tests.auth.conftest import StartAuth
from tests.auth.guessing import STRANGER, guess, settle
from tests.fixtures.figures import Figures
from tests.fixtures.running import Answered

# How often a test may say that there is a difference where there is none.
FALSE_ALARM = 1e-4

Ask = Callable[[], Awaitable[Answered]]


def asked(short: int, long: int) -> Any:
    """How often the two are asked, in either form of a test."""
    marks = [pytest.mark.long, pytest.mark.timeout(300)]
    return pytest.mark.parametrize("pairs", [short, pytest.param(long, marks=marks)])


def told(answer: Answered) -> tuple[Any, ...]:
    """All that an answer tells, but for the request's own id."""
    body = answer.body.replace(answer.json["requestId"].encode(), b"")
    headers = {n.lower(): v for n, v in answer.headers.items() if n.lower() != "x-request-id"}
    return answer.status, body, headers


def by_chance(slower: int, pairs: int) -> float:
    """The probability of a split so uneven if there is no difference (sign test, two-sided).

    Of each pair a coin says which is asked first. So if there is no difference another coin says
    which takes longer, however busy the machine is: the probability is exact.
    """
    rarer = min(slower, pairs - slower)
    return min(1.0, 2 * sum(comb(pairs, k) for k in range(rarer + 1)) / 2**pairs)


def seen(per_mille: int, pairs: int) -> float:
    """The probability that a difference is found, if one takes longer in so many of 1,000 pairs."""
    chances = range(pairs // 2)
    even = bisect(chances, FALSE_ALARM, key=lambda slower: by_chance(slower, pairs))
    uneven = [*range(even), *range(pairs - even + 1, pairs + 1)]
    ways = sum(comb(pairs, k) * per_mille**k * (1000 - per_mille) ** (pairs - k) for k in uneven)
    return ways / 1000**pairs


async def same_time(pairs: int, first: Ask, second: Ask) -> str:
    """Ask the two in turns, in either order: which takes longer is no more than chance.

    Nothing is asked again: what is seen once is a difference.
    """
    slower = 0
    for _ in range(pairs):
        answers, taken = {}, {}
        for ask in random.sample([first, second], 2):
            began = time.perf_counter()
            answers[ask] = await ask()
            taken[ask] = time.perf_counter() - began
        assert told(answers[first]) == told(answers[second])
        slower += taken[first] > taken[second]
    chance = by_chance(slower, pairs)
    found = f"one longer in {slower} of {pairs} pairs (by chance: p = {chance:.2g})"
    assert chance >= FALSE_ALARM, found
    return found


def test_what_the_sign_test_surely_sees() -> None:
    """A difference of so many pairs, in 999 of 1,000 runs; none where there is none.

    Two thirds of all pairs is a difference of 0.6 standard deviations of one answer's time; a
    hash that is left out is each pair.
    """
    for number, per_mille in [(40, 960), (500, 660), (1000, 620)]:
        assert seen(per_mille, number) > 0.999
        assert seen(500, number) < FALSE_ALARM
    assert by_chance(5, 10) == 1
    assert by_chance(0, 10) == 2 / 2**10


@asked(40, 500)
async def test_a_sign_in_takes_its_time_for_nobody_too(
    start_auth: StartAuth, figures: Figures, monkeypatch: pytest.MonkeyPatch, pairs: int
) -> None:
    # whatever else runs here shall not be waited for
    monkeypatch.setattr(hashing, "LAST", hashing.Place(niceness=0, idle=False, patience_s=10))
    auth = await start_auth(guesses_account="1000000", guesses_address="1000000")
    await settle(auth, "ada@example.org")
    found = await same_time(
        pairs,
        lambda: guess(auth, STRANGER, "ada@example.org"),
        lambda: guess(auth, STRANGER, "eve@example.org"),
    )
    figures.tell("sign-in, known or not", found)


@asked(40, 1000)
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


@asked(40, 1000)
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
