"""Whole systems for the journeys, each on a data directory and ports of its own."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.fixtures.whole_system import WholeSystem, free_offset

MakeSystem = Callable[..., Awaitable[WholeSystem]]

# a journey's one account makes more requests than a person does
NO_LIMITS = {
    "RESTOCK_GATEWAY_RATE_ADDRESS": "0",
    "RESTOCK_GATEWAY_RATE_ACCOUNT": "0",
    "RESTOCK_GATEWAY_RATE_LOGIN": "0",
}


@pytest_asyncio.fixture(loop_scope="session")
async def make_system(scratch: Path) -> AsyncIterator[MakeSystem]:
    """`await make_system(RESTOCK_…="…")`: started, without limits unless told; ended afterwards."""
    made: list[WholeSystem] = []

    async def make(**environ: Any) -> WholeSystem:
        offset = free_offset(system.offset for system in made)
        data_dir = scratch / f"system-{offset}-{len(made)}"
        system = WholeSystem(data_dir, offset=offset, environ=NO_LIMITS | environ)
        made.append(system)
        await system.start()
        return system

    yield make
    for system in made:
        pids = system.pids()
        try:
            await system.stop()
        finally:
            for pid in pids.values():
                if system.exists(pid):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(system.data_dir, ignore_errors=True)
