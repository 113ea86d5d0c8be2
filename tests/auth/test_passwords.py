"""Passwords: right, wrong, and no more at once than there is room for."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from argon2 import Parameters, PasswordHasher, Type, extract_parameters

from restock.auth.faults import TooManySignIns
from restock.auth.hasher import PARAMETERS
from restock.auth.hashing import Hashing
from restock.auth.passwords import Passwords, hash_password
from tests.auth.held import Held

PASSWORD = "correct horse battery"
WEAKER = Parameters(
    type=Type.ID,
    version=19,
    salt_len=16,
    hash_len=32,
    time_cost=1,
    memory_cost=8 * 1024,
    parallelism=1,
)


@pytest_asyncio.fixture
async def passwords() -> AsyncIterator[Passwords]:
    async with Passwords(threads=2, queue=8) as opened:
        yield opened


def test_the_parameters_are_the_decided_ones() -> None:
    parameters = extract_parameters(hash_password(PASSWORD))
    assert parameters == PARAMETERS
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19456, 2, 1)


async def test_a_password_is_right_or_wrong(passwords: Passwords) -> None:
    stored = await passwords.hash(PASSWORD)
    assert stored != await passwords.hash(PASSWORD), "each hash has a salt of its own"
    assert (await passwords.check(stored, PASSWORD)).right
    assert not (await passwords.check(stored, PASSWORD + " ")).right
    assert not (await passwords.check(stored, PASSWORD.upper())).right


async def test_a_command_and_the_service_agree(passwords: Passwords) -> None:
    assert (await passwords.check(hash_password(PASSWORD), PASSWORD)).right


async def test_all_of_a_long_password_counts(passwords: Passwords) -> None:
    stored = await passwords.hash("x" * 127 + "a")
    assert not (await passwords.check(stored, "x" * 127 + "b")).right


async def test_the_same_letters_typed_on_another_keyboard_are_the_same(
    passwords: Passwords,
) -> None:
    stored = await passwords.hash("cafe\u0301 au lait")
    assert (await passwords.check(stored, "caf\u00e9 au lait")).right


async def test_without_an_account_nothing_is_right_and_the_same_work_is_done(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Parameters] = []
    verify = Hashing.verify

    async def spy(self: Hashing, stored: str, password: str) -> bool:
        seen.append(extract_parameters(stored))
        return await verify(self, stored, password)

    monkeypatch.setattr(Hashing, "verify", spy)
    stored = await passwords.hash(PASSWORD)
    assert not (await passwords.check(stored, "something else")).right
    assert not (await passwords.check(None, "something else")).right
    assert seen == [PARAMETERS, PARAMETERS]


async def test_a_hash_of_other_parameters_is_made_anew_when_the_password_is_right(
    passwords: Passwords,
) -> None:
    old = PasswordHasher.from_parameters(WEAKER).hash(PASSWORD)
    assert (await passwords.check(old, "something else")).rehashed is None
    checked = await passwords.check(old, PASSWORD)
    assert checked.right
    assert checked.rehashed is not None
    assert extract_parameters(checked.rehashed) == PARAMETERS
    again = await passwords.check(checked.rehashed, PASSWORD)
    assert again.right
    assert again.rehashed is None


async def test_a_hash_that_cannot_be_read_is_wrong(passwords: Passwords) -> None:
    assert not (await passwords.check("!disabled", PASSWORD)).right
    assert not (await passwords.check("$argon2id$v=19$broken", PASSWORD)).right


@pytest_asyncio.fixture
async def crowded() -> AsyncIterator[Passwords]:
    """For two at once, with room for three to wait."""
    async with Passwords(threads=2, queue=3) as pool:
        yield pool


async def test_beyond_the_queue_a_caller_is_refused_at_once(
    crowded: Passwords, hold: Callable[[], Held]
) -> None:
    held = hold()
    waiting = [asyncio.create_task(crowded.hash(PASSWORD)) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(TooManySignIns) as refused:
        await crowded.hash(PASSWORD)
    assert refused.value.status == 503
    assert int(refused.value.headers["Retry-After"]) >= 1
    held.gate.set()
    assert await asyncio.gather(*waiting) == ["hash"] * 5
    assert held.most <= 2, "no more at once than were asked for"
    assert await crowded.hash(PASSWORD) == "hash", "there is room again"


async def test_who_would_be_refused_is_told_before_anything_else(
    crowded: Passwords, hold: Callable[[], Held]
) -> None:
    held = hold()
    waiting = []
    for _ in range(5):
        crowded.require_room()
        waiting.append(asyncio.create_task(crowded.hash(PASSWORD)))
        await asyncio.sleep(0)
    with pytest.raises(TooManySignIns):
        crowded.require_room()
    held.gate.set()
    await asyncio.gather(*waiting)
    crowded.require_room()


async def test_those_refused_together_do_not_come_back_together(hold: Callable[[], Held]) -> None:
    async with Passwords(threads=1, queue=0) as pool:
        held = hold()
        waiting = asyncio.create_task(pool.hash(PASSWORD))
        await held.begun()
        told = set()
        for _ in range(200):
            with pytest.raises(TooManySignIns) as refused:
                await pool.hash(PASSWORD)
            told.add(int(refused.value.headers["Retry-After"]))
        held.gate.set()
        await waiting
    assert told == {2, 3, 4}


async def test_who_gives_up_waiting_makes_room(
    crowded: Passwords, hold: Callable[[], Held]
) -> None:
    held = hold()
    tasks = [asyncio.create_task(crowded.hash(PASSWORD)) for _ in range(5)]
    await held.begun()
    await held.begun()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # the two that are being worked on still count, the three that waited do not
    again = [asyncio.create_task(crowded.hash(PASSWORD)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TooManySignIns):
        await crowded.hash(PASSWORD)
    held.gate.set()
    assert await asyncio.gather(*again) == ["hash"] * 3
