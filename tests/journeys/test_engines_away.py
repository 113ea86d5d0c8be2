"""An engine of a running system stops, or hangs: what goes on, what says 503, and how it heals.

NATS and the PostgreSQL of one service (vendor) are the test's own, on a small disk of their own, so
that they can be away for as long as it takes. In the long form the gateway waits as long as it does
by default.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import psutil
import pytest
import pytest_asyncio

from restock.client import Gateway
from restock.engines.datadir import DataDir
from restock.engines.names import SERVICES
from restock.engines.nats import NatsEngine
from restock.engines.postgres import PostgresEngine
from tests.fixtures.figures import Figures
from tests.fixtures.ports import free_offset, free_port
from tests.fixtures.small_disk import (
    SmallDisk,
    begin_a_file_of_the_log,
    small_disk,
    use_up_the_log,
)
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running, unused
from tests.journeys.aftermath import proved
from tests.journeys.traffic import MOVED, READS, REST_S, Traffic, traffic

OTHERS = [kind for kind in (MOVED, *READS) if kind != "vendor"]
DISK_MB = 250
SLACK_S = 2.0  # what a busy machine may add to a timeout


@dataclass(frozen=True)
class Form:
    """`away_s` is how long an engine is away; the others are the gateway's timeouts."""

    away_s: float
    read_s: int
    write_s: int

    def patience_s(self, kind: str) -> float:
        """What a request of this kind may take, seen by its client."""
        return (self.write_s if kind in (MOVED, "register") else self.read_s) + SLACK_S


LONG_TOO = [
    pytest.param(name, marks=pytest.mark.long) for name in ("vendor", "auth", "notification")
]
SHORT = Form(away_s=3, read_s=3, write_s=4)
LONG = Form(away_s=30, read_s=10, write_s=20)


@dataclass
class Apart:
    """A whole system, and its engines that are ours."""

    form: Form
    system: WholeSystem
    nats: NatsEngine
    postgres: PostgresEngine
    disk: SmallDisk

    async def health(self) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.system.url}/health") as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found

    async def is_said(self, status: str, seconds: float) -> None:
        """Wait until the gateway says so of the whole."""
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(seconds):
                while found.get("status") != status:
                    await asyncio.sleep(0.1)
                    found = await self.health()
        except TimeoutError:
            pytest.fail(f"not {status} after {seconds} s: {found}")


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="session",
    params=[
        pytest.param(SHORT, id="short"),
        pytest.param(LONG, id="long", marks=[pytest.mark.long, pytest.mark.timeout(300)]),
    ],
)
async def apart(request: pytest.FixtureRequest, scratch: Path) -> AsyncIterator[Apart]:
    form: Form = request.param
    offset = free_offset()
    async with AsyncExitStack() as stack:
        disk = stack.enter_context(small_disk(unused(scratch, "apart"), DISK_MB))
        directory = DataDir.claim(disk.path / "data")
        stack.callback(directory.release)
        nats = NatsEngine(directory, port=free_port())
        postgres = PostgresEngine(directory)
        for engine in (nats, postgres):
            await engine.start()
            stack.push_async_callback(engine.stop)
        environ = NO_LIMITS | nats.operator_env() | postgres.env_for("vendor")
        for service in SERVICES:
            environ |= nats.env_for(service)
        environ |= {
            "RESTOCK_GATEWAY_READ_TIMEOUT": str(form.read_s),
            "RESTOCK_GATEWAY_WRITE_TIMEOUT": str(form.write_s),
        }
        system = WholeSystem(unused(scratch, "around"), offset, environ)
        await stack.enter_async_context(running(system))
        yield Apart(form, system, nats, postgres, disk)


@contextmanager
def hanging(*pids: int) -> Iterator[None]:
    """The processes stand still during the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def stopped(engine: NatsEngine | PostgresEngine) -> AsyncIterator[None]:
    await engine.stop()
    try:
        yield
    finally:
        await engine.start()


def untouched(clients: Traffic, place: int) -> None:
    """Nobody but vendor's clients has noticed anything."""
    for kind in OTHERS:
        assert {said.status for said in clients.since(place, kind)} <= {200, 201}, kind


async def test_without_nats_stock_moves_on_and_alerts_come_afterwards(
    apart: Apart, figures: Figures
) -> None:
    async with Gateway(apart.system.url) as gateway, traffic(apart.system.url) as clients:
        await gateway.auth.register(email="f@example.org", name="F", password="ten letters")
        item = await gateway.inventory.create_item(name="Tea", quantity=2, min_threshold=1)
        async with gateway.feed() as feed, clients.at_work():
            await clients.more(MOVED, 201, 5)
            async with stopped(apart.nats):
                place = len(clients.said)
                await apart.is_said("degraded", 30)
                await gateway.inventory.add_movement(item.id, -1, "moved")
                await asyncio.sleep(apart.form.away_s)  # being away that long is what is tried
                await clients.more(MOVED, 201, 5)
                moved = clients.since(place, MOVED)
            assert (await feed.next_of("new_notification")).data["type"] == "low_stock"
            await apart.is_said("ready", 60)
            await clients.more(MOVED, 201, 5)
        assert {said.status for said in clients.said} == {200, 201}, clients.counted()
        assert (await proved(apart.system)).alerts.total() >= len(moved) > 0
    figures.add("stock changes while NATS was away", len(moved))


async def test_with_the_database_of_one_service_stopped_the_others_go_on(
    apart: Apart, figures: Figures
) -> None:
    async with traffic(apart.system.url) as clients, clients.at_work():
        await clients.more("vendor", 200, 3)
        async with stopped(apart.postgres):
            await clients.more("vendor", 503, 1)
            place = len(clients.said)
            await apart.is_said("unready", 30)
            await clients.more("vendor", 503, 5)
            await clients.more(MOVED, 201, 20)
            refused = clients.since(place, "vendor")
            assert {said.status for said in refused} == {503}
            assert {said.code for said in refused} == {"database.unavailable"}
            slowest = max(said.seconds for said in refused)
            assert slowest < apart.form.patience_s("vendor")
        await clients.more("vendor", 200, 3)
        await apart.is_said("ready", 30)
        untouched(clients, 0)
        assert all(said.is_proper for said in clients.said), clients.counted()
    figures.tell("one service's PostgreSQL stopped: slowest 503 of its routes", f"{slowest:.2f} s")


async def test_a_database_that_hangs_holds_up_nobody_elses_service(
    apart: Apart, figures: Figures
) -> None:
    assert apart.postgres.pid is not None
    async with traffic(apart.system.url) as clients, clients.at_work():
        await clients.more("vendor", 200, 3)
        place = len(clients.said)
        servers = psutil.Process(apart.postgres.pid)
        with hanging(*(each.pid for each in (servers, *servers.children(recursive=True)))):
            await clients.until(
                lambda: any(said.status in (503, 504) for said in clients.since(place, "vendor")),
                apart.form.read_s + 30,
            )
            await apart.is_said("unready", 30)
            made, _ = await clients.ask("register", "POST", "/api/vendors", json=vendor_of(0))
            assert made.status in (503, 504)
            assert made.seconds < apart.form.patience_s("register")
            await clients.more(MOVED, 201, 20)
        await clients.more("vendor", 200, 3)
        await apart.is_said("ready", 30)
        untouched(clients, 0)
        assert all(said.is_proper for said in clients.said), clients.counted()
        slowest = max(said.seconds for said in clients.since(place, "vendor"))
        assert slowest < apart.form.patience_s("vendor")
    figures.tell("one service's PostgreSQL hangs: slowest answer of its routes", f"{slowest:.2f} s")


@pytest.mark.parametrize("name", ["inventory", *LONG_TOO])
async def test_a_service_that_hangs_is_answered_for_in_time(apart: Apart, name: str) -> None:
    async with traffic(apart.system.url) as clients, clients.at_work():
        await clients.more(name, 200, 3)
        place = len(clients.said)
        with hanging(apart.system.pids()[name]):
            await clients.more(name, 504, 1)
            await apart.is_said("unready", 30)
            for other in READS.keys() - {name}:
                await clients.more(other, 200, 5)
        await clients.more(name, 200, 3)
        await clients.more(MOVED, 201, 3)
        await apart.is_said("ready", 30)
        hit = {name, MOVED} if name == "inventory" else {name}
        for kind in {MOVED, *READS}:
            for said in clients.since(place, kind):
                assert said.status in (200, 201) or (kind in hit and said.is_proper), said
                assert said.seconds < apart.form.patience_s(kind)
    assert (await proved(apart.system)).wrong == []


@pytest.mark.parametrize("name", ["inventory", *LONG_TOO])
async def test_a_service_that_is_killed_is_missed_on_its_routes_alone(
    apart: Apart, name: str
) -> None:
    """Whatever isn't sent again by the client: the gateway repeats it, or says 503."""
    async with traffic(apart.system.url) as clients, clients.at_work():
        await clients.more(name, 200, 3)
        place, killed = len(clients.said), apart.system.pids()[name]
        os.kill(killed, signal.SIGKILL)
        await clients.until(lambda: apart.system.pids().get(name, killed) != killed, 30)
        await clients.more(name, 200, 3)
        await clients.more(MOVED, 201, 3)
        hit = {name, MOVED} if name == "inventory" else {name}
        for kind in {MOVED, *READS}:
            for said in clients.since(place, kind):
                assert said.status in (200, 201) or (kind in hit and said.is_proper), said
                assert said.seconds < apart.form.patience_s(kind)
    assert (await proved(apart.system)).wrong == []


async def test_a_nats_that_hangs_refuses_no_stock_change(apart: Apart) -> None:
    assert apart.nats.pid is not None
    async with traffic(apart.system.url) as clients, clients.at_work():
        await clients.more(MOVED, 201, 5)
        with hanging(apart.nats.pid):
            await apart.is_said("degraded", 60)
            await clients.more(MOVED, 201, 20)
        await apart.is_said("ready", 60)
        await clients.more(MOVED, 201, 5)
        assert {said.status for said in clients.said} == {200, 201}, clients.counted()
    assert (await proved(apart.system)).wrong == []


def vendor_of(number: int) -> dict[str, str]:
    return {
        "name": f"Miller {number}", "email": f"{uuid4().hex}@example.org", "phone": "1",
        "category": "c" * 200, "address": "a" * 200, "city": "c" * 200,
    }  # fmt: skip


@asynccontextmanager
async def vendors_registered(clients: Traffic) -> AsyncIterator[list[str]]:
    """One after another during the block; the ids of those that were acknowledged."""
    made: list[str] = []

    async def register() -> None:
        while True:
            vendor = vendor_of(len(made))
            said, body = await clients.ask("register", "POST", "/api/vendors", json=vendor)
            if said.status == 201:
                made.append(body["id"])
            await asyncio.sleep(REST_S)

    task = asyncio.create_task(register())
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_full_disk_refuses_and_recovers(apart: Apart, figures: Figures) -> None:
    """That of NATS and of vendor's PostgreSQL: nothing is lost, nobody starts anything."""
    disk = apart.disk
    disk.required()
    async with traffic(apart.system.url) as clients, clients.at_work():
        async with vendors_registered(clients) as made:
            await clients.more("register", 201, 5)
            await begin_a_file_of_the_log(apart.postgres.admin_url())
            disk.fill()
            place = len(clients.said)
            await clients.more("register", 503, 5)
            if apart.form is LONG:
                await use_up_the_log(apart.postgres.admin_url())
                disk.fill()
                await clients.more("register", 503, 20)
            else:
                assert {said.status for said in clients.since(place, "vendor")} == {200}
                await apart.is_said("degraded", 30)
            await clients.more(MOVED, 201, 20)
            disk.give_room()
            await clients.more("register", 201, 5)
        await apart.is_said("ready", 60)
        untouched(clients, 0)
        assert all(said.is_proper for said in clients.said), clients.counted()
    assert (await proved(apart.system)).wrong == []
    connection = await asyncpg.connect(apart.postgres.admin_url(database="restock_vendor"))
    there = await connection.fetchval(
        "SELECT count(*) FROM vendors WHERE id = ANY($1::uuid[])", made
    )
    await connection.close()
    assert there == len(made)
    refused = sum(said.status == 503 for said in clients.since(place, "register"))
    figures.add("writes refused on a full disk", refused)
