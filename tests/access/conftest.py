"""One stage for all of these tests; each uses up what it asks for and makes it anew."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.access.stage import Stage, open_stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(postgres) -> AsyncIterator[Stage]:
    async with open_stage(postgres) as opened:
        yield opened
