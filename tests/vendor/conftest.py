"""A vendor service with an empty directory, and a stub of inventory beside it."""

from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest_asyncio

from tests.vendor.desk import Desk
from tests.vendor.stub_inventory import stub_inventory


@pytest_asyncio.fixture(loop_scope="session")
async def inventory():
    async with stub_inventory() as stub:
        yield stub


@pytest_asyncio.fixture(loop_scope="session")
async def make_desk(make_service, inventory):
    """`await make_desk(setting="value")`."""

    async def make(**settings):
        settings = {"RESTOCK_INVENTORY_URL": inventory.url, "inventory_timeout": "10"} | settings
        return Desk(await make_service("vendor", **settings), inventory)

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def desk(make_desk):
    return await make_desk()


@pytest_asyncio.fixture(loop_scope="session")
async def rate(desk, postgres):
    """Gives a vendor a rating, as the owner of the tables: the service itself can't."""
    url = postgres.owner_url("vendor", database=desk.service.database_name)
    connection = await asyncpg.connect(url)

    async def give(vendor, rating):
        await connection.execute(
            "UPDATE vendors SET rating = $2 WHERE id = $1", UUID(vendor["id"]), Decimal(rating)
        )

    yield give
    await connection.close()
