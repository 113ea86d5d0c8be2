"""The sample service, running."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest_asyncio

from restock.engines.postgres import PostgresEngine
from tests.fixtures.running import RunningService, running_service
from tests.kernel import sample

MakeSample = Callable[..., Awaitable[RunningService]]


@pytest_asyncio.fixture(loop_scope="session")
async def make_sample(postgres: PostgresEngine) -> AsyncIterator[MakeSample]:
    async with AsyncExitStack() as stack:

        async def make(*, nats: Any = None, pool_size: str = "10", **card: Any) -> RunningService:
            running = await stack.enter_async_context(
                running_service(sample.service(**card), postgres, nats=nats, pool_size=pool_size)
            )
            owner = await asyncpg.connect(
                postgres.owner_url("inventory", database=running.database_name)
            )
            await owner.execute(sample.TABLE)
            await owner.close()
            return running

        yield make


@pytest_asyncio.fixture(loop_scope="session")
async def notes(make_sample: MakeSample) -> RunningService:
    return await make_sample()
