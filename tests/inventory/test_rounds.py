"""Changes written together give what they would give one by one."""

import asyncio
import random
from decimal import Decimal

import asyncpg
import pytest

from restock.inventory import rounds as rounds_module
from restock.inventory.rounds import ALONE_MOST, Rounds
from restock.inventory.schemas import Movement
from restock.inventory.store import changes
from restock.inventory.store.items import KeyTaken
from restock.kernel.database import Database, DatabaseAway
from tests.inventory.together import busy_alone, make, movement


async def test_each_of_a_round_has_its_own_answer(room, ada, eve, gate):
    item, low, gone, counted = [await room.made(ada, quantity=10) for _ in range(4)]
    others = [await room.made(ada, quantity=10) for _ in range(5)]
    hers = await room.made(eve)
    await room.archive(ada, gone)
    done = await room.move(ada, item, -1, key="done")
    async with busy_alone(room, ada):
        gate.open.clear()
        first = asyncio.create_task(room.move(ada, others[0], -1))
        await gate.begun.wait()
        asked = [
            room.move(ada, others[1], -1, key="fresh"),
            room.move(ada, low, -11),
            room.move(ada, gone, -1),
            room.move(ada, hers, -1),
            room.move(ada, item, -1, key="done"),
            room.move(ada, others[2], -1, key="done"),
            room.move(ada, others[3], 999_999_999),
            room.move(ada, others[4], -2, note="n", ref="r", occurredAt="2020-01-01T00:00:00Z"),
            room.count(ada, counted, 5, expectedVersion=7),
            room.count(ada, others[0], 5, expectedVersion=2),
        ]
        tasks = [asyncio.create_task(call) for call in asked]
        queue = room.service.context.resources._queues[ada.workspace_id]
        async with asyncio.timeout(10):
            while sum(map(len, queue.waiting.values())) < len(tasks):
                await asyncio.sleep(0.01)
        gate.open.set()
        answers = await asyncio.gather(first, *tasks)
    assert [answer.status for answer in answers] == [
        201, 201, 409, 404, 404, 201, 422, 422, 201, 409, 200
    ]  # fmt: skip
    assert answers[5].json == done.json
    assert answers[2].json["available"] == 10
    assert answers[9].json["version"] == 1
    assert (answers[8].json["note"], answers[8].json["occurredAt"]) == ("n", "2020-01-01T00:00:00Z")
    # one alone, then all movements but the second under a key, then it and what remains
    assert len(gate.rounds[1]) == 7
    assert await room.stock(ada, item) == 9
    assert await room.stock(ada, others[0]) == 5


@pytest.mark.parametrize("seed", range(6))
async def test_any_interleaving_on_few_items_is_as_one_by_one(room, ada, eve, seed, gate):
    chance = random.Random(seed)
    items = [
        (who, await room.made(who, quantity=chance.randrange(8), minThreshold=4))
        for who in (ada, ada, ada, eve)
    ]

    async def ask(number):
        who, item = chance.choice(items)
        key = chance.choice([None, f"k{number}", f"k{number % 7}"])
        if chance.random() < 0.3:
            version = chance.choice([None, None, 3])
            more = {} if version is None else {"expectedVersion": version}
            return await room.count(who, item, chance.randrange(10), key=key, **more)
        return await room.move(who, item, chance.choice([-5, -3, -2, -1, 1, 2, 4]), key=key)

    answers = await asyncio.gather(*(ask(number) for number in range(80)))
    assert {answer.status for answer in answers} <= {200, 201, 404, 409, 422}
    assert any(len(together) > 1 for together in gate.rounds)
    assert all(len({change.who.workspace_id for change in r}) == 1 for r in gate.rounds)
    rows = {}
    alerts = []
    for who, item in items:
        stock, edges = Decimal(0), []
        for row in reversed(await room.logs(who, item)):
            assert (row["previousQuantity"], row["seq"]) == (stock, len(edges) + 1)
            edges.append(edges_of(stock, row["newQuantity"], first=row["seq"] == 1))
            stock = row["newQuantity"]
            rows[row["id"]] = row
        read = (await room.read(who, item)).json
        assert (read["quantity"], read["version"]) == (stock, len(edges))
        alerts += [word for words in edges for word in words]
    made = {answer.json["id"]: answer.json for answer in answers if answer.status == 201}
    assert all(rows[movement_id] == row for movement_id, row in made.items())
    counts = {a.body for a in answers if a.status == 200}
    assert len(rows) == len(items) + len(made) + len(counts)
    assert sorted(alerts) == sorted(await room.alerts(ada) + await room.alerts(eve))


def edges_of(before, after, *, first):
    """The alerts of a change of an item with the threshold 4; a new item had none before."""
    was_low = before <= 4 and not first
    return [
        word
        for word, happened in (
            ("fell_low", after <= 4 and not was_low),
            ("ran_out", after == 0 and before > 0),
            ("recovered", was_low and after > 4),
        )
        if happened
    ]


async def test_what_a_round_did_not_get_at_once_it_leaves_out(room, ada):
    free, taken, keyed = [await room.made(ada) for _ in range(3)]
    database = room.service.context.database
    async with database.tx(tenant=ada.tenant) as other:
        await other.execute("SELECT hold_key($1, $2, 'k')", ada.workspace_id, ada.user_id)
        await other.execute(
            "SELECT FROM items WHERE workspace_id = $1 AND id = $2::text::uuid FOR UPDATE",
            ada.workspace_id,
            taken["id"],
        )
        asked = [movement(ada, item, -1) for item in (free, taken)] + [
            movement(ada, keyed, -1, "k")
        ]
        async with database.tx(single=True, tenant=ada.tenant) as tx:
            made = await changes.make_all(tx, asked)
    assert [row is not None for row in made] == [True, False, False]


async def test_nobody_is_told_of_a_round_that_was_lost(room, ada, gate, postgres):
    items = [await room.made(ada, quantity=10) for _ in range(ALONE_MOST + 6)]
    database = room.service.database_name
    owner = await asyncpg.connect(postgres.owner_url("inventory", database=database))
    admin = await asyncpg.connect(postgres.admin_url(database=database))
    try:
        # where every change stands still, half done
        await owner.execute("BEGIN; LOCK TABLE ledger IN SHARE MODE")
        tasks = [asyncio.create_task(room.move(ada, item, -1)) for item in items]
        for standing in (ALONE_MOST + 1, 1):
            async with asyncio.timeout(10):
                while len(lost := await admin.fetch(STANDING)) < standing:
                    await asyncio.sleep(0.01)
            for row in lost:
                await admin.execute("SELECT pg_terminate_backend($1, 5000)", row["pid"])
        answers = await asyncio.gather(*tasks)
    finally:
        await owner.close()
        await admin.close()
    assert [len(together) for together in gate.rounds] == [1, 5]
    assert {answer.status for answer in answers} == {503}
    assert {await room.stock(ada, item) for item in items} == {10}


STANDING = """
SELECT pid FROM pg_locks WHERE relation = 'ledger'::regclass AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def test_a_round_that_was_undone_is_written_one_by_one(room, ada, monkeypatch):
    async def undone(_tx, _together):
        raise KeyTaken

    monkeypatch.setattr(rounds_module.changes, "make_all", undone)
    items = [await room.made(ada, quantity=10) for _ in range(20)]
    answers = await asyncio.gather(*(room.move(ada, item, -1) for item in items))
    assert {answer.status for answer in answers} == {201}


@pytest.mark.parametrize("failure", [DatabaseAway(), OSError(), asyncpg.AdminShutdownError()])
async def test_a_round_that_may_be_committed_is_not_written_again(room, ada, monkeypatch, failure):
    make_all = changes.make_all

    async def lost(tx, together):
        await make_all(tx, together)
        raise failure

    monkeypatch.setattr(rounds_module.changes, "make_all", lost)
    items = [await room.made(ada, quantity=10) for _ in range(20)]
    database, rounds = room.service.context.database, Rounds(room.service.context.database)
    calls = [make(database, rounds, movement(ada, item, -1)) for item in items]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert failure in answers
    assert {await room.stock(ada, item) for item in items} == {9}


async def test_two_workers_are_as_one(room, ada, gate):
    items = [await room.made(ada, quantity=50, minThreshold=32) for _ in range(12)]
    mine = room.service.context.database
    other = Database(room.service.context.settings.database_url, size=4)
    try:
        workers = [(mine, Rounds(mine)), (other, Rounds(other))]
        calls = []
        for number in range(240):
            # each key twice, by the two workers in turn, and not at the same time
            database, rounds = workers[number % 2]
            item = items[number * 7 % 12] if number % 4 < 2 else items[11 - number * 5 % 12]
            calls.append((database, rounds, movement(ada, item, -1, f"k{number}")))
        both = [*calls, *((*workers[1 - n % 2], change) for n, (_, _, change) in enumerate(calls))]
        made = await asyncio.gather(*(make(*call) for call in both), return_exceptions=True)
    finally:
        await other.close()
    rows = [row for row in made if isinstance(row, Movement)]
    assert len({row.id for row in rows}) == len(rows) == 240
    assert all(isinstance(row, Movement | KeyTaken) for row in made)
    assert any(len(together) > 1 for together in gate.rounds)
    assert sum([await room.stock(ada, item) for item in items]) == 12 * 50 - 240
    low = [item for item in items if await room.stock(ada, item) <= 32]
    assert await room.alerts(ada) == ["fell_low"] * len(low)


async def test_batches_and_rounds_of_the_same_items(room, ada, gate):
    items = [await room.made(ada, quantity=100, minThreshold=None) for _ in range(8)]
    moves = [room.move(ada, item, -1) for item in items * 8]
    batches = [
        room.batch(ada, "all", *((item, -1) for item in order))
        for order in (items, items[::-1], items[3:] + items[:3]) * 4
    ]
    pairs = zip(moves, batches, strict=False)
    together = [call for pair in pairs for call in pair]
    answers = await asyncio.gather(*together, *moves[len(batches) :])
    assert {answer.status for answer in answers} == {200, 201}
    assert any(len(together) > 1 for together in gate.rounds)
    assert [await room.stock(ada, item) for item in items] == [100 - 8 - 12] * 8
