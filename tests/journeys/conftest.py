"""Whole systems for the journeys, each on a data directory and ports of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.fixtures.ports import free_offset
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running, unused

MakeSystem = Callable[..., Awaitable[WholeSystem]]


@pytest_asyncio.fixture(loop_scope="session")
async def make_system(scratch: Path) -> AsyncIterator[MakeSystem]:
    """`await make_system(RESTOCK_…="…")`: started, without limits unless told; ended afterwards."""
    async with AsyncExitStack() as stack:

        async def make(**environ: Any) -> WholeSystem:
            offset = free_offset()
            system = WholeSystem(unused(scratch, "system"), offset, NO_LIMITS | environ)
            return await stack.enter_async_context(running(system))

        yield make
