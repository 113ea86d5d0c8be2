"""Many at once: nothing is lost, nothing happens twice, nobody waits for ever."""

import asyncio
from collections import Counter

import pytest

from restock.inventory.rounds import Rounds
from restock.inventory.store import changes
from restock.kernel import idempotency
from tests.inventory.stockroom import account


@pytest.fixture(autouse=True, params=["in this worker", "in the database"])
def meeting(request, monkeypatch):
    """Where changes meet: in the rounds of one worker or, as those of several do, in PostgreSQL."""

    async def make(_rounds, tx, change):
        return await changes.make(tx, change)

    if request.param == "in the database":
        monkeypatch.setattr(Rounds, "make", make)


async def statuses(*calls) -> Counter:
    return Counter(answer.status for answer in await asyncio.gather(*calls))


async def test_800_takeaways_at_once_are_800_rows(room, ada):
    item = await room.made(ada, quantity=1000, minThreshold=None)
    made = await statuses(*(room.move(ada, item, -1) for _ in range(800)))
    assert made == {201: 800}
    assert await room.stock(ada, item) == 200
    rows = await room.service.fetch(
        """
        SELECT seq, previous_quantity, new_quantity, created_at FROM ledger
        WHERE workspace_id = $1 ORDER BY seq
        """,
        ada.workspace_id,
    )
    assert [row["seq"] for row in rows] == list(range(1, 802))
    assert [row["new_quantity"] for row in rows] == list(range(1000, 199, -1))
    assert [row["previous_quantity"] for row in rows[1:]] == list(range(1000, 200, -1))
    moments = [row["created_at"] for row in rows[1:]]
    assert moments == sorted(moments)


async def test_96_takeaways_of_60_leave_none_and_alert_once(room, ada):
    item = await room.made(ada, quantity=60, minThreshold=30)
    made = await statuses(*(room.move(ada, item, -1) for _ in range(96)))
    assert made == {201: 60, 409: 36}
    assert await room.stock(ada, item) == 0
    assert len(await room.logs(ada, item)) == 61
    assert await room.alerts(ada) == ["fell_low", "ran_out"]


async def test_50_duplicates_of_a_movement_are_one(room, ada):
    item = await room.made(ada, quantity=10)
    answers = await asyncio.gather(*(room.move(ada, item, -7, key="k") for _ in range(50)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert await room.stock(ada, item) == 3
    assert len(await room.logs(ada, item)) == 2
    assert await room.alerts(ada) == ["fell_low"]


async def test_50_duplicates_of_a_count_are_one(room, ada):
    item = await room.made(ada, quantity=10)
    answers = await asyncio.gather(
        *(room.count(ada, item, 3, key="k", expectedVersion=1) for _ in range(50))
    )
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len(await room.logs(ada, item)) == 2


async def test_50_duplicates_of_a_new_item_are_one(room, ada):
    for sku in (None, "A"):
        answers = await asyncio.gather(
            *(room.create(ada, key=f"k-{sku}", sku=sku, quantity=1) for _ in range(50))
        )
        assert {answer.status for answer in answers} == {201}
        assert len({answer.body for answer in answers}) == 1
    assert len((await room.ask(ada, "GET", "/items")).json) == 2
    assert await room.alerts(ada) == ["fell_low", "fell_low"]


async def test_50_duplicates_of_a_batch_are_one(room, ada):
    tea, nuts = await room.made(ada, quantity=10), await room.made(ada, quantity=1)
    moves = [(nuts, -2), (tea, -6), (nuts, -1), (tea, -6)]
    answers = await asyncio.gather(*(room.batch(ada, "each", *moves, key="k") for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert (await room.stock(ada, tea), await room.stock(ada, nuts)) == (4, 0)


async def test_two_requests_of_one_key_have_one_effect(room, ada):
    items = [await room.made(ada) for _ in range(4)]
    calls = [room.move(ada, item, -1, key="k") for item in items[:2]]
    calls += [room.batch(ada, "all", (item, -1), key="k") for item in items[2:]]
    calls += [room.create(ada, key="k", name=name) for name in ("a", "b")]
    made = await statuses(*calls)
    assert made[422] == 5
    assert sum(made[status] for status in (200, 201)) == 1
    listed = (await room.ask(ada, "GET", "/items")).json
    moved = sum(10 - item["quantity"] for item in listed)
    assert (len(listed), moved) in {(4, 1), (5, 0)}


CALLS = {
    "move": lambda room, who, item, key: room.move(who, item, -1, key=key),
    "count": lambda room, who, item, key: room.count(who, item, 9, key=key),
    "batch": lambda room, who, item, key: room.batch(who, "all", (item, -1), key=key),
    "create": lambda room, who, _item, key: room.create(who, key=key),
    "edit": lambda room, who, item, key: edit_under(room, who, item, key),
}


@pytest.mark.parametrize("kind", sorted(CALLS))
async def test_an_edit_and_another_call_under_one_key_are_one_effect(room, ada, kind):
    for number in range(20):
        item, other = await room.made(ada, quantity=10), await room.made(ada)
        key = f"k{number}"
        call = CALLS[kind](room, ada, item, key)
        made = await statuses(call, edit_under(room, ada, other, key))
        assert made[422] == 1, made
        assert sum(made[status] for status in (200, 201)) == 1


@pytest.mark.parametrize("outcome", [200, 404])
@pytest.mark.parametrize("kind", sorted(CALLS))
async def test_a_call_waits_for_the_answer_of_an_edit_under_its_key(
    room, ada, monkeypatch, kind, outcome
):
    """The edit stands where its effect is made or undone, and its answer isn't kept yet."""
    item, other, edited = [await room.made(ada, quantity=10) for _ in range(3)]
    if outcome == 404:
        await room.archive(ada, edited)
    standing, go_on = asyncio.Event(), asyncio.Event()
    keep = idempotency.keep

    async def stand_and_keep(*asked):
        standing.set()
        await go_on.wait()
        await keep(*asked)

    monkeypatch.setattr(idempotency, "keep", stand_and_keep)
    editing = asyncio.create_task(edit_under(room, ada, edited, "k"))
    async with asyncio.timeout(10):
        await standing.wait()
    calling = asyncio.create_task(CALLS[kind](room, ada, item, "k"))
    try:
        await waiting_for_locks(room, 1)
        assert (await room.move(ada, other, -1, key="other")).status == 201
    finally:
        go_on.set()
        answers = await asyncio.gather(editing, calling)
    assert [answer.status for answer in answers] == [outcome, 422]
    assert (await room.read(ada, item)).json == item


async def test_an_edit_waits_for_a_change_of_stock_under_its_key(room, ada):
    item, other = await room.made(ada), await room.made(ada)
    async with room.service.context.database.tx(tenant=ada.tenant) as tx:
        await tx.execute(
            "SELECT FROM items WHERE workspace_id = $1 AND id = $2::text::uuid FOR UPDATE",
            ada.workspace_id,
            item["id"],
        )
        moving = asyncio.create_task(room.move(ada, item, -1, key="k"))
        await waiting_for_locks(room, 1)
        editing = asyncio.create_task(edit_under(room, ada, other, "k"))
        await waiting_for_locks(room, 2)
    assert (await moving).status == 201
    assert (await editing).status == 422
    assert (await room.read(ada, other)).json == other


async def edit_under(room, who, item, key):
    path = f"/items/{item['id']}"
    return await room.ask(who, "PATCH", path, json={"name": "x"}, if_match='"1"', key=key)


async def waiting_for_locks(room, number):
    """Return when so many of the service's statements wait for a lock: its own role sees that."""
    waiting = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    async with asyncio.timeout(10), room.service.context.database.tx() as tx:
        while number != await tx.fetchval(waiting):
            await asyncio.sleep(0.01)
            await tx.fetchval("SELECT pg_stat_clear_snapshot()")


async def test_one_of_many_new_items_gets_the_sku(room, ada):
    made = await statuses(*(room.create(ada, sku="A") for _ in range(30)))
    assert made == {201: 1, 409: 29}


async def test_one_of_many_edits_at_a_version_is_made(room, ada):
    item = await room.made(ada)
    made = await statuses(*(room.edit(ada, item, name=f"n{n}") for n in range(30)))
    assert made == {200: 1, 412: 29}
    made = await statuses(*(room.count(ada, item, n, expectedVersion=2) for n in range(30)))
    assert made == {200: 1, 409: 29}
    assert (await room.read(ada, item)).json["version"] == 3


async def test_batches_that_cross_wait_for_each_other(room, ada):
    items = [await room.made(ada, quantity=100, minThreshold=None) for _ in range(4)]
    there, back = [(item, -1) for item in items], [(item, -1) for item in items[::-1]]
    made = await statuses(
        *(
            room.batch(ada, mode, *moves)
            for _ in range(20)
            for mode, moves in (("all", there), ("each", back))
        ),
        *(room.move(ada, items[0], -1) for _ in range(20)),
    )
    assert made == {200: 40, 201: 20}
    assert [await room.stock(ada, item) for item in items] == [40, 60, 60, 60]


async def test_movements_while_the_item_is_edited_and_archived(room, ada):
    item = await room.made(ada, quantity=100, minThreshold=None)

    async def rename(number: int):
        current = (await room.read(ada, item)).json
        return await room.edit(ada, current, name=f"n{number}")

    calls = [room.move(ada, item, -1) for _ in range(60)] + [rename(n) for n in range(20)]
    answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers[:60]} == {201}
    edits = sum(answer.status == 200 for answer in answers[60:])
    assert (await room.read(ada, item)).json["version"] == 61 + edits
    assert await room.stock(ada, item) == 40

    archived, *moved = await asyncio.gather(
        room.archive(ada, item), *(room.move(ada, item, -1) for _ in range(40))
    )
    assert archived.status == 204
    made = sum(answer.status == 201 for answer in moved)
    assert {answer.status for answer in moved} <= {201, 404}
    assert len(await room.logs(ada, item)) == 61 + made


async def test_workspaces_do_not_wait_for_each_other(room, ada):
    """Somebody's lock on an item holds up nobody but those who want that item."""
    item = await room.made(ada)
    other = await room.made(ada)
    eve = account()
    hers = await room.made(eve)
    async with room.service.context.database.tx(tenant=ada.tenant) as tx:
        await tx.execute(
            "SELECT FROM items WHERE workspace_id = $1 AND id = $2::text::uuid FOR UPDATE",
            ada.workspace_id,
            item["id"],
        )
        waiting = asyncio.create_task(room.move(ada, item, -1))
        assert (await room.move(ada, other, -1)).status == 201
        assert (await room.move(eve, hers, -1)).status == 201
        assert (await room.read(ada, item)).json == item
        assert not waiting.done()
    assert (await waiting).status == 201
