"""A service by itself, told to stop: no gateway before it takes anything off its hands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from restock.kernel.service import Context
from tests.fixtures.tokens import token_for
from tests.kernel.conftest import MakeSample


class Gate:
    """What a request waits for in its middle."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.open.wait()


@asynccontextmanager
async def gate(_context: Context) -> AsyncIterator[Gate]:
    yield Gate()


async def is_closed(url: str) -> bool:
    place = urlsplit(url)
    try:
        _, writer = await asyncio.open_connection(place.hostname, place.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_what_is_in_flight_is_answered_and_nothing_more_comes_in(
    make_sample: MakeSample,
) -> None:
    notes = await make_sample(open=gate)
    asked = notes.ask("POST", "/api/notes:slow", token=token_for(), json={"text": "a"})
    asking = asyncio.create_task(asked)
    async with asyncio.timeout(20):
        await notes.context.resources.reached.wait()
        notes.context.stopping.set()
        while not await is_closed(notes.url):
            await asyncio.sleep(0.01)
        assert not asking.done()
        notes.context.resources.open.set()
        assert (await asking).status == 201
        await notes.task
    assert await notes.fetchval("SELECT count(*) FROM notes") == 1
