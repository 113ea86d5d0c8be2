"""Alerts are edges: what the outbox holds, whatever is done to an item."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restock.events import inventory as events
from tests.inventory.stockroom import account

KINDS = {
    kind.subject: kind
    for kind in vars(events).values()
    if isinstance(kind, type) and hasattr(kind, "subject")
}


def read(row) -> Any:
    """An outbox row as its event; it holds the declared fields and no others."""
    kind = KINDS[row["subject"]]
    declared = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert set(msgspec.json.decode(row["data"])) == declared
    decoder: Callable[[str], Any] = msgspec.json.Decoder(kind, float_hook=Decimal).decode
    return decoder(row["data"])


async def test_a_fall_names_what_fell(room, ada):
    item = await room.made(ada, name="Tea", unit="kg", quantity=5.5, minThreshold=2.25)
    await room.move(ada, item, -3.5)
    created, fell = [read(row) for row in await room.events(ada)]
    assert [str(fell.item_id), str(fell.workspace_id), str(fell.user_id)] == [
        item["id"],
        str(ada.workspace_id),
        str(ada.user_id),
    ]
    assert (fell.name, fell.unit, fell.seq) == ("Tea", "kg", 2)
    assert (fell.quantity, fell.min_threshold) == (2, Decimal("2.25"))
    assert (created.quantity, created.seq) == (Decimal("5.5"), 1)


async def test_numbers_in_events_are_in_their_shortest_form(room, ada):
    item = await room.made(ada, quantity=500, minThreshold=100.5)
    await room.move(ada, item, -400)
    created, fell = [row["data"] for row in await room.events(ada)]
    assert '"quantity": 500,' in created
    assert '"quantity": 100,' in fell
    for data in (created, fell):
        assert '"minThreshold": 100.5}' in data


async def test_the_items_own_events(room, ada):
    item = await room.made(ada, sku="A")
    await room.edit(ada, item, name="Black tea", category="Hot", sku=None, minThreshold=None)
    await room.archive(ada, item)
    rows = await room.events(ada)
    assert [row["subject"] for row in rows] == [
        "inventory.item.created",
        "inventory.item.changed",
        "inventory.item.archived",
    ]
    read_events = [read(row) for row in rows]
    assert [(event.name, event.category, event.sku, event.seq) for event in read_events] == [
        ("Green tea", "Drinks", "A", 1),
        ("Black tea", "Hot", None, 2),
        ("Black tea", "Hot", None, 3),
    ]


async def test_alerts_go_to_whom_the_item_belongs(room, ada):
    item = await room.made(ada, quantity=5, minThreshold=4)
    bob = account(ada.workspace_id)
    await room.move(bob, item, -1)
    fell = read((await room.events(ada))[-1])
    assert fell.user_id == ada.user_id


@pytest.mark.parametrize(
    ("quantity", "threshold", "changes", "alerts"),
    [
        (10, 4, [9, 5, 4], ["fell_low"]),
        (10, 4, [4, 3, 4, 2, 1], ["fell_low"]),
        (10, 4, [0], ["fell_low", "ran_out"]),
        (10, 4, [3, 0, 2, 0], ["fell_low", "ran_out", "ran_out"]),
        (10, 4, [3, 0, 4, 5, 6], ["fell_low", "ran_out", "recovered"]),
        (10, 4, [4, 5, 4, 5], ["fell_low", "recovered", "fell_low", "recovered"]),
        (10, 0, [1, 0, 1], ["fell_low", "ran_out", "recovered"]),
        (10, None, [1, 0, 0, 1], ["ran_out", "recovered"]),
        (0, None, [1], ["recovered"]),
        (0, 4, [0, 4, 5], ["fell_low", "recovered"]),
        (4, 4, [4, 3], ["fell_low"]),
    ],
)
async def test_each_edge_is_told_once(room, ada, quantity, threshold, changes, alerts):
    item = await room.made(ada, quantity=quantity, minThreshold=threshold)
    for counted in changes:
        assert (await room.count(ada, item, counted)).status == 200
    assert await room.alerts(ada) == alerts


@pytest.mark.parametrize(
    ("quantity", "threshold", "later", "alerts"),
    [
        (10, 4, 10, ["fell_low"]),
        (10, None, 11, ["fell_low"]),
        (10, 4, 9, []),
        (4, 4, 3, ["fell_low", "recovered"]),
        (4, 4, None, ["fell_low", "recovered"]),
        (4, 4, 5, ["fell_low"]),
        (0, 4, None, ["fell_low"]),
        (0, None, 0, ["fell_low"]),
    ],
)
async def test_a_moved_threshold_is_an_edge_too(room, ada, quantity, threshold, later, alerts):
    item = await room.made(ada, quantity=quantity, minThreshold=threshold)
    assert (await room.edit(ada, item, minThreshold=later)).status == 200
    assert await room.alerts(ada) == alerts


async def test_a_batch_tells_each_edge_of_its_rows(room, ada):
    tea, nuts = await room.made(ada), await room.made(ada)
    await room.batch(ada, "all", (tea, -6), (nuts, -10), (tea, 6), (tea, -7))
    told = [read(row) for row in await room.events(ada)][2:]
    assert sorted(
        (str(event.item_id), event.seq, type(event).__name__) for event in told
    ) == sorted(
        [
            (tea["id"], 2, "ItemFellLow"),
            (tea["id"], 3, "ItemRecovered"),
            (tea["id"], 4, "ItemFellLow"),
            (nuts["id"], 2, "ItemFellLow"),
            (nuts["id"], 2, "ItemRanOut"),
        ]
    )
    assert [event.quantity for event in told if str(event.item_id) == tea["id"]] == [4, 10, 3]


async def test_what_is_refused_tells_nothing(room, ada):
    item = await room.made(ada)
    await room.move(ada, item, -11)
    await room.batch(ada, "all", (item, -5), (item, -6))
    await room.count(ada, item, 0, expectedVersion=9)
    await room.edit(ada, item | {"version": 9}, minThreshold=100)
    assert await room.alerts(ada) == []


@dataclass
class Model:
    """An item as the contract tells it, in a few lines of its own."""

    stock: int
    threshold: int | None
    told: list[str] = field(default_factory=list)
    rows: int = 1

    def __post_init__(self) -> None:
        if self.low():
            self.told.append("fell_low")

    def low(self) -> bool:
        return self.threshold is not None and self.stock <= self.threshold

    def fine(self) -> bool:
        return self.stock > 0 if self.threshold is None else not self.low()

    def become(self, stock: int, threshold: int | None) -> None:
        was_low, was_fine, was = self.low(), self.fine(), self.stock
        self.stock, self.threshold = stock, threshold
        if self.low() and not was_low:
            self.told.append("fell_low")
        if self.stock == 0 and was > 0:
            self.told.append("ran_out")
        if self.fine() and not was_fine:
            self.told.append("recovered")

    def move(self, delta: int) -> None:
        if self.stock + delta >= 0:
            self.rows += 1
            self.become(self.stock + delta, self.threshold)

    def batch(self, mode: str, deltas: list[int]) -> None:
        if mode == "all":
            if self.stock + sum(deltas) < 0:
                return
            if any(self.stock + sum(deltas[:end]) < 0 for end in range(len(deltas))):
                deltas = [d for d in deltas if d > 0] + [d for d in deltas if d < 0]
        for delta in deltas:
            self.move(delta)


STOCKS = st.integers(0, 8)
THRESHOLDS = st.none() | st.integers(0, 6)
MOVES = st.integers(-6, 6).filter(bool)
CHANGES = st.one_of(
    st.tuples(st.just("move"), MOVES),
    st.tuples(st.just("count"), STOCKS),
    st.tuples(st.just("threshold"), THRESHOLDS),
    st.tuples(st.sampled_from(["all", "each"]), st.lists(MOVES, min_size=1, max_size=5)),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(stock=STOCKS, threshold=THRESHOLDS, changes=st.lists(CHANGES, max_size=15))
async def test_the_outbox_holds_the_edges_and_the_ledger_the_stock(room, stock, threshold, changes):
    ada = account()
    item = await room.made(ada, quantity=stock, minThreshold=threshold)
    model = Model(stock, threshold)
    for kind, value in changes:
        if kind == "move":
            await room.move(ada, item, value)
            model.move(value)
        elif kind == "count":
            await room.count(ada, item, value)
            model.rows += 1
            model.become(value, model.threshold)
        elif kind == "threshold":
            current = (await room.read(ada, item)).json
            await room.edit(ada, current, minThreshold=value)
            model.become(model.stock, value)
        else:
            await room.batch(ada, kind, *((item, delta) for delta in value))
            model.batch(kind, value)
    assert await room.alerts(ada) == model.told
    rows = await room.logs(ada, item)
    assert [row["seq"] for row in rows] == list(range(model.rows, 0, -1))
    assert sum(row["delta"] for row in rows) == model.stock == await room.stock(ada, item)
    seqs = [read(row).seq for row in await room.events(ada)]
    assert seqs == sorted(seqs)
