"""What the statements promise beyond their answers: what they read, and what they leave alone."""

from uuid import uuid4

import asyncpg
import pytest

from restock.inventory.schemas import Item, Movement
from restock.inventory.store import batches, changes, items, ledger
from tests.fixtures.plans import Explaining

HEAP_ONLY = "SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'items'"


@pytest.mark.parametrize(
    ("sql", "shape", "beside"),
    [
        (items._CREATE, Item, []),
        (items._EDIT, Item, []),
        (items._GET, Item, []),
        (items._NEWEST, Item, []),
        (items._LOW_STOCK.replace("{after}", items._LOWER), Item, []),
        (changes.COUNT.one, Item, ["alerts"]),
        (changes.COUNT.many, Item, ["alerts"]),
        (changes.ADD.one, Movement, ["alerts"]),
        (changes.ADD.many, Movement, ["alerts"]),
        (ledger._LOGS, Movement, []),
        (ledger._WRITTEN_UNDER, Movement, ["request_hash", "answer"]),
        (batches._WRITE, Movement, []),
    ],
)
async def test_columns_are_in_the_order_of_their_shapes_fields(room, sql, shape, beside):
    async with room.service.context.database.tx() as tx:
        await tx.begin()
        prepared = await tx._connection.prepare(sql)
        columns = [column.name for column in prepared.get_attributes()]
    assert columns == [*shape.__struct_fields__, *beside]


async def test_a_ledger_row_always_has_its_item(room, ada):
    """What a foreign key would say: the service can't delete an item, nor name another one."""
    item = await room.made(ada)
    await room.archive(ada, item)
    for statement in ("DELETE FROM items", "TRUNCATE items", "UPDATE items SET id = uuidv7()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await room.service.execute(statement)
    ghost = {"id": str(uuid4())}
    await room.move(ada, ghost, 1)
    await room.batch(ada, "each", (item, 1), (ghost, 1))
    orphans = (
        "SELECT count(*) FROM ledger l LEFT JOIN items i ON i.id = l.item_id WHERE i.id IS NULL"
    )
    assert await room.service.fetchval(orphans) == 0


async def test_only_changes_of_low_stock_touch_an_index(room, ada):
    item = await room.made(ada, quantity=10, minThreshold=4)
    heap_only = {}
    for name, quantity in (("ample", 9), ("falls", 4), ("low", 3), ("rises", 10)):
        async with room.service.context.database.tx(tenant=ada.tenant) as tx:
            before = await tx.fetchval(HEAP_ONLY)
            await tx.execute(
                "UPDATE items SET quantity = $3 WHERE workspace_id = $1 AND id = $2::text::uuid",
                ada.workspace_id,
                item["id"],
                quantity,
            )
            heap_only[name] = await tx.fetchval(HEAP_ONLY) - before
    assert heap_only == {"ample": 1, "falls": 0, "low": 0, "rises": 0}


@pytest.fixture
async def many(room, ada):
    """Items of one workspace, in categories of several pages."""
    await room.service.execute(
        """
        INSERT INTO items (workspace_id, id, user_id, name, unit, category, quantity,
                           min_threshold, created_at, updated_at)
        SELECT $1, uuidv7(), $2, n::text, 'kg', 'Tea ' || n % 40, n, 1000, now(), now()
        FROM generate_series(1, 2000) n
        """,
        ada.workspace_id,
        ada.user_id,
        tenant=ada.tenant,
    )


async def test_a_category_is_read_from_its_index(room, ada, many):
    await room.service.fetch("ANALYZE items")
    async with room.service.context.database.tx(tenant=ada.tenant) as tx:
        explaining = Explaining(tx)
        for before in (None, uuid4()):
            await items.newest(
                explaining,
                ada.workspace_id,
                category="TEA 7",
                search=None,
                low=None,
                before=before,
                limit=5,
            )
            assert "using items_category" in explaining.plan
            assert "(category_key = " in explaining.plan.partition("Index Cond:")[2]
            assert "Sort" not in explaining.plan


async def test_the_lowest_items_are_read_from_their_index(room, ada, many):
    for after in ("", items._LOWER):
        plan = await lowest_plan(room, ada, after)
        assert "Index Scan using items_lowest" in plan
        assert "Sort" not in plan
    assert "ROW(low_quantity, id) >" in plan.partition("Index Cond:")[2].partition("\n")[0]


async def lowest_plan(room, who, after):
    """The plan of any page of low stock: one for all workspaces."""
    sql = items._LOW_STOCK.replace("{after}", after)
    async with room.service.context.database.tx(tenant=who.tenant) as tx:
        types = "(uuid, bigint, numeric, uuid)" if after else "(uuid, bigint)"
        values = f"'{who.workspace_id}', 51" + (f", 7, '{who.user_id}'" if after else "")
        await tx.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await tx.execute(f"PREPARE lowest{types} AS {sql}")
        rows = await tx.fetch(f"EXPLAIN (COSTS OFF) EXECUTE lowest({values})")
        await tx.execute("DEALLOCATE lowest")
    return "\n".join(row[0] for row in rows)
