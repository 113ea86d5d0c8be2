"""`kill -9` of any process while recorded sales run: it comes back, and nothing was lost."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import RESTOCK, clean_environment
from tests.cli.sales import expectation
from tests.fixtures.whole_system import WholeSystem
from tests.journeys.aftermath import proved
from tests.journeys.conftest import MakeSystem
from tests.journeys.recorded import invented_days, long_days

ALL = (
    "inventory",
    "auth",
    "notification",
    "vendor",
    "gateway",
    "envoy",
    "nats",
    "postgres",
    "up",
)


def lines_of(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


async def acknowledged(log: Path, count: int, replay: asyncio.subprocess.Process) -> None:
    """Wait until the client's log holds `count` movements, or the replay has ended."""
    while lines_of(log) < count and replay.returncode is None:
        await asyncio.sleep(0.05)


async def start_replay(
    system: WholeSystem, log: Path, files: list[Path]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *RESTOCK,
        "replay",
        *map(str, files),
        "--url",
        system.url,
        "--json",
        "--log",
        str(log),
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=(log.parent / f"{log.name}.err").open("wb"),
    )


async def kill_each_during(
    system: WholeSystem, log: Path, files: list[Path], victims: tuple[str, ...], every: int
) -> dict[str, Any]:
    """Replay, and kill the next victim after each `every` movements; the replay's summary."""
    replay = await start_replay(system, log, files)
    assert replay.stdout is not None
    try:
        for place, victim in enumerate(victims, start=1):
            await acknowledged(log, place * every, replay)
            assert replay.returncode is None, "the replay ended before the last kill"
            await system.kill(victim)
            if victim == "up":
                await system.start()
        output = await replay.stdout.read()
        assert await replay.wait() == 0, (log.parent / f"{log.name}.err").read_text()
    finally:
        if replay.returncode is None:
            replay.kill()
            await replay.wait()
    summary: dict[str, Any] = json.loads(output)
    return summary


async def survives(
    system: WholeSystem, log: Path, files: list[Path], victims: tuple[str, ...], every: int
) -> None:
    """All of it: the replay ends well, and the databases hold what plain Python expects."""
    summary = await kill_each_during(system, log, files, victims, every)
    expected = expectation([path.read_text(encoding="utf-8") for path in files])
    assert summary["proved"]
    assert summary["acknowledgedMissing"] == 0
    assert (summary["movements"], summary["refused"]) == (expected.moved, expected.refused)
    verdict = await proved(system, log)
    assert verdict.alerts == expected.alerts
    assert verdict.logged == expected.moved
    assert await system.stop() == 0


async def test_sales_survive_the_end_of_any_process(make_system: MakeSystem, scratch: Path) -> None:
    files = invented_days(scratch / "invented")
    victims = ("envoy", "up")
    await survives(await make_system(), scratch / "killed.log", files, victims, every=40)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_six_days_survive_the_end_of_every_process(
    make_system: MakeSystem, scratch: Path
) -> None:
    files = long_days(scratch / "invented")
    await survives(await make_system(), scratch / "killed-long.log", files, ALL, every=300)
