"""A running system is backed up under load, restored elsewhere, and goes on there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from restock.cli.backup import ORDER
from restock.client import Gateway
from restock.engines.datadir import DataDir
from restock.engines.postgres import PostgresEngine
from tests.cli.commands import ran
from tests.cli.contents import everything
from tests.fixtures.figures import Figures
from tests.fixtures.ports import free_offset
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running
from tests.journeys.aftermath import proved
from tests.journeys.conftest import MakeSystem
from tests.journeys.ledger_proof import url_of, urls_of

ANA = {"email": "ana@cafe.example", "name": "Ana", "password": "correct horse"}
LEDGER = "SELECT l::text AS row FROM ledger l"
LATER = "SELECT seq, id::text FROM notifications WHERE seq > $1 ORDER BY seq"


class Load:
    """Hands that take one from an item and put it back: each step crosses its threshold."""

    def __init__(self, gateway: Gateway) -> None:
        self.acknowledged: list[str] = []
        self._gateway = gateway
        self._over = False

    @asynccontextmanager
    async def running(self, hands: int) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for number in range(hands):
                group.create_task(self._move(number))
            try:
                yield
            finally:
                self._over = True

    async def until(self, number: int) -> None:
        """Wait until so many movements were acknowledged."""
        while len(self.acknowledged) < number:
            await asyncio.sleep(0.01)

    async def _move(self, number: int) -> None:
        inventory = self._gateway.inventory
        item = await inventory.create_item(name=f"item {number}", quantity=11, min_threshold=10)
        step = 0
        while not self._over:
            delta, ref = (1 if step % 2 else -1), f"{number}.{step}"
            row = await inventory.add_movement(item.id, delta, "moved", ref=ref)
            self.acknowledged.append(f"{row.id} {ref}\n")
            step += 1


@asynccontextmanager
async def restored(file: Path, root: Path) -> AsyncIterator[WholeSystem]:
    """A system of its own, on what was restored from the file."""
    done = await ran("restore", str(file), "--data-dir", str(root))
    assert done.code == 0, done.err
    assert "events to publish again" in done.out
    async with running(WholeSystem(root, free_offset(), NO_LIMITS)) as system:
        yield system


async def looked(url: str, query: str, *args: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(query, *args)
    finally:
        await connection.close()


async def is_refused(system: WholeSystem, token: str) -> bool:
    """Whether each service refuses the token, within moments: what is live is published again."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for path in ("auth/sessions", "inventory/items", "notifications", "vendors/requests"):
            async with asyncio.timeout(10):
                while True:
                    async with session.get(f"{system.url}/api/{path}") as answer:
                        if answer.status == 401:
                            break
                    await asyncio.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("hands", "before"),
    [
        (4, 100),
        pytest.param(16, 5_000, marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
    ids=["short", "long"],
)
async def test_backed_up_under_load_and_restored(
    make_system: MakeSystem, scratch: Path, figures: Figures, hands: int, before: int
) -> None:
    system = await make_system()
    file, log = scratch / f"under-load-{hands}", scratch / f"under-load-{hands}.log"
    async with Gateway(system.url, connections=hands) as gateway:
        gone = await gateway.auth.register(**ANA)
        await gateway.auth.logout()
        signed = await gateway.auth.login(email=ANA["email"], password=ANA["password"])
        load = Load(gateway)
        async with load.running(hands):
            await load.until(before)
            log.write_text("".join(load.acknowledged))
            done = await ran("backup", str(file), "--data-dir", str(system.root))
            assert done.code == 0, done.err
            await load.until(len(load.acknowledged) + hands)
        position = gateway.feed()
        async with position:
            await position.next_of("sync")
    there = {row["row"] for row in await looked(urls_of(system.root)[0], LEDGER)}
    assert await system.stop() == 0
    async with restored(file, scratch / f"restored-{hands}") as again:
        verdict = await proved(again, log)
        inventory, notification = urls_of(again.root)
        kept = {row["row"] for row in await looked(inventory, LEDGER)}
        assert kept < there
        assert verdict.logged >= before
        gap = await looked(notification, LATER, position.last_seq)
        assert gap, "nothing happened between two dumps: the test is too quick"
        await goes_on(again, signed, position.last_seq, [row["id"] for row in gap])
        assert await is_refused(again, gone.token)
        held = await equal_once_restored(again, scratch / f"equal-{hands}")
        assert len(held["inventory.ledger"]) >= len(kept)
        assert len(held["notification.notifications"]) > len(gap)
    figures.add("movements acknowledged before a backup", verdict.logged)
    figures.add("notifications of the gap between two dumps", len(gap))


async def goes_on(system: WholeSystem, signed: Any, position: int | None, gap: list[str]) -> None:
    """Tokens are as good as they were, the password too, and a socket misses nothing."""
    async with Gateway(system.url) as gateway:
        gateway.auth.use(signed.token, signed.refresh_token)
        assert (await gateway.auth.verify()).id == signed.user.id
        async with gateway.feed(last_seq=position) as feed:
            heard = [await feed.next_of("new_notification") for _ in gap]
        assert [one.data["id"] for one in heard] == gap
        assert (await gateway.auth.refresh()).token
    async with Gateway(system.url) as gateway:
        await gateway.auth.login(email=ANA["email"], password=ANA["password"])
        assert await gateway.notifications.unread_count() > 0


async def equal_once_restored(system: WholeSystem, root: Path) -> dict[str, list[Any]]:
    """All rows, rights and functions of a quiet system, which its backup brings back.

    But for what a restore changes on purpose: `contents.CHANGED`.
    """
    file = root.with_name(f"{root.name}.restock")
    held, after, urls = None, {}, {service: url_of(system.root, service) for service in ORDER}
    async with asyncio.timeout(60):
        while held != after:  # something was on its way still: not all of it need be in the file
            file.unlink(missing_ok=True)
            held = await everything(urls)
            done = await ran("backup", str(file), "--data-dir", str(system.root))
            assert done.code == 0, done.err
            after = await everything(urls)
    done = await ran("restore", str(file), "--data-dir", str(root))
    assert done.code == 0, done.err
    directory = DataDir.claim(root)
    postgres = PostgresEngine(directory)
    try:
        await postgres.start()
        found = await everything({service: postgres.owner_url(service) for service in ORDER})
    finally:
        await postgres.stop()
        directory.release()
    assert [what for what in held.keys() | found if held.get(what) != found.get(what)] == []
    return found
