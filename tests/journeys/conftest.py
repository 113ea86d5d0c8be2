"""Whole systems for the journeys, each on a data directory and ports of its own."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.cli.commands import free_offset
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem

MakeSystem = Callable[..., Awaitable[WholeSystem]]


@pytest_asyncio.fixture(loop_scope="session")
async def make_system(scratch: Path) -> AsyncIterator[MakeSystem]:
    """`await make_system(RESTOCK_…="…")`: started, without limits unless told; ended afterwards."""
    made: list[WholeSystem] = []

    async def make(**environ: Any) -> WholeSystem:
        offset = free_offset()
        system = WholeSystem(scratch / f"system-{offset}", offset, NO_LIMITS | environ)
        made.append(system)
        await system.start()
        return system

    yield make
    for system in made:
        await system.stop()
        shutil.rmtree(system.root, ignore_errors=True)
