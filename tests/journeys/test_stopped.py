"""SIGTERM under load: what is in flight ends well, and nothing is left running."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from restock.engines.processes import alive
from tests.fixtures.ports import free_offset
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running, unused
from tests.journeys.conftest import MakeSystem
from tests.journeys.ledger_proof import urls_of

HANDS = 16


async def signed_up(session: aiohttp.ClientSession, url: str) -> dict[str, str]:
    account = {"email": "ada@example.com", "name": "Ada", "password": "correct horse battery"}
    async with session.post(f"{url}/api/auth/register", json=account) as answer:
        assert answer.status == 201
        return {"Authorization": f"Bearer {(await answer.json())['token']}"}


async def made_item(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> str:
    item = {
        "name": "Screws", "quantity": 1_000_000, "minThreshold": 1, "unit": "pcs",
        "category": "hardware",
    }  # fmt: skip
    async with session.post(f"{url}/api/inventory/items", json=item, headers=headers) as answer:
        assert answer.status == 201
        made: dict[str, str] = await answer.json()
        return made["id"]


async def take_until_gone(
    session: aiohttp.ClientSession, url: str, headers: dict[str, str], acknowledged: set[str]
) -> list[int]:
    """Take one after another until the system is gone; the statuses that were no 201."""
    odd = []
    while True:
        movement = {"delta": -1, "reason": "sale"}
        try:
            async with session.post(url, json=movement, headers=headers) as answer:
                body: Any = await answer.json()
                if answer.status == 201:
                    acknowledged.add(body["id"])
                else:
                    odd.append(answer.status)
        except aiohttp.ClientConnectorError:
            return odd
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            continue  # the connection was closed between two requests, or so the ledger will say


async def written(system: WholeSystem) -> set[str]:
    connection = await asyncpg.connect(urls_of(system.root)[0])
    rows = await connection.fetch("SELECT id FROM ledger WHERE seq > 1")
    await connection.close()
    return {str(row["id"]) for row in rows}


async def test_what_is_in_flight_is_answered(make_system: MakeSystem, scratch: Path) -> None:
    system = await make_system()
    acknowledged: set[str] = set()
    async with aiohttp.ClientSession() as session:
        headers = await signed_up(session, system.url)
        item = await made_item(session, system.url, headers)
        path = f"{system.url}/api/inventory/items/{item}/movements"
        hands = [
            asyncio.create_task(take_until_gone(session, path, headers, acknowledged))
            for _ in range(HANDS)
        ]
        async with asyncio.timeout(30):
            while len(acknowledged) < 500:
                await asyncio.sleep(0.01)
        system.note_processes()
        assert await system.stop() == 0
        odd = [status for statuses in await asyncio.gather(*hands) for status in statuses]
    assert odd == []
    assert [name for name, known in system.seen.items() if alive(known)] == []
    await system.start()
    assert await written(system) == acknowledged


def apart(scratch: Path) -> AbstractAsyncContextManager[WholeSystem]:
    offset = free_offset()
    return running(WholeSystem(unused(scratch, "apart"), offset, NO_LIMITS))


async def test_two_systems_work_side_by_side(scratch: Path) -> None:
    """And nothing is left of either, though one is killed."""
    async with apart(scratch) as mine, apart(scratch) as theirs:
        systems = [mine, theirs]
        await do_not_meet(systems)
        await theirs.kill("up")
    assert theirs.seen
    for system in systems:
        assert [name for name, known in system.seen.items() if alive(known)] == []
        assert not system.root.exists()


async def do_not_meet(systems: list[WholeSystem]) -> None:
    items = []
    async with aiohttp.ClientSession() as session:
        for system in systems:
            headers = await signed_up(session, system.url)
            items.append((await made_item(session, system.url, headers), headers))
        (mine, my_headers), (theirs, _) = items
        path = f"{systems[0].url}/api/inventory/items"
        async with session.get(f"{path}/{mine}", headers=my_headers) as answer:
            assert answer.status == 200
        async with session.get(f"{path}/{theirs}", headers=my_headers) as answer:
            assert answer.status == 404
        # a token of one system is worth nothing in the other
        path = f"{systems[1].url}/api/inventory/items"
        async with session.get(path, headers=my_headers) as answer:
            assert answer.status == 401
