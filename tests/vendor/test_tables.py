"""The tables: what the kernel needs among them, and what the service's role may not do."""

from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

import restock.kernel
import restock.vendor
from restock.kernel.tenants import Tenant
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
