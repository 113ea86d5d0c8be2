"""The disk of a whole system is full, again and again; its short form is in test_engines_away."""

from pathlib import Path

import asyncpg
import pytest

from tests.fixtures.figures import Figures
from tests.fixtures.ports import free_offset
from tests.fixtures.small_disk import SmallDisk, small_disk, use_up_the_log
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running
from tests.journeys.aftermath import proved
from tests.journeys.ledger_proof import urls_of
from tests.journeys.traffic import MOVED, READS, Traffic, traffic

MEGABYTES = 300
PLAIN, WITHOUT_LOG = "data", "log"  # what finds no room


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_stock_is_right_after_a_full_disk(scratch: Path, figures: Figures) -> None:
    with small_disk(scratch / "whole-disk", MEGABYTES) as disk:
        disk.required()
        fresh = WholeSystem(disk.path / "data", free_offset(), NO_LIMITS)
        async with running(fresh) as system, traffic(system.url) as clients:
            async with clients.at_work():
                for what in (PLAIN, WITHOUT_LOG, PLAIN, WITHOUT_LOG):
                    await fill_up(disk, system, clients, what)
            assert all(said.is_proper for said in clients.said), clients.counted()
            assert (await proved(system)).wrong == []
            connection = await asyncpg.connect(urls_of(system.root)[0])
            held = {str(row["id"]) for row in await connection.fetch("SELECT id FROM ledger")}
            await connection.close()
            assert clients.acknowledged <= held
    refused = sum(said.status == 503 for said in clients.since(0, MOVED))
    figures.add("writes refused on a full disk", refused)


async def fill_up(disk: SmallDisk, system: WholeSystem, clients: Traffic, what: str) -> None:
    """No room, until many were refused, and room again."""
    await clients.more(MOVED, 201, 50)
    disk.fill()
    await clients.more(MOVED, 503, 10)
    place = len(clients.said)
    if what is WITHOUT_LOG:
        await use_up_the_log(urls_of(system.root)[0])
        disk.fill()
    await clients.more(MOVED, 503, 100, seconds=120)
    if what is PLAIN:
        for kind in READS:
            assert {said.status for said in clients.since(place, kind)} == {200}
    disk.give_room()
    await clients.more(MOVED, 201, 50, seconds=120)
