"""Guessing passwords: an account's, many accounts', at once; and the owner, who still gets in."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from restock.auth import SERVICE
from restock.auth.guesses import Guesses, GuessLimits, network_of
from tests.auth.conftest import PASSWORD, Auth, StartAuth
from tests.auth.guessing import (
    ACCOUNT_MOST,
    ADDRESS_MOST,
    HOME,
    STRANGER,
    WRONG,
    Hashing,
    age,
    counted,
    guess,
    refused,
    settle,
    settle_many,
    sign_in,
    statuses,
    wait_over,
)
from tests.fixtures.figures import Figures
from tests.fixtures.running import Answered

LONG = [pytest.mark.long, pytest.mark.timeout(900)]


def told(answer: Answered) -> tuple[Any, ...]:
    """All that a refusal tells, but for the request's own id and how long is left."""
    problem = {name: value for name, value in answer.json.items() if name != "requestId"}
    own = {"x-request-id", "retry-after"}
    headers = {n.lower(): v for n, v in answer.headers.items() if n.lower() not in own}
    return answer.status, problem, headers, "Retry-After" in answer.headers


@pytest.mark.parametrize(
    ("guesses", "wait"), [(40, 60), pytest.param(1000, 900, marks=LONG)], ids=["40", "1000"]
)
async def test_one_account_guessed_at_from_everywhere(
    start_auth: StartAuth,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
    guesses: int,
    wait: int,
) -> None:
    """`wait` is in seconds, and longer than all of it takes."""
    auth = await start_auth(guesses_wait_seconds=str(wait))
    await settle(auth, "ada@example.org")
    hashing = Hashing()
    with hashing.watched(monkeypatch):
        for number in range(guesses):
            where = f"198.18.{number // 250}.{number % 250}"
            known = await guess(auth, where, "Ada@Example.org" if number % 2 else "ada@example.org")
            unknown = await guess(auth, where, "nobody@example.org")
            assert told(known) == told(unknown), "nobody learns whether there is an account"
            assert known.status == (401 if number < ACCOUNT_MOST else 429)
            if number >= ACCOUNT_MOST:
                assert 0 < refused(known) <= wait
                assert 0 < refused(unknown) <= wait
        assert refused(await sign_in(auth, STRANGER)) > 0, "not even the right one"
    assert hashing.looked_at == 2 * ACCOUNT_MOST
    figures.add("guesses refused", 2 * (guesses - ACCOUNT_MOST))


@pytest.mark.parametrize("accounts", [60, pytest.param(1000, marks=LONG)])
async def test_many_accounts_guessed_at_from_one_address(
    auth: Auth, monkeypatch: pytest.MonkeyPatch, figures: Figures, accounts: int
) -> None:
    emails = await settle_many(auth, accounts)
    hashing = Hashing()
    with hashing.watched(monkeypatch):
        found = [(await guess(auth, STRANGER, email)).status for email in emails]
    assert found == [401] * ADDRESS_MOST + [429] * (accounts - ADDRESS_MOST)
    assert hashing.looked_at == ADDRESS_MOST
    assert refused(await sign_in(auth, STRANGER, emails[-1])) > 0
    assert (await sign_in(auth, "203.0.113.67", emails[-1])).status == 200, "others sign in"
    assert (await sign_in(auth, HOME, "first@example.org")).status == 200
    assert len(await counted(auth)) == ADDRESS_MOST + 1, "who is refused adds no rows"
    figures.add("guesses refused", accounts - ADDRESS_MOST)


async def test_an_ipv6_network_is_one_address(start_auth: StartAuth) -> None:
    auth = await start_auth(guesses_address="3")
    found = [
        (await guess(auth, f"2001:db8:1:2::{number:x}", f"{number}@example.org")).status
        for number in range(5)
    ]
    assert found == [401] * 3 + [429] * 2
    assert (await guess(auth, "2001:db8:1:3::1", "other@example.org")).status == 401


def test_whose_address_it_is() -> None:
    for address, network in [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unknown", "unknown"),
    ]:
        assert network_of(address) == network


async def test_the_wait_doubles_with_each_further_guess(auth: Auth) -> None:
    await settle(auth, "ada@example.org")
    for email in ("ada@example.org", "nobody@example.org"):
        assert await statuses(auth, ACCOUNT_MOST, STRANGER, email) == [401] * ACCOUNT_MOST
        for seconds in (60, 120, 240, 480, 900, 900):
            left = refused(await guess(auth, STRANGER, email))
            assert seconds / 2 < left <= seconds
            await wait_over(auth)
            assert (await guess(auth, STRANGER, email)).status == 401, "one after each wait"


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
async def test_of_guesses_at_once_no_more_are_answered(auth: Auth, email: str) -> None:
    await settle(auth, "ada@example.org")
    found = await asyncio.gather(
        *(guess(auth, f"198.18.0.{number}", email) for number in range(1, 41))
    )
    assert Counter(answer.status for answer in found) == {401: ACCOUNT_MOST, 429: 30}
    assert all(refused(answer) > 0 for answer in found if answer.status == 429)
    assert (await counted(auth))[-1] == ACCOUNT_MOST


async def test_of_an_address_guessing_at_once_no_more_are_answered(start_auth: StartAuth) -> None:
    auth = await start_auth(guesses_address="6")
    found = await asyncio.gather(
        *(guess(auth, STRANGER, f"{number}@example.org") for number in range(30))
    )
    assert Counter(answer.status for answer in found) == {401: 6, 429: 24}
    assert await counted(auth) == [1] * 6 + [6], "what wasn't answered wasn't counted"


async def test_the_right_one_among_guesses_at_once_comes_too_late(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(auth, "ada@example.org")
    hashing = Hashing()
    with hashing.watched(monkeypatch):
        hashing.gate.clear()
        right = asyncio.create_task(sign_in(auth, "198.18.0.1"))
        await asyncio.wait_for(hashing.held.wait(), 30)
        assert await statuses(auth, ACCOUNT_MOST, STRANGER) == [401] * ACCOUNT_MOST
        hashing.gate.set()
        assert refused(await right) > 0
    assert await auth.service.fetchval("SELECT count(*) FROM sessions") == 1


async def test_right_ones_at_once_are_never_refused(auth: Auth) -> None:
    await settle(auth, "ada@example.org")
    for address in (HOME, STRANGER):
        found = await asyncio.gather(*(sign_in(auth, address) for _ in range(30)))
        assert {answer.status for answer in found} == {200}
    assert await counted(auth) == []


async def test_the_owner_gets_in_where_he_is_known(auth: Auth) -> None:
    ada = await settle(auth, "ada@example.org")
    await statuses(auth, ACCOUNT_MOST + 5, STRANGER)
    assert (await sign_in(auth, "198.51.100.9")).status == 429, "a place nobody knows"
    assert (await sign_in(auth, HOME)).status == 200
    refreshed = await auth.refresh(ada.json["refreshToken"], **{"X-Forwarded-For": "198.51.100.9"})
    assert refreshed.status == 200, "a live session is untouched"
    assert (await sign_in(auth, "198.51.100.9")).status == 200, "known by its session"
    assert (await guess(auth, STRANGER)).status == 429, "and a stranger has gained nothing"


async def test_a_place_stays_known_after_the_logout(auth: Auth) -> None:
    ada = await settle(auth, "ada@example.org", home="2001:db8:1:2::a")
    await auth.ask("POST", "/api/auth/logout-all", token=ada.json["token"])
    await statuses(auth, ACCOUNT_MOST, STRANGER)
    assert (await sign_in(auth, "2001:db8:1:2::b")).status == 200
    assert (await sign_in(auth, "2001:db8:1:3::a")).status == 429


async def test_a_place_is_known_for_its_own_account_only(auth: Auth) -> None:
    await settle(auth, "ada@example.org")
    await settle(auth, "bob@example.org", home=STRANGER)
    assert await statuses(auth, ACCOUNT_MOST + 2, STRANGER) == [401] * ACCOUNT_MOST + [429] * 2
    assert (await sign_in(auth, STRANGER, "bob@example.org")).status == 200


async def test_guesses_at_a_known_place_end_too(auth: Auth) -> None:
    await settle(auth, "ada@example.org")
    assert await statuses(auth, ACCOUNT_MOST + 3, HOME) == [401] * ACCOUNT_MOST + [429] * 3
    assert (await sign_in(auth, HOME)).status == 429
    assert (await sign_in(auth, "198.51.100.9")).status == 200, "elsewhere nobody has guessed"


async def test_the_right_password_clears_the_typing_errors_of_its_place(auth: Auth) -> None:
    await settle(auth, "ada@example.org")
    for _ in range(2):
        assert await statuses(auth, ACCOUNT_MOST - 1, HOME) == [401] * (ACCOUNT_MOST - 1)
        assert (await sign_in(auth, HOME)).status == 200


async def test_a_right_password_clears_no_counter_of_strangers(start_auth: StartAuth) -> None:
    """Neither the owner's own nor that of an account of the guesser's."""
    auth = await start_auth(guesses_account="4", guesses_address="9")
    await settle(auth, "ada@example.org")
    await settle(auth, "eve@example.org", home="198.51.100.9")
    for number in range(4):
        assert (await guess(auth, STRANGER)).status == 401
        assert (await sign_in(auth, STRANGER, "eve@example.org")).status == 200
        assert (await sign_in(auth, HOME)).status == 200
        assert await counted(auth) == [number + 1] * 2
    assert (await guess(auth, "198.51.100.10")).status == 429
    for number in range(9 - 4):
        assert (await guess(auth, STRANGER, f"{number}@example.org")).status == 401
        assert (await sign_in(auth, STRANGER, "eve@example.org")).status == 200
    assert (await guess(auth, STRANGER, "next@example.org")).status == 429


async def forget(auth: Auth) -> list[int]:
    """One round of the service's housekeeping, with the service's own rights."""
    forgotten = []
    for purge in SERVICE.purges:
        async with auth.service.context.database.tx(single=True) as tx:
            forgotten.append(await purge(tx))
    return forgotten


async def test_failures_are_forgotten_after_a_day(auth: Auth) -> None:
    await settle(auth, "ada@example.org")
    await statuses(auth, ACCOUNT_MOST, STRANGER)
    await age(auth, "sign_in_failures", "failed_at", 0.9)
    await guess(auth, "198.18.0.1", "nobody@example.org")
    assert await forget(auth) == [0, 0, 0]
    await age(auth, "sign_in_failures", "failed_at", 0.2)
    assert await forget(auth) == [0, 2, 0]
    assert await counted(auth) == [1, 1], "what was added to since stays"
    assert (await guess(auth, STRANGER)).status == 401


async def test_a_counter_that_was_still_for_a_day_counts_no_more(auth: Auth) -> None:
    """Also where no housekeeping came by to forget it."""
    await settle(auth, "ada@example.org")
    for _ in range(2):
        assert await statuses(auth, ACCOUNT_MOST + 1, STRANGER) == [401] * ACCOUNT_MOST + [429]
        await wait_over(auth)
        await age(auth, "sign_in_failures", "failed_at", 1.1)
    assert await counted(auth) == [ACCOUNT_MOST] * 2


async def test_a_clock_that_jumped_once_refuses_for_no_longer(auth: Auth) -> None:
    """What was written under PostgreSQL's clock of another year is over when it is right again."""
    await settle(auth, "ada@example.org")
    for place in (STRANGER, HOME):
        await statuses(auth, ACCOUNT_MOST, place)
    assert refused(await guess(auth, STRANGER)) > 0
    for column in ("failed_at", "refused_until"):
        await age(auth, "sign_in_failures", column, -400)
    assert (await sign_in(auth, HOME)).status == 200
    assert (await guess(auth, STRANGER)).status == 401
    assert refused(await guess(auth, STRANGER)) <= 120, "counted on, by the clock that is right"


async def test_who_stays_where_he_is_is_known_there(auth: Auth) -> None:
    """Whoever signed in before places were noted, or whose session outlasts what is kept."""
    ada = await settle(auth, "ada@example.org")
    await auth.owner.execute("DELETE FROM known_places")
    at_home = {"X-Forwarded-For": HOME}
    refreshed = await auth.refresh(ada.json["refreshToken"], **at_home)
    await statuses(auth, ACCOUNT_MOST, STRANGER)
    assert (await sign_in(auth, HOME)).status == 200
    await age(auth, "known_places", "seen_at", 121)
    assert (await auth.refresh(refreshed.json["refreshToken"], **at_home)).status == 200
    assert await forget(auth) == [0, 0, 0]
    assert (await sign_in(auth, HOME)).status == 200


async def test_places_are_forgotten_after_their_sessions(auth: Auth) -> None:
    await settle(auth, "ada@example.org")
    await age(auth, "known_places", "seen_at", 119)
    assert (await sign_in(auth, HOME)).status == 200
    await age(auth, "known_places", "seen_at", 119)
    assert await forget(auth) == [0, 0, 0], "each sign-in renews it"
    await age(auth, "known_places", "seen_at", 2)
    assert await forget(auth) == [0, 0, 1]


async def test_what_strangers_type_is_not_kept(auth: Auth) -> None:
    await settle(auth, "ada@example.org")
    await guess(auth, STRANGER, "my real password")
    rows = await auth.service.fetch("SELECT * FROM sign_in_failures")
    rows += await auth.service.fetch("SELECT * FROM known_places")
    secret = await auth.owner.fetchval("SELECT value FROM secrets WHERE name = 'sign_in_failures'")
    limits = GuessLimits(0, 0, timedelta(0), timedelta(0))
    ours = Guesses(secret, limits).of("My Real Password", STRANGER)
    others = Guesses(b"another secret", limits).of("my real password", STRANGER)
    keys = {row["key"] for row in rows}
    assert {ours.email, ours.address} < keys, "hashes, the same for any letter case"
    assert not keys & {others.email, others.address}, "that nobody makes without the secret"
    assert {type(value) for row in rows for value in row.values()} - {type(None)} == {
        bytes, int, type(rows[0]["failed_at"])
    }  # fmt: skip


async def test_an_operator_may_switch_it_off(start_auth: StartAuth) -> None:
    auth = await start_auth(guesses_account="0", guesses_address="0")
    await settle(auth, "ada@example.org")
    assert await statuses(auth, 12, STRANGER) == [401] * 12
    assert await counted(auth) == []


async def test_refused_sign_ins_are_measured(auth: Auth) -> None:
    async def count(outcome: str) -> float:
        metrics = (await auth.ask("GET", "/metrics")).body.decode()
        name = f'restock_auth_sign_ins_total{{outcome="{outcome}"}} '
        return next(
            (float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(name)), 0.0
        )

    await settle(auth, "ada@example.org")
    before = {outcome: await count(outcome) for outcome in ("right", "wrong", "refused")}
    await statuses(auth, ACCOUNT_MOST + 2, STRANGER)
    await sign_in(auth, HOME, password=PASSWORD)
    await sign_in(auth, HOME, password=WRONG)
    after = {outcome: await count(outcome) - before[outcome] for outcome in before}
    assert after == {"right": 1, "wrong": ACCOUNT_MOST + 1, "refused": 2}
