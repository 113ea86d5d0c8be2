"""Deploys under load: services replaced one after the other, tables changed while the program of
before still runs. Clients that repeat as documented see no failure, sockets miss nothing.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from restock.engines.local import environment_of
from restock.gateway.settings import SERVICE_PORTS
from restock.kernel import migrate as migrating
from restock.kernel import revision
from restock.kernel.migrate import migrate
from restock.kernel.revision import migrations_of, newest
from restock.notification.settings import SOCKET_PORT
from tests.cli.commands import RESTOCK, Up, clean_environment, ran
from tests.fixtures.figures import Figures
from tests.fixtures.ports import free_offset, free_port
from tests.fixtures.whole_system import NO_LIMITS, READY_S, WholeSystem, running
from tests.journeys.aftermath import all_as_told, ready, replaced
from tests.journeys.conftest import MakeSystem
from tests.journeys.hands import Crew, at_work, open_shops
from tests.journeys.listeners import listening

SERVICES = ("auth", "inventory", "vendor", "notification")
SECOND = 40  # added to a service's port: the place of its second process
ENDED_WITHIN_S = 60.0
ROUNDS = 3

# What a migration may do while programs that know nothing of it go on: here, to every table.
MORE_ROOM = """-- serves {serves}
CREATE TABLE more_room (number integer PRIMARY KEY);
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables
                WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'more_room')
    LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN more_room integer', name);
        EXECUTE format('CREATE INDEX ON %I (more_room)', name);
    END LOOP;
END $$;
"""


class Twice(WholeSystem):
    """A system of which every service runs in a second place too, as `restock run` makes it."""

    def __init__(self, root: Path, offset: int) -> None:
        super().__init__(root, offset, dict(NO_LIMITS))
        self.journals: list[Path] = []
        self.second: dict[str, asyncio.subprocess.Process] = {}
        for service, port in SERVICE_PORTS.items():
            self.settings[f"RESTOCK_GATEWAY_{service.upper()}_UPSTREAM"] = ",".join(
                f"127.0.0.1:{port + self.offset + more}" for more in (0, SECOND)
            )
        self.settings["RESTOCK_GATEWAY_SOCKET_UPSTREAM"] = ",".join(
            f"127.0.0.1:{SOCKET_PORT + self.offset + more}" for more in (0, SECOND + 1)
        )

    async def start(self) -> None:
        """Start both places of each service."""
        await Up.start(self)
        async with asyncio.timeout(READY_S):
            await self.said("services ready")  # so the tables are there
            for service in SERVICES:
                await self.begin(service)
            await self.ready()

    async def ready(self) -> None:
        """Wait for the line of `restock up`; fails with what a second process said if it ends."""
        ready = asyncio.create_task(super().ready())
        while not ready.done():
            for service, process in self.second.items():
                if process.returncode is not None:
                    ready.cancel()
                    raise AssertionError(self.journal(service).read_text())
            await asyncio.wait([ready], timeout=0.05)
        await ready

    def journal(self, service: str) -> Path:
        """What its second process writes."""
        return self.root / "logs" / f"second-{service}.log"

    async def stop(self) -> int:
        for service in tuple(self.second):
            await self.end(service)
        return await super().stop()

    async def begin(self, service: str) -> None:
        """Start its second process."""
        self.second[service] = await asyncio.create_subprocess_exec(
            *RESTOCK, "run", service,
            env=clean_environment(
                **self.settings,
                **environment_of(self.root, service),
                RESTOCK_PORT_OFFSET=str(self.offset + SECOND),
                RESTOCK_WORKER="1",
                RESTOCK_JWKS_URL=f"http://127.0.0.1:{3100 + self.offset}/.well-known/jwks.json",
                RESTOCK_INVENTORY_URL=f"http://127.0.0.1:{3101 + self.offset}",
            ),
            stdout=self.journal(service).open("ab"),
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

    async def end(self, service: str) -> int:
        """SIGTERM to its second process; its exit code."""
        process = self.second.pop(service)
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(ENDED_WITHIN_S):
            return await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def twice(scratch: Path) -> AsyncIterator[Twice]:
    async with running(Twice(scratch / "twice", free_offset())) as system:
        yield system


@asynccontextmanager
async def shift(system: Twice, name: str) -> AsyncIterator[Crew]:
    """Shops at work during the block; afterwards everything is as they were told."""
    journal = system.root.parent / f"{name}.journal"
    async with open_shops(system.url, journal, shops=2) as crew, listening(crew) as ears:
        async with at_work(crew, hands=2, seed=1):
            await crew.more(20)
            yield crew
            await crew.more(20)
        await all_as_told(system, crew, ears, journals=system.journals)
    system.journals.append(journal)


async def restart(system: Twice, service: str) -> None:
    """SIGTERM to the process of `restock up`, which starts another."""
    pid = system.pids()[service]
    os.kill(pid, signal.SIGTERM)
    await replaced(system, service, pid)
    await ready(system)


async def roll(system: Twice, service: str, crew: Crew) -> None:
    """Replace the process in one place, then that in the other."""
    await restart(system, service)
    await crew.more(10)
    assert await system.end(service) == 0
    await crew.more(10)
    await system.begin(service)
    await ready(system)


async def test_services_are_replaced_one_after_the_other(twice: Twice, figures: Figures) -> None:
    async with shift(twice, "rolling") as crew:
        for service in ("inventory", "notification"):
            await roll(twice, service, crew)
    figures.add("requests during rolling restarts, none failed", crew.requests)
    figures.add("of them sent again by clients", crew.repeated)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_all_of_it_is_replaced_again_and_again(twice: Twice, figures: Figures) -> None:
    async with shift(twice, "rolling-long") as crew:
        for _ in range(ROUNDS):
            for service in SERVICES:
                await roll(twice, service, crew)
            await restart(twice, "gateway")
            await crew.more(20)
        assert await twice.stop() == 0  # and all of it at once, as on one machine
        await twice.start()
    figures.add("requests during rolling restarts, none failed", crew.requests)
    figures.add("of them sent again by clients", crew.repeated)


async def test_tables_change_under_the_program_of_before(
    twice: Twice, figures: Figures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table gets a column and an index while in use; then the old program starts anew."""
    for service in SERVICES:
        shutil.copytree(migrations_of(service), tmp_path / service)
        text = MORE_ROOM.replace("{serves}", newest(service))
        (tmp_path / service / "9000_more_room.sql").write_text(text)
    async with shift(twice, "migrated") as crew:
        for service in SERVICES:
            url = environment_of(twice.root, service)[f"RESTOCK_{service.upper()}_MIGRATE_URL"]
            with monkeypatch.context() as newer:
                for module in (revision, migrating):
                    newer.setattr(module, "migrations_of", lambda name: tmp_path / name)
                assert await asyncio.to_thread(migrate, service, url) == ["9000_more_room"]
            await crew.more(40)
        await restart(twice, "vendor")  # the program of before, anew
    figures.add("requests while tables changed, none failed", crew.requests)


async def test_a_database_of_a_newer_program_is_refused(make_system: MakeSystem) -> None:
    """One that doesn't serve this program: the running service says so, none starts on it."""
    system = await make_system()
    environ = environment_of(system.root, "vendor")
    owner = await asyncpg.connect(environ["RESTOCK_VENDOR_MIGRATE_URL"])
    await owner.execute("UPDATE alembic_version SET version_num = '9001', serves = '9001'")
    await owner.close()
    words = "the database of vendor is newer than this program: it is at migration 9001"
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        port = SERVICE_PORTS["vendor"] + system.offset
        while True:
            async with session.get(f"http://127.0.0.1:{port}/health") as answer:
                if (await answer.json())["checks"]["database"] == "newer":
                    assert answer.status == 503
                    break
    alone = await ran("run", "vendor", **environ, RESTOCK_VENDOR_PORT=str(free_port()))
    assert alone.code == 1
    assert words in alone.err
    assert await system.stop() == 0
    await Up.start(system)
    assert await system.ended() == 1
    assert words in "".join(system.err)
