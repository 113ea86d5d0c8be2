"""Alerts are edges: what the outbox holds, whatever is done to an item."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

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
