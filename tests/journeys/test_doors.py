"""At the door of a whole system: what guessing costs a guesser, and what a flood of sign-ins costs
everybody else. A proxy of ours is said to stand in front, so that clients have addresses.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio

from restock.engines.processes import Mark, alive, mark
from tests.cli.commands import clean_environment
from tests.fixtures.figures import Figures
from tests.fixtures.ports import free_offset
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running, unused

PASSWORD = "correct horse battery"
HOME = "192.0.2.1"
QUEUE = 16
THREADS = 2
HASH_MIB = 19
# of the service's own memory: a few hundred requests under way
SLACK_MIB = 60
VERIFY = "/api/auth/verify"
ELSEWHERE = {
    "inventory": "/api/inventory/items",
    "vendor": "/api/vendors",
    "notification": "/api/notifications/unread-count",
}
REST_S = 0.02
BUSY = "503 auth.too_many_sign_ins"
WRONG = "401 auth.wrong_credentials"


@dataclass
class House:
    """A running system, a client, and the token of somebody who lives there."""

    system: WholeSystem
    session: aiohttp.ClientSession
    token: str = ""

    async def post(self, path: str, address: str, **body: Any) -> tuple[int, dict[str, Any], int]:
        """Status, body, and after how many seconds to come again."""
        headers = {"X-Forwarded-For": address}
        url = f"{self.system.url}/api/auth/{path}"
        async with self.session.post(url, json=body, headers=headers) as answer:
            told = await answer.json(content_type=None)
            return answer.status, told, int(answer.headers.get("Retry-After", 0))

    async def sign_in(self, address: str, email: str, password: str = PASSWORD) -> tuple[int, int]:
        status, _, wait = await self.post("login", address, email=email, password=password)
        return status, wait

    async def read(self, path: str) -> float:
        """Read something; the seconds it took."""
        headers = {"Authorization": f"Bearer {self.token}", "X-Forwarded-For": HOME}
        began = time.perf_counter()
        async with self.session.get(self.system.url + path, headers=headers) as answer:
            await answer.read()
            assert answer.status == 200
        return time.perf_counter() - began


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def house(scratch: Path) -> AsyncIterator[House]:
    offset = free_offset()
    settings = NO_LIMITS | {
        "RESTOCK_GATEWAY_TRUSTED_HOPS": "1",
        "RESTOCK_AUTH_PASSWORD_THREADS": str(THREADS),
        "RESTOCK_AUTH_PASSWORD_QUEUE": str(QUEUE),
        # whoever floods here guesses too, and shall be looked at each time
        "RESTOCK_AUTH_GUESSES_ADDRESS": "0",
        # longer than auth may take to come back
        "RESTOCK_AUTH_GUESSES_WAIT_SECONDS": "900",
    }
    started = running(WholeSystem(unused(scratch, "doors"), offset, settings))
    async with started as system, aiohttp.ClientSession() as session:
        house = House(system, session)
        _, told, _ = await house.post(
            "register", HOME, email="ada@example.org", name="Ada", password=PASSWORD
        )
        house.token = told["token"]
        yield house


async def back(house: House) -> None:
    """Wait until auth answers again."""
    async with asyncio.timeout(60):
        while (await house.sign_in(HOME, "ada@example.org"))[0] != 200:
            await asyncio.sleep(0.1)


async def test_what_was_guessed_is_remembered_by_a_killed_auth(house: House) -> None:
    emails = ("ada@example.org", "nobody@example.org")
    for number in range(10):
        for email in emails:
            assert (await house.sign_in(f"198.18.1.{number}", email, "a guess"))[0] == 401
    before = [await house.sign_in("198.18.1.99", email, "a guess") for email in emails]
    asked = asyncio.create_task(house.sign_in(HOME, "ada@example.org"))
    hashed = await at_work(house)
    await house.system.kill("auth")
    await all_gone(hashed)
    await asked
    await back(house)
    after = [await house.sign_in("198.18.1.99", email) for email in emails]
    assert [status for status, _ in before + after] == [429] * 4
    assert all(0 < late <= early for (_, early), (_, late) in zip(before, after, strict=True))
    assert (await house.sign_in(HOME, "ada@example.org"))[0] == 200, "the owner, where he is known"


async def test_sign_ins_in_hand_are_answered_whatever_ends(house: House) -> None:
    """What hashes is killed, then auth is told to stop: it lets those in hand finish."""
    for number, sign in ((None, signal.SIGKILL), (house.system.pids()["auth"], signal.SIGTERM)):
        people = [
            asyncio.create_task(house.sign_in(HOME, "ada@example.org")) for _ in range(THREADS + 8)
        ]
        hashed = await at_work(house)
        os.kill(number or hashed[0].pid, sign)
        answered = Counter(status for status, _ in await asyncio.gather(*people))
        assert answered[200] > 0
        # who came when nobody listened any more is told to come again
        assert set(answered) <= ({200} if number is None else {200, 503})
        await all_gone(hashed)
        await back(house)


async def flooded(house: House, people: int, seconds: float) -> asyncio.subprocess.Process:
    """So many people begin to sign in, for so long."""
    words = ("-m", "tests.journeys.flood", house.system.url, str(people), str(seconds))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        cwd=Path(__file__).parents[2],
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
    )


async def ended(flood: asyncio.subprocess.Process) -> Counter[str]:
    out, _ = await flood.communicate()
    assert flood.returncode == 0
    return Counter(json.loads(out))


async def phase(house: House, seconds: float) -> dict[str, list[float]]:
    """Read everything again and again for so long; the seconds each took, by whose route it was."""
    found: dict[str, list[float]] = {"auth": [], "others": []}
    ends = time.monotonic() + seconds

    async def reader(kind: str, path: str, begins_after: float) -> None:
        await asyncio.sleep(begins_after)
        while time.monotonic() < ends:
            found[kind].append(await house.read(path))
            await asyncio.sleep(REST_S)

    paths = {"auth": [VERIFY] * len(ELSEWHERE), "others": list(ELSEWHERE.values())}
    readers = [(kind, path) for kind in paths for path in paths[kind] * 2]
    apart = REST_S / len(readers)  # so that they aren't in each other's way
    await asyncio.gather(*(reader(*who, turn * apart) for turn, who in enumerate(readers)))
    return found


def memory(house: House) -> float:
    """What auth and the process that hashes for it hold, in MiB."""
    found = 0
    auth = psutil.Process(house.system.pids()["auth"])
    for process in (auth, *auth.children()):
        with suppress(psutil.NoSuchProcess):
            found += process.memory_info().rss
    return found / 2**20


def hashers(house: House) -> list[Mark]:
    """The processes that hash for auth."""
    auth = psutil.Process(house.system.pids()["auth"])
    return [known for child in auth.children() if (known := mark(child.pid))]


async def at_work(house: House) -> list[Mark]:
    """Wait until one has something to do."""
    before = {known: took(known) for known in hashers(house)}
    async with asyncio.timeout(60):
        while True:
            await asyncio.sleep(0.01)
            found = hashers(house)
            if any(took(known) > before.get(known, 0) for known in found):
                return found


def took(known: Mark) -> float:
    """The seconds of a processor that a process has taken."""
    with suppress(psutil.NoSuchProcess):
        return sum(psutil.Process(known.pid).cpu_times()[:2])
    return 0.0


async def all_gone(marks: list[Mark]) -> None:
    async with asyncio.timeout(60):
        while any(alive(known) for known in marks):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "people", [40, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
async def test_a_flood_of_sign_ins_is_bounded(house: House, people: int, figures: Figures) -> None:
    quiet = memory(house)
    flood = await flooded(house, people, seconds=2)
    most, reads = 0.0, 0
    while flood.returncode is None:
        for path in ("/api/auth/verify", *ELSEWHERE.values()):
            await house.read(path)
            reads += 1
        most = max(most, memory(house))
    answered = await ended(flood)
    assert set(answered) == {WRONG, BUSY}, "looked at, or told when to come again"
    assert answered[BUSY] > 0
    # a process that hashes, and the one it may be replaced by on a busy machine
    assert most - quiet < 2 * THREADS * HASH_MIB + SLACK_MIB
    assert reads > 0
    figures.tell("sign-in flood: auth's memory", f"{quiet:.0f} → at most {most:.0f} MiB")


def p99(taken: list[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.99)]


@pytest.mark.parametrize(
    ("windows", "seconds", "people", "most"),
    [
        (3, 1.0, 60, 4),  # few are measured, and others may be at work on this machine
        pytest.param(8, 3.0, 200, 2, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
async def test_a_flood_of_sign_ins_leaves_everybody_else_his_time(
    house: House, figures: Figures, windows: int, seconds: float, people: int, most: int
) -> None:
    quiet: dict[str, list[float]] = defaultdict(list)
    busy: dict[str, list[float]] = defaultdict(list)
    for _ in range(windows):  # in turns, since a machine is not the same all the time
        for kind, taken in (await phase(house, seconds)).items():
            quiet[kind] += taken
        flood = await flooded(house, people, seconds=seconds + 1)
        await asyncio.sleep(1.5)  # the program has started, and all are in
        for kind, taken in (await phase(house, seconds)).items():
            busy[kind] += taken
        answered = await ended(flood)
        assert answered[WRONG] > 0
        assert answered[BUSY] > 0
    for kind in quiet:
        before, during = p99(quiet[kind]), p99(busy[kind])
        figures.tell(
            f"sign-in flood: p99 of {kind}",
            f"{before * 1000:.1f} → {during * 1000:.1f} ms, {during / before:.2f} ×",
        )
        assert during / before < most, kind
