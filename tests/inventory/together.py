"""Changes that are made together: as requests make them, with a gate before their rounds."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from restock.inventory import rounds as rounds_module
from restock.inventory.rounds import ALONE_MOST
from restock.inventory.schemas import NewMovement
from restock.inventory.store import changes
from restock.kernel.idempotency import RequestKey
from restock.kernel.identity import Principal
from restock.kernel.tenants import Tenant


def principal(account):
    now = datetime.now(UTC)
    return Principal(
        account.user_id, account.workspace_id, "", "", "user", "owner", uuid4(), now, ""
    )


def movement(account, item, delta, key=None):
    new = NewMovement(delta=Decimal(delta), reason="sale")
    held = None if key is None else RequestKey(key, b"")
    return changes.moved(principal(account), UUID(item["id"]), new, held)


async def make(database, rounds, change):
    """A change as a request makes it."""
    async with database.tx(single=True, tenant=Tenant(change.who.workspace_id)) as tx:
        return await rounds.make(tx, change)


class Gate:
    """Stands in for the store: notes each round, which waits until the gate is open."""

    def __init__(self, monkeypatch):
        self.rounds = []
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self._make_all = changes.make_all
        monkeypatch.setattr(rounds_module.changes, "make_all", self.make_all)

    async def make_all(self, tx, together):
        self.rounds.append(together)
        self.begun.set()
        await self.open.wait()
        return await self._make_all(tx, together)


KEPT_WAITING = """
SELECT count(*) FROM pg_locks
WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))
"""


@asynccontextmanager
async def busy_alone(room, who):
    """As many changes as are written alone wait for items that somebody has: rounds are next."""
    items = [await room.made(who) for _ in range(ALONE_MOST)]
    async with room.service.context.database.tx(tenant=who.tenant) as tx:
        await tx.execute(
            "SELECT FROM items WHERE workspace_id = $1 AND id = ANY ($2) FOR UPDATE",
            who.workspace_id,
            [UUID(item["id"]) for item in items],
        )
        waiting = [asyncio.create_task(room.move(who, item, -1)) for item in items]
        async with asyncio.timeout(10):
            while await tx.fetchval(KEPT_WAITING) < ALONE_MOST:
                await asyncio.sleep(0.01)
        yield
        assert not any(task.done() for task in waiting)
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {201}
