"""Who waits for a turn in a round: it comes soon, or he is refused and nothing was changed."""

import asyncio
from uuid import UUID

from restock.inventory import rounds as rounds_module
from restock.inventory.rounds import ALONE_MOST, Rounds, open_rounds
from restock.inventory.store import changes
from restock.kernel.database import Database
from tests.inventory.together import KEPT_WAITING, busy_alone, make, movement


async def test_who_goes_away_is_written_whole_or_not_at_all(room, ada, gate):
    items = [await room.made(ada, quantity=10) for _ in range(4)]
    database, rounds = room.service.context.database, Rounds(room.service.context.database)
    gate.open.clear()
    alone = [movement(ada, await room.made(ada), -1) for _ in range(ALONE_MOST)]
    tasks = [
        asyncio.create_task(make(database, rounds, change))
        for change in [*alone, *(movement(ada, item, -1) for item in items)]
    ]
    await gate.begun.wait()
    in_round, waiting = tasks[ALONE_MOST], tasks[-1]
    in_round.cancel()
    waiting.cancel()
    gate.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [
        *[False] * ALONE_MOST, True, False, False, True
    ]  # fmt: skip
    await rounds.drain()
    assert [await room.stock(ada, item) for item in items] == [9, 9, 9, 10]
    assert rounds._queues == {}


async def test_who_waits_for_a_turn_holds_no_connection(room, ada):
    item = await room.made(ada, quantity=1)
    database = Database(room.service.context.settings.database_url, size=1)
    rounds = Rounds(database)
    try:
        async with database.tx(single=True, tenant=ada.tenant) as tx:
            assert await rounds.make(tx, movement(ada, item, -99)) is None
            other = asyncio.create_task(make(database, rounds, movement(ada, item, 1)))
            await asyncio.sleep(0)  # it takes its turn, and the only connection
            assert await rounds.make(tx, movement(ada, item, -1)) is not None
        assert await other is not None
    finally:
        await database.close()


async def test_whose_turn_does_not_come_is_refused_for_good(room, ada, monkeypatch):
    monkeypatch.setattr(rounds_module, "TURN_WITHIN_S", 0.05)
    item, free = await room.made(ada, quantity=10), await room.made(ada, quantity=10)
    async with room.service.context.database.tx(tenant=ada.tenant) as tx:
        await tx.execute(
            "SELECT FROM items WHERE workspace_id = $1 AND id = $2 FOR UPDATE",
            ada.workspace_id,
            UUID(item["id"]),
        )
        first = asyncio.create_task(room.move(ada, item, -1))
        async with asyncio.timeout(10):
            while not await tx.fetchval(KEPT_WAITING):
                await asyncio.sleep(0.01)
        refused = await asyncio.gather(*(room.move(ada, item, -1) for _ in range(3)))
        assert [answer.json["code"] for answer in refused] == ["inventory.item_busy"] * 3
        assert (await room.move(ada, free, -1)).status == 201
    assert (await first).status == 201
    assert await room.stock(ada, item) == 9
    assert room.service.context.resources._queues == {}


async def test_who_is_taken_into_a_round_is_not_refused_any_more(room, ada, gate, monkeypatch):
    """A timer may go off between the taking and the writing."""
    write = Rounds._write

    def write_late(rounds, workspace_id, queue, following):
        for asked in following:
            rounds_module._give_up(asked)
        return write(rounds, workspace_id, queue, following)

    monkeypatch.setattr(Rounds, "_write", write_late)
    items = [await room.made(ada, quantity=10) for _ in range(8)]
    answers = await asyncio.gather(*(room.move(ada, item, -1) for item in items))
    assert gate.rounds
    assert {answer.status for answer in answers} == {201}
    assert {await room.stock(ada, item) for item in items} == {9}


async def test_whose_time_ends_in_a_round_that_leaves_him_out_is_refused(
    room, ada, gate, monkeypatch
):
    monkeypatch.setattr(rounds_module, "TURN_WITHIN_S", 0.05)
    went_off, give_up = asyncio.Event(), rounds_module._give_up

    def noted(asked):
        give_up(asked)
        if asked.in_round:
            went_off.set()

    monkeypatch.setattr(rounds_module, "_give_up", noted)
    held = await room.made(ada, quantity=10)
    async with busy_alone(room, ada), room.service.context.database.tx(tenant=ada.tenant) as tx:
        await tx.execute(
            "SELECT FROM items WHERE workspace_id = $1 AND id = $2 FOR UPDATE",
            ada.workspace_id,
            UUID(held["id"]),
        )
        gate.open.clear()
        late = asyncio.create_task(room.move(ada, held, -1))
        async with asyncio.timeout(10):
            await went_off.wait()
        assert not late.done()
        gate.open.set()
        assert (await late).json["code"] == "inventory.item_busy"
    assert await room.stock(ada, held) == 10


async def test_what_rounds_left_out_goes_on_few_at_a_time(room, ada, gate, monkeypatch):
    """However many items somebody has: others of the service still get a connection."""
    items = [await room.made(ada, quantity=10) for _ in range(20)]
    at_once = most = 0
    make_one = changes.make

    async def counted_make(tx, change):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await make_one(tx, change)
        finally:
            at_once -= 1

    monkeypatch.setattr(rounds_module.changes, "make", counted_make)
    answers = await asyncio.gather(*(room.move(ada, item, -11) for item in items))
    assert {answer.status for answer in answers} == {409}
    assert any(len(together) > 1 for together in gate.rounds)
    assert most <= 2 * ALONE_MOST


async def test_a_stop_waits_for_the_round_under_way(room, ada, gate):
    items = [await room.made(ada, quantity=10) for _ in range(6)]
    database = room.service.context.database
    gate.open.clear()
    async with open_rounds(room.service.context) as rounds:
        tasks = [
            asyncio.create_task(make(database, rounds, movement(ada, item, -1))) for item in items
        ]
        await gate.begun.wait()
        asyncio.get_running_loop().call_soon(gate.open.set)
    assert all(asked.done() for asked in tasks[ALONE_MOST : ALONE_MOST + 1])
    await asyncio.gather(*tasks)
    assert {await room.stock(ada, item) for item in items} == {9}
