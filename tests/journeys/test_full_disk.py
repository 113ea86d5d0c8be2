"""The disk of a whole system is full, again and again; its short form is in test_engines_away."""

from pathlib import Path

import asyncpg
import pytest

from tests.cli.commands import free_offset
from tests.fixtures.figures import Figures
from tests.fixtures.small_disk import small_disk, use_up_the_log
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem
from tests.journeys.ledger_proof import urls_of
from tests.journeys.traffic import MOVED, READS, proved, traffic

MEGABYTES = 300
PLAIN, WITHOUT_LOG = "data", "log"  # what finds no room


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_stock_is_right_after_a_full_disk(scratch: Path, figures: Figures) -> None:
    with small_disk(scratch / "whole-disk", MEGABYTES) as disk:
        if not disk.mounted:
            figures.tell("a full disk", "not tried, since this user may not mount a file system")
            return
        system = WholeSystem(disk.path / "data", free_offset(), NO_LIMITS)
        await system.start()
        async with traffic(system.url) as clients, clients.at_work():
            for what in (PLAIN, WITHOUT_LOG, PLAIN, WITHOUT_LOG):
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
            assert all(said.is_proper for said in clients.said), clients.counted()
        assert (await proved(system)).wrong == []
        connection = await asyncpg.connect(urls_of(system.root)[0])
        held = {str(row["id"]) for row in await connection.fetch("SELECT id FROM ledger")}
        await connection.close()
        assert clients.acknowledged <= held
        assert await system.stop() == 0
    refused = sum(said.status == 503 for said in clients.since(0, MOVED))
    figures.add("writes refused on a full disk", refused)
