"""A NATS that has lost what it held: the outboxes still have it."""

import asyncio
import shutil

from restock.engines.nats import NatsEngine
from restock.engines.postgres import PostgresEngine
from restock.engines.streams import bring_streams
from restock.kernel.ids import new_id
from tests.cli.commands import ran
from tests.conftest import MakeService
from tests.fixtures.running import RunningService
from tests.fixtures.tokens import token_for
from tests.inventory.stockroom import item_fields

UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL"


async def published(service: RunningService) -> None:
    async with asyncio.timeout(20):
        while await service.fetchval(UNPUBLISHED):
            await asyncio.sleep(0.01)


async def age(service: RunningService, column: str, by: str) -> None:
    async with service.owner.tx(single=True) as tx:
        await tx.execute(f"UPDATE outbox SET {column} = {column} - interval '{by}'")


async def resent(postgres: PostgresEngine, inventory: RunningService) -> list[str]:
    """How many events of each, by the command; the others' databases hold none."""
    names = {name: f"restock_{name}" for name in ("auth", "vendor")}
    names["inventory"] = inventory.database_name
    urls = {
        f"RESTOCK_{name.upper()}_MIGRATE_URL": postgres.owner_url(name, database=database)
        for name, database in names.items()
    }
    done = await ran("events", "resend", "--hours", "2", **urls)
    assert (done.code, done.err) == (0, "")
    return [line.removesuffix(" events") for line in done.out.splitlines()]


async def test_what_nats_lost_is_told_once_more_and_has_one_effect(
    make_service: MakeService, postgres: PostgresEngine, nats: NatsEngine
) -> None:
    who = {"user_id": new_id(), "workspace_id": new_id()}
    inventory = await make_service("inventory", nats=nats)

    async def make_low_item(name: str) -> None:
        low = item_fields(name=name, quantity=1, minThreshold=2)
        made = await inventory.ask("POST", "/api/inventory/items", token=token_for(**who), json=low)
        assert made.status == 201
        await published(inventory)

    await make_low_item("old")
    await age(inventory, "published_at", "3 hours")
    await make_low_item("older")
    await age(inventory, "occurred_at", "7 days")  # told once more a week ago, and not for ever
    await make_low_item("lost")
    await nats.stop()
    shutil.rmtree(nats.home / "jetstream")
    await nats.start()
    await bring_streams(nats.operator_env(), within_s=30)
    notification = await make_service("notification", nats=nats)
    await make_low_item("after")

    async def told(count: int) -> list[str]:
        async with asyncio.timeout(20):
            while True:
                path = "/api/notifications"
                found = await notification.ask("GET", path, token=token_for(**who))
                if len(found.json) >= count:
                    return sorted(row["message"].rpartition(" ")[2] for row in found.json)
                await asyncio.sleep(0.02)

    assert await told(1) == ["after"]
    assert await resent(postgres, inventory) == ["auth: 0", "inventory: 4", "vendor: 0"]
    assert await told(2) == ["after", "lost"]
    await published(inventory)
    assert await resent(postgres, inventory) == ["auth: 0", "inventory: 4", "vendor: 0"]
    await make_low_item("last")  # and with it all that was published before
    assert await told(3) == ["after", "last", "lost"]
