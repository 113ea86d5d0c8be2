"""The proof, through the API alone, that ledger, stock and alerts tell the same story.

For every item: its ledger begins at 0, each row begins where the one before ended and ends where
its delta leads, and the last ends at the item's quantity. The crossings of its threshold, worked
out from the ledger, are the notifications that came, one each.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from restock.cli.progress import Steps
from restock.client import Gateway
from restock.client.shapes import Item, Movement

LOW, OUT, BACK = "low_stock", "out_of_stock", "back_in_stock"
ALERTS = (LOW, OUT, BACK)
POLL = 1.0  # seconds between looks at the notifications

Alerts = Counter[tuple[UUID, str]]  # (item, type of notification) → how many


@dataclass(slots=True)
class Proof:
    """What was compared; `wrong` says in words what doesn't agree."""

    items: set[UUID] = field(default_factory=set)
    movements: int = 0  # ledger rows besides the first of each item
    expected: Alerts = field(default_factory=Counter)
    notified: Alerts = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)  # acknowledged rows not in the ledger
    wrong: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True when everything agrees."""
        return not self.wrong and not self.missing and self.expected == self.notified

    def alerts(self) -> dict[str, int]:
        """The notifications by type."""
        return by_type(self.notified)


def by_type(alerts: Alerts) -> dict[str, int]:
    """How many of each type."""
    return {kind: sum(n for (_, k), n in alerts.items() if k == kind) for kind in ALERTS}


async def prove_ledger(
    gateway: Gateway,
    items: Iterable[UUID],
    acknowledged: Mapping[str, UUID],
    *,
    concurrency: int,
    steps: Steps,
) -> Proof:
    """Read every ledger. `acknowledged` maps the ref of each movement to its id."""
    proof = Proof()
    wanted = set(items)
    unseen = dict(acknowledged)
    stock = [item async for item in gateway.inventory.items() if item.id in wanted]
    if len(stock) != len(wanted):
        proof.wrong.append(f"{len(wanted) - len(stock)} items are in no list")

    async def look(share: Sequence[Item]) -> None:
        for item in share:
            rows = await _ledger(gateway, item.id)
            fault = fault_of(item, rows)
            if fault is not None:
                # it may have moved between the two reads: once more, in the other order
                rows = await _ledger(gateway, item.id)
                fault = fault_of(await gateway.inventory.item(item.id), rows)
            if fault is not None:
                proof.wrong.append(f"{item.sku or item.name}: {fault}")
            proof.items.add(item.id)
            proof.movements += len(rows) - 1
            proof.expected.update((item.id, kind) for kind in crossings(item, rows))
            for row in rows:
                if row.ref is not None and unseen.get(row.ref) == row.id:
                    del unseen[row.ref]
            steps.done()

    async with asyncio.TaskGroup() as workers:
        for number in range(concurrency):
            workers.create_task(look(stock[number::concurrency]))
    proof.missing = sorted(unseen)
    return proof


async def count_notifications(gateway: Gateway, proof: Proof, *, patience: float) -> None:
    """Wait until the notifications are those the ledgers call for, or for `patience` seconds
    without a new one; `proof.notified` is what there is then."""
    now = asyncio.get_running_loop().time
    deadline = now() + patience
    while True:
        notified: Alerts = Counter()
        async for told in gateway.notifications.notifications():
            if told.type in ALERTS and told.item_id is not None:
                notified[told.item_id, told.type] += 1
        ours: Alerts = Counter({key: n for key, n in notified.items() if key[0] in proof.items})
        if ours.total() > proof.notified.total():
            deadline = now() + patience
        proof.notified = ours
        if ours.total() >= proof.expected.total() or now() > deadline:
            return
        await asyncio.sleep(POLL)


def fault_of(item: Item, rows: Sequence[Movement]) -> str | None:
    """What is wrong with a ledger (oldest row first) as the history of this item, if anything."""
    stood = Decimal(0)
    for row in rows:
        if row.previous_quantity != stood:
            return (
                f"row {row.id} begins at {row.previous_quantity}, the one before ended at {stood}"
            )
        if stood + row.delta != row.new_quantity:
            return f"row {row.id} ends at {row.new_quantity}: not {stood} and {row.delta}"
        stood = row.new_quantity
    if stood != item.quantity:
        return f"the stock is {item.quantity}, the ledger ends at {stood}"
    return None


def crossings(item: Item, rows: Sequence[Movement]) -> Iterable[str]:
    """The notifications a ledger (oldest row first) calls for under the item's threshold."""
    threshold = item.min_threshold
    for place, row in enumerate(rows):
        before, after = row.previous_quantity, row.new_quantity
        first = place == 0
        if threshold is not None and after <= threshold and (first or before > threshold):
            yield LOW
        if before > 0 and after == 0:
            yield OUT
        floor = Decimal(0) if threshold is None else threshold
        if not first and before <= floor < after:
            yield BACK


async def _ledger(gateway: Gateway, item_id: UUID) -> list[Movement]:
    """Oldest first."""
    rows = [row async for row in gateway.inventory.logs(item_id)]
    return sorted(rows, key=lambda row: row.seq)
