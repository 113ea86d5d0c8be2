"""At the door of a whole system: what guessing costs a guesser, and what a flood of sign-ins costs
everybody else. A proxy of ours is said to stand in front, so that clients have addresses.
"""

import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio

from tests.cli.commands import clean_environment, free_offset
from tests.fixtures.figures import Figures
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running

PASSWORD = "correct horse battery"
HOME = "192.0.2.1"
QUEUE = 16
THREADS = 2
HASH_MIB = 19
# of the service's own memory: a few hundred requests under way
SLACK_MIB = 60
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
    started = running(WholeSystem(scratch / f"doors-{offset}", offset, settings))
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
    await house.system.kill("auth")
    await back(house)
    after = [await house.sign_in("198.18.1.99", email) for email in emails]
    assert [status for status, _ in before + after] == [429] * 4
    assert all(0 < late <= early for (_, early), (_, late) in zip(before, after, strict=True))
    assert (await house.sign_in(HOME, "ada@example.org"))[0] == 200, "the owner, where he is known"


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


async def phase(house: House, paths: list[str], seconds: float) -> float:
    """Read all of it again and again for so long; the 99th percentile in seconds."""
    found: list[float] = []
    ends = time.monotonic() + seconds

    async def reader(path: str) -> None:
        while time.monotonic() < ends:
            found.append(await house.read(path))
            await asyncio.sleep(REST_S)

    await asyncio.gather(*(reader(path) for path in paths * 2))
    return sorted(found)[int(len(found) * 0.99)]


def memory(house: House) -> float:
    """What auth holds, in MiB."""
    return float(psutil.Process(house.system.pids()["auth"]).memory_info().rss) / 2**20


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
    assert most - quiet < THREADS * HASH_MIB + SLACK_MIB
    assert reads > 0
    figures.tell("sign-in flood: auth's memory", f"{quiet:.0f} → at most {most:.0f} MiB")


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_flood_of_sign_ins_leaves_the_others_their_time(
    house: House, figures: Figures
) -> None:
    quiet: dict[str, list[float]] = {"others": [], "auth": []}
    busy: dict[str, list[float]] = {"others": [], "auth": []}
    paths = {"others": list(ELSEWHERE.values()), "auth": ["/api/auth/verify"]}
    for _ in range(6):
        for kind in paths:
            quiet[kind].append(await phase(house, paths[kind], 3))
            flood = await flooded(house, 200, seconds=5)
            await asyncio.sleep(1.5)  # the program has started, and all are in
            busy[kind].append(await phase(house, paths[kind], 3))
            await ended(flood)
    ratios = {
        kind: statistics.median(busy[kind]) / statistics.median(quiet[kind]) for kind in quiet
    }
    for kind, ratio in ratios.items():
        figures.tell(
            f"sign-in flood: p99 of {kind}",
            f"{statistics.median(quiet[kind]) * 1000:.0f} → "
            f"{statistics.median(busy[kind]) * 1000:.0f} ms, {ratio:.2f} ×",
        )
    assert ratios["others"] < 2
