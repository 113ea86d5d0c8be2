"""Shops at work: several workspaces, each with a few hands that do everything a client may.

What is acknowledged is written down, and synced, before the next thing is done; `whole_proof`
compares that with the databases. Every call is repeated as documented (`restock.client`), so a
hand that meets anything but an answer it can expect ends the test.
"""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from restock.client import ApiProblem, Gateway
from restock.client.shapes import Movement
from restock.client.stock import Change

PATIENCE_S = 150.0
FIRST_ITEMS = 6
FEWEST_ITEMS = 4
DELTAS = (-6, -4, -3, -2, -1, 1, 2, 3, 5, 6)
NEXT_STEP = {"pending": "responded", "responded": "fulfilled"}


class Journal:
    """What clients were told, a JSON object a line, on disk before anything else is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, did: str, **what: Any) -> None:
        line = json.dumps({"did": did} | what, default=str) + "\n"
        os.write(self._fd, line.encode())
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


@dataclass
class Shop:
    """One workspace: its account, its items, its entry in the vendors' directory.

    `plain` items are only moved and counted; `edited` ones are edited and archived too. `asked`
    are the requests to it that nobody works on now, with their status.
    """

    name: str
    gateway: Gateway
    vendor: UUID
    plain: list[UUID] = field(default_factory=list)
    edited: list[UUID] = field(default_factory=list)
    asked: list[tuple[UUID, str]] = field(default_factory=list)

    @property
    def items(self) -> list[UUID]:
        return self.plain + self.edited

    @property
    def user_id(self) -> UUID:
        assert self.gateway.auth.user is not None
        return self.gateway.auth.user.id


@dataclass
class Crew:
    """All shops and their hands, and how much they have done."""

    shops: list[Shop]
    journal: Journal
    acknowledged: int = 0
    movements: int = 0
    calls: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def requests(self) -> int:
        """Everything sent, repetitions included."""
        return self.calls + self.repeated

    @property
    def repeated(self) -> int:
        """How many of them were sent again."""
        transports = [shop.gateway.transport for shop in self.shops]
        return sum(one.repeated + one.limited for one in transports)

    def note(self, did: str, **what: Any) -> None:
        """Something was acknowledged."""
        self.journal.write(did, **what)
        self.acknowledged += did != "refused"
        self.movements += did == "row"
        self._news.set()

    async def more(self, count: int, within_s: float = 120.0) -> None:
        """Wait until that many more were acknowledged."""
        goal = self.acknowledged + count
        async with asyncio.timeout(within_s):
            while self.acknowledged < goal:
                self._news.clear()
                await self._news.wait()


class Hand:
    """One client that works on, one call after the other. What it does follows from its name."""

    def __init__(self, name: str, crew: Crew, shop: Shop) -> None:
        self._name = name
        self._crew = crew
        self._shop = shop
        self._stock = shop.gateway.inventory
        self._chance = random.Random(name)
        self._number = 0

    async def work(self) -> None:
        kinds: dict[Callable[[str], Awaitable[None]], int] = {
            self._move: 40, self._count: 12, self._batch: 10, self._edit: 8, self._ask: 8,
            self._answer: 8, self._look: 6, self._read: 6, self._create: 2, self._archive: 1,
        }  # fmt: skip
        while not self._crew.stop.is_set():
            [kind] = self._chance.choices(list(kinds), list(kinds.values()))
            self._number += 1
            self._crew.calls += 1
            await kind(f"{self._name}-{self._number}")

    async def _move(self, ref: str) -> None:
        item, delta = self._chance.choice(self._shop.items), self._chance.choice(DELTAS)
        try:
            row = await self._stock.add_movement(item, Decimal(delta) / 2, ref, key=ref)
        except ApiProblem as problem:
            self._refused(problem, ref, 404, 409)
        else:
            self._row(ref, row)

    async def _count(self, ref: str) -> None:
        item = self._chance.choice(self._shop.items)
        try:
            found = await self._stock.set_quantity(item, self._chance.randrange(25), ref, key=ref)
        except ApiProblem as problem:
            self._refused(problem, ref, 404)
        else:
            self._crew.note("row", reason=ref, item=item, new=found.quantity)

    async def _batch(self, ref: str) -> None:
        changes = [
            Change(
                item_id=self._chance.choice(self._shop.items),
                delta=self._chance.choice(DELTAS),
                reason=f"{ref}.{place}",
            )
            for place in range(self._chance.randint(2, 5))
        ]
        mode = self._chance.choice(("all", "each"))
        try:
            results = await self._stock.add_movements(changes, mode=mode, key=ref)
        except ApiProblem as problem:
            for change in changes:
                self._refused(problem, change.reason, 404, 409)
            return
        for change, result in zip(changes, results, strict=True):
            if result.movement is not None:
                self._row(change.reason, result.movement)
            else:
                assert result.status in (404, 409), result
                self._crew.note("refused", reason=change.reason)

    async def _edit(self, ref: str) -> None:
        item = self._chance.choice(self._shop.edited)
        try:
            found = await self._stock.item(item)
            edited = await self._stock.change_item(
                item,
                version=found.version,
                category=ref,
                min_threshold=self._chance.choice((None, 2, 8, 14)),
                key=ref,
            )
        except ApiProblem as problem:
            self._expect(problem, 404, 412)
        else:
            self._crew.note("edit", item=item, version=edited.version, category=ref)

    async def _create(self, ref: str) -> None:
        await make_item(self._crew, self._shop, ref, self._shop.edited)

    async def _archive(self, _ref: str) -> None:
        if len(self._shop.edited) > FEWEST_ITEMS:
            item = self._shop.edited.pop(self._chance.randrange(len(self._shop.edited)))
            await self._stock.archive_item(item)
            self._crew.note("archive", item=item)

    async def _ask(self, ref: str) -> None:
        """Ask another shop to refill an item."""
        seller = self._chance.choice([s for s in self._crew.shops if s is not self._shop])
        item = self._chance.choice(self._shop.plain)
        try:
            request = await self._shop.gateway.vendors.contact(
                seller.vendor, item_id=item, quantity=3, message=ref, key=ref
            )
        except ApiProblem as problem:
            self._refused(problem, ref, 409)
        else:
            self._crew.note("request", id=request.id, message=ref)
            seller.asked.append((request.id, "pending"))

    async def _answer(self, ref: str) -> None:
        """Take a request to us one step further."""
        if not self._shop.asked:
            return
        at = self._chance.randrange(len(self._shop.asked))
        request, status = self._shop.asked.pop(at)
        step = NEXT_STEP[status]
        await self._shop.gateway.vendors.set_status(request, step, key=ref)
        self._crew.note("step", id=request, status=step)
        if step in NEXT_STEP:
            self._shop.asked.append((request, step))

    async def _look(self, _ref: str) -> None:
        item = self._chance.choice(self._shop.plain)
        async for row in self._stock.logs(item, limit=10):
            assert row.item_id == item
            break
        async for _ in self._stock.low_stock(limit=10):
            break

    async def _read(self, _ref: str) -> None:
        """Look into the inbox, and read one that is unread."""
        inbox = self._shop.gateway.notifications
        assert await inbox.unread_count() >= 0
        async for unread in inbox.notifications(unread=True, limit=10):
            await inbox.mark_read(unread.id)
            self._crew.note("read", id=unread.id)
            break

    def _row(self, ref: str, row: Movement) -> None:
        self._crew.note(
            "row", reason=ref, id=row.id, item=row.item_id, seq=row.seq, delta=row.delta,
            new=row.new_quantity,
        )  # fmt: skip

    def _refused(self, problem: ApiProblem, ref: str, *expected: int) -> None:
        self._expect(problem, *expected)
        self._crew.note("refused", reason=ref)

    def _expect(self, problem: ApiProblem, *expected: int) -> None:
        if problem.status not in expected:
            raise AssertionError(f"{self._name}: {problem}") from problem


async def make_item(crew: Crew, shop: Shop, name: str, among: list[UUID]) -> None:
    item = await shop.gateway.inventory.create_item(
        name=name, quantity=12, min_threshold=6, key=f"make-{name}"
    )
    crew.note("item", id=item.id, name=name)
    among.append(item.id)


async def _open_shop(url: str, name: str, stack: AsyncExitStack) -> Shop:
    gateway = await stack.enter_async_context(
        Gateway(url, patience=PATIENCE_S, stay_signed_in=True)
    )
    email = f"{name}-{random.SystemRandom().randrange(10**9)}@example.org"
    await gateway.auth.register_once(email=email, name=name, password="ten letters")
    vendor = await gateway.vendors.register_vendor(
        name=name, email=email, phone="1", category="shop", address="Lane 1", city="Kent"
    )
    return Shop(name, gateway, vendor.id)


@asynccontextmanager
async def open_shops(url: str, journal: Path, *, shops: int) -> AsyncIterator[Crew]:
    """Shops with their first items, signed in until the end of the block."""
    async with AsyncExitStack() as stack:
        crew = Crew([], Journal(journal))
        stack.callback(crew.journal.close)
        for number in range(shops):
            shop = await _open_shop(url, f"{journal.stem}-{number}", stack)
            crew.shops.append(shop)
            for place in range(FIRST_ITEMS):
                among = shop.plain if place % 2 else shop.edited
                await make_item(crew, shop, f"{shop.name}.{place}", among)
        yield crew


@asynccontextmanager
async def at_work(crew: Crew, *, hands: int, seed: int) -> AsyncIterator[None]:
    """The hands of all shops work until the end of the block, and finish what they do by then."""
    crew.stop.clear()
    async with asyncio.TaskGroup() as working:
        for shop in crew.shops:
            for number in range(hands):
                name = f"{shop.name}-{seed}-{number}"
                working.create_task(Hand(name, crew, shop).work(), name=name)
        yield
        crew.stop.set()
