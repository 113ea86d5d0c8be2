"""The tables: what the kernel needs among them, and what the service's role may not do."""

from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

import restock.kernel
import restock.vendor
from restock.kernel.tenants import Tenant
from restock.vendor import store
from restock.vendor.domain import Position
from tests.fixtures.plans import Explaining
from tests.vendor.desk import account

BEYOND = (
    "UPDATE vendors SET rating = 5",
    "UPDATE vendors SET workspace_id = uuidv7()",
    "UPDATE vendors SET registered_at = now()",
    "INSERT INTO vendors (workspace_id, name, email, phone, category, address, city, rating)"
    " VALUES (uuidv7(), 'x', 'x', 'x', 'x', 'x', 'x', 5)",
    "DELETE FROM vendors",
    "DELETE FROM vendor_people",
    "UPDATE contact_requests SET quantity = 1",
    "UPDATE contact_requests SET buyer_workspace_id = uuidv7()",
    "UPDATE contact_requests SET item_name = 'x'",
    "DELETE FROM contact_requests",
    "UPDATE request_steps SET taken_at = now()",
    "DELETE FROM request_steps",
    "TRUNCATE request_steps",
    "UPDATE outbox SET data = '{}'",
    "ALTER TABLE vendors ADD COLUMN x text",
    "DROP TABLE request_steps",
    "CREATE TABLE x (y integer)",
)


async def test_the_services_role_reaches_no_further_than_it_needs(desk):
    for statement in BEYOND:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await desk.service.execute(statement)


async def test_a_request_can_not_name_a_workspace_that_does_not_own_its_vendor(desk):
    vendor = await desk.registered(account())
    buyer = uuid4()
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await desk.service.execute(
            """INSERT INTO contact_requests
                (vendor_workspace_id, vendor_id, buyer_workspace_id, buyer_user_id, client_name,
                 item_id, item_name, item_unit, quantity, message)
            VALUES (uuidv7(), $1::text::uuid, $2, uuidv7(), 'x', uuidv7(), 'x', 'x', 1, 'x')
            """,
            vendor["id"],
            buyer,
            tenant=Tenant(buyer),
        )


@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        ("vendors_of_category", {"category": "TEA"}),
        ("vendors_of_city", {"city": "YORK"}),
        ("vendors_best_first", {}),
    ],
)
async def test_a_page_of_the_directory_is_read_from_its_index(desk, index, wanted):
    """The best first, however many there are: none is read that isn't on the page."""
    workspace_id = uuid4()
    await desk.service.execute(
        """
        INSERT INTO vendors (workspace_id, name, email, phone, category, address, city)
        SELECT $1, 'x', n::text, 'x', CASE n % 5 WHEN 0 THEN 'Tea' ELSE 'Oil' END, 'x',
               CASE n % 5 WHEN 0 THEN 'York' ELSE 'Bath' END
        FROM generate_series(1, 2000) n
        """,
        workspace_id,
        tenant=Tenant(workspace_id),
    )
    await desk.service.fetch("ANALYZE vendors")
    nothing = {"category": None, "city": None, "search": None}
    async with desk.service.context.database.tx(tenant=Tenant(uuid4())) as tx:
        explaining = Explaining(tx)
        for after in (None, Position(Decimal(3), uuid4())):
            await store.list_vendors(explaining, **nothing | wanted, after=after, limit=50)
            assert f"Index Scan using {index}" in explaining.plan
            assert "Sort" not in explaining.plan


def test_the_kernels_tables_are_taken_as_they_are():
    kernels = sql_of(restock.kernel, "tables.sql")
    assert kernels in sql_of(restock.vendor, "tables.sql")
    assert kernels in sql_of(restock.vendor, "migrations/0001_directory.sql")
    walls = sql_of(restock.kernel, "walls.sql")
    for service in ("auth", "inventory", "notification", "vendor"):
        tables = Path(restock.kernel.__file__).parents[1] / service / "tables.sql"
        assert walls in tables.read_text(encoding="utf-8")


def sql_of(package, name):
    return Path(package.__file__).parent.joinpath(name).read_text(encoding="utf-8")
