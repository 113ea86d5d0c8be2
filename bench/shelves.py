"""Items in any number, put into a system's tables by SQL as superuser.

Their ids are a pattern with a number in it, so that neither wrk nor pgbench needs a list of them.
Each twentieth is low, so that a page of low stock is full at every size; the others are what a
run changes.
"""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from bench.restock import Restock
from bench.tenants import Tenant

PATTERN = "0192f0a0-0000-7000-8000-%012d"
LOW_EACH = 20
LOAD_S = 3600

_ITEMS = """
INSERT INTO items (workspace_id, id, user_id, name, unit, category, quantity, min_threshold,
                   version, moves, created_at, updated_at)
SELECT $1, ($3 || lpad(n::text, 12, '0'))::uuid, $2, 'Item ' || n, 'kg', 'category ' || n % 50,
       5000 + $5 - 1, CASE WHEN n % $6 = 0 THEN 100000 ELSE 10 END, $5, $5, now(), now()
FROM generate_series(1, $4) n
"""
_LEDGER = """
INSERT INTO ledger (workspace_id, item_id, seq, user_id, previous_quantity, new_quantity, reason,
                    occurred_at, created_at)
SELECT $1, ($3 || lpad(n::text, 12, '0'))::uuid, s, $2,
       CASE WHEN s = 1 THEN 0 ELSE 5000 + s - 2 END, 5000 + s - 1,
       CASE WHEN s = 1 THEN 'Initial stock' ELSE 'benchmark' END, now(), now()
FROM generate_series(1, $4) n, generate_series(1, $5) s
"""
_NOTIFICATIONS = """
INSERT INTO notifications (user_id, seq, id, type, message, item_id, data, event_id)
SELECT $1, n, uuidv7(), 'low_stock', 'Low stock alert: Item ' || n,
       ($2 || lpad(n::text, 12, '0'))::uuid,
       jsonb_build_object('name', 'Item ' || n, 'unit', 'kg', 'quantity', 5, 'minThreshold', 10),
       uuidv7()
FROM generate_series(1, $3) n
"""
_FEED = "INSERT INTO feeds (user_id, head, unread, revision) VALUES ($1, $2::bigint, $2::bigint, 1)"


@dataclass(frozen=True, slots=True)
class Shelves:
    """What was put there."""

    count: int

    @property
    def settings(self) -> dict[str, str]:
        """What `lua/stock.lua` wants to know."""
        return {
            "ITEM_BASE": Restock.items_path,
            "ITEM_PATTERN": PATTERN,
            "ITEM_COUNT": str(self.count),
            "ITEM_SKIP": str(LOW_EACH),
        }


async def fill(system: Restock, tenant: Tenant, count: int, moves: int) -> Shelves:
    """`count` items with a ledger of `moves` rows each, and as many notifications as items."""
    workspace, user = UUID(tenant.workspace_id), UUID(tenant.user_id)
    prefix = PATTERN.partition("%")[0]
    inventory = await asyncpg.connect(system.admin_url("inventory"), command_timeout=LOAD_S)
    try:
        # every row refers to one of ours: no need to look each of them up
        await inventory.execute("SET session_replication_role = replica")
        await inventory.execute(_ITEMS, workspace, user, prefix, count, moves, LOW_EACH)
        await inventory.execute(_LEDGER, workspace, user, prefix, count, moves)
        await inventory.execute("VACUUM (ANALYZE) items, ledger")
    finally:
        await inventory.close()
    notification = await asyncpg.connect(system.admin_url("notification"), command_timeout=LOAD_S)
    try:
        await notification.execute(_NOTIFICATIONS, user, prefix, count)
        await notification.execute(_FEED, user, count)
        await notification.execute("VACUUM (ANALYZE) notifications, feeds")
        await notification.execute("CHECKPOINT")
    finally:
        await notification.close()
    return Shelves(count)
