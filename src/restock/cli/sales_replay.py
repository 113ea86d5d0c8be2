"""The replay itself: items are made, then every recorded row becomes a movement.

Rows of one item go one after another in file order, different items at once. Whatever breaks on
the way is tried again (the client's doing), and a movement's Idempotency-Key is its row, so no
retry moves stock twice. A replay that was killed goes on when it is started again on the same
account: the ledger says which rows it holds (`ref` is the row), and an item's rows up to the last
of these are settled, a row missing among them having been refused. Hence the same files played
again change nothing.
"""

import asyncio
import hashlib
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from restock.cli.progress import Steps
from restock.cli.recorded_sales import LONGEST_TEXT, Opening, Recording, Sale
from restock.client import ApiProblem, Gateway
from restock.client.shapes import Item
from restock.client.stock import Change

CATEGORY = "Recorded sales"
UNIT = "piece"
TOO_LITTLE = "inventory.insufficient_stock"

Acknowledged = Callable[[UUID, str], None]  # movement id, row key


class ReplayStopped(Exception):
    """A row or an item met a refusal that a replay can't go on from; says which and why."""


@dataclass(slots=True)
class Outcome:
    """What became of the rows, counted as it happens."""

    items_made: int = 0
    items_found: int = 0
    moved: int = 0
    refused: int = 0
    found_moved: int = 0  # in the ledger already, by an earlier replay of the same rows
    found_refused: int = 0
    seconds: float = 0.0  # the movements alone
    items: dict[str, UUID] = field(default_factory=dict)
    acknowledged: dict[str, UUID] = field(default_factory=dict)  # row key → movement id

    @property
    def rate(self) -> float:
        """Rows answered a second: moved or refused, not those found in the ledger."""
        return (self.moved + self.refused) / self.seconds if self.seconds else 0.0


class Replay:
    """One recording played through one gateway, by `concurrency` workers.

    With `batch` > 1 a worker sends that many movements of different items in one call.
    """

    def __init__(
        self,
        gateway: Gateway,
        recording: Recording,
        *,
        concurrency: int,
        batch: int = 1,
        acknowledged: Acknowledged = lambda movement_id, row: None,
    ) -> None:
        self._gateway = gateway
        self._recording = recording
        self._concurrency = concurrency
        self._batch = batch
        self._acknowledged = acknowledged
        self._settled: set[str] = set()  # keys of rows an earlier replay dealt with
        self.outcome = Outcome()

    async def make_items(self, steps: Steps) -> None:
        """Every item is there, with its opening stock. Items of an earlier replay are kept as
        they are; what their ledgers hold is not sent again. Raises ReplayStopped."""
        wanted = {opening.code for opening in self._recording.openings}
        found = {
            item.sku: item async for item in self._gateway.inventory.items() if item.sku in wanted
        }
        rows = _by_code(self._recording.sales)

        async def provide(opening: Opening) -> None:
            item = found.get(opening.code)
            if item is None:
                self.outcome.items[opening.code] = (await self._make(opening)).id
                self.outcome.items_made += 1
            else:
                self.outcome.items[opening.code] = item.id
                self.outcome.items_found += 1
                if item.version > 1:
                    await self._settle(item, rows[opening.code])
            steps.done()

        shares: list[list[Opening]] = [[] for _ in range(self._concurrency)]
        for number, opening in enumerate(self._recording.openings):
            shares[number % self._concurrency].append(opening)
        async with asyncio.TaskGroup() as workers:
            for share in shares:
                workers.create_task(_each(share, provide))

    async def play(self, steps: Steps) -> None:
        """Every row that isn't settled yet is sent. Raises ReplayStopped."""
        shares: list[list[Sale]] = [[] for _ in range(self._concurrency)]
        for sale in self._recording.sales:
            if sale.key in self._settled:
                steps.done()
            else:
                shares[zlib.crc32(sale.code.encode()) % self._concurrency].append(sale)
        started = time.monotonic()
        async with asyncio.TaskGroup() as workers:
            for share in shares:
                workers.create_task(self._work(share, steps))
        self.outcome.seconds = time.monotonic() - started

    async def _make(self, opening: Opening) -> Item:
        parts = (opening.code, opening.name, str(opening.stock), str(opening.threshold))
        try:
            return await self._gateway.inventory.create_item(
                name=opening.name,
                quantity=opening.stock,
                min_threshold=opening.threshold,
                unit=UNIT,
                category=CATEGORY,
                sku=opening.code,
                key=f"replay-item-{_digest(parts)}",
            )
        except ApiProblem as problem:
            raise ReplayStopped(f"item {opening.code}: {problem}") from problem

    async def _settle(self, item: Item, rows: Sequence[Sale]) -> None:
        """Which of the item's rows an earlier replay dealt with."""
        held = {log.ref: log.id async for log in self._gateway.inventory.logs(item.id) if log.ref}
        last = max((place for place, row in enumerate(rows, 1) if row.key in held), default=0)
        for row in rows[:last]:
            self._settled.add(row.key)
            if row.key in held:
                self.outcome.found_moved += 1
                self.outcome.acknowledged[row.key] = held[row.key]
            else:
                self.outcome.found_refused += 1

    async def _work(self, share: Sequence[Sale], steps: Steps) -> None:
        if self._batch == 1:
            for sale in share:
                await self._move(sale)
                self._show(steps, 1)
        else:
            for batch in _batches(share, self._batch):
                await self._move_together(batch)
                self._show(steps, len(batch))

    async def _move(self, sale: Sale) -> None:
        change = self._change(sale)
        try:
            movement = await self._gateway.inventory.add_movement(
                change.item_id,
                change.delta,
                change.reason,
                note=change.note,
                ref=change.ref,
                occurred_at=change.occurred_at,
                key=f"replay-{sale.key}",
            )
        except ApiProblem as problem:
            self._refused(sale, problem)
        else:
            self._moved(sale, movement.id)

    async def _move_together(self, batch: Sequence[Sale]) -> None:
        """No two rows of one item: a refused row is judged anew when the call is repeated, and
        is refused again only while nothing of its item has moved since."""
        results = await self._gateway.inventory.add_movements(
            [self._change(sale) for sale in batch],
            mode="each",
            key=f"replay-batch-{_digest([sale.key for sale in batch])}",
        )
        for sale, result in zip(batch, results, strict=True):
            if result.movement is not None:
                self._moved(sale, result.movement.id)
            else:
                self._refused(sale, ApiProblem.from_members(result.status, result.problem or {}))

    def _change(self, sale: Sale) -> Change:
        return Change(
            item_id=self.outcome.items[sale.code],
            delta=-sale.quantity,
            reason="sale" if sale.quantity > 0 else "return",
            note=f"Invoice {sale.invoice}"[:LONGEST_TEXT],
            ref=sale.key,
            occurred_at=sale.occurred_at,
        )

    def _moved(self, sale: Sale, movement_id: UUID) -> None:
        self.outcome.moved += 1
        self.outcome.acknowledged[sale.key] = movement_id
        self._acknowledged(movement_id, sale.key)

    def _refused(self, sale: Sale, problem: ApiProblem) -> None:
        if problem.code != TOO_LITTLE:
            raise ReplayStopped(f"row {sale.key} ({sale.code}): {problem}") from problem
        self.outcome.refused += 1

    def _show(self, steps: Steps, rows: int) -> None:
        steps.done(rows)
        again = self._gateway.transport.repeated
        note = f"{self.outcome.refused} refused"
        steps.note(note + (f", {again} sent again" if again else ""))


async def _each(share: Iterable[Opening], provide: Callable[[Opening], object]) -> None:
    for opening in share:
        await provide(opening)  # type: ignore[misc]


def _by_code(sales: Iterable[Sale]) -> dict[str, list[Sale]]:
    rows: dict[str, list[Sale]] = defaultdict(list)
    for sale in sales:
        rows[sale.code].append(sale)
    return rows


def _batches(sales: Iterable[Sale], size: int) -> Iterable[list[Sale]]:
    """First rows of all items, then second rows, and so on, in batches of at most `size`."""
    rounds: list[list[Sale]] = []
    for rows in _by_code(sales).values():
        for turn, sale in enumerate(rows):
            if turn == len(rounds):
                rounds.append([])
            rounds[turn].append(sale)
    for one_each in rounds:
        for start in range(0, len(one_each), size):
            yield one_each[start : start + size]


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
