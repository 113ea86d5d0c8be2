"""The pool: few connections, in the order of asking, none of them in doubt."""

import asyncio
import re
from typing import Any

import asyncpg
import pytest

from restock.engines.nats import NatsEngine
from restock.kernel import database as database_module
from restock.kernel import pool as pool_module
from restock.kernel.database import Database, DatabaseAway
from restock.kernel.pool import Pool
from tests.fixtures.tokens import token_for
from tests.kernel.conftest import MakeSample


class Line:
    """Stands in for a connection."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    def is_closed(self) -> bool:
        return self.closed.is_set()

    def terminate(self) -> None:
        self.closed.set()

    async def close(self) -> None:
        self.closed.set()


class Server:
    """Makes connections; refuses while it is away."""

    def __init__(self) -> None:
        self.made: list[Line] = []
        self.away = False
        self.refusing = asyncio.Event()

    async def connect(self) -> Any:
        if self.away:
            await self.refusing.wait()
            raise ConnectionRefusedError
        self.made.append(Line())
        return self.made[-1]


async def settled() -> None:
    """Whatever can go on by now has."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_connections_are_made_when_needed_and_used_again() -> None:
    server = Server()
    pool = Pool(server.connect, 2)
    first = await pool.acquire()
    second = await pool.acquire()
    pool.release(first)
    assert await pool.acquire() is first
    pool.release(second)
    pool.release(first)
    assert len(server.made) == 2


async def test_who_waits_is_served_in_the_order_of_asking() -> None:
    pool = Pool(Server().connect, 1)
    lent = await pool.acquire()
    order: list[int] = []

    async def borrow(number: int) -> None:
        connection = await pool.acquire()
        order.append(number)
        await asyncio.sleep(0)
        pool.release(connection)

    waiting = [asyncio.create_task(borrow(number)) for number in range(5)]
    await settled()
    pool.release(lent)
    late = asyncio.create_task(borrow(5))  # comes when one is free, and does not pass the others
    await asyncio.gather(*waiting, late)
    assert order == [0, 1, 2, 3, 4, 5]


async def test_who_gave_up_waiting_keeps_no_connection() -> None:
    pool = Pool(Server().connect, 1)
    lent = await pool.acquire()
    early, late, last = (asyncio.create_task(pool.acquire()) for _ in range(3))
    await settled()
    early.cancel()
    await settled()
    pool.release(lent)
    late.cancel()  # it was given the connection already, and never sees it
    assert await last is lent
    assert early.cancelled()
    assert (await asyncio.gather(late, return_exceptions=True))[0].__class__ is (
        asyncio.CancelledError
    )


async def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "ACQUIRE_TIMEOUT_S", 0.01)
    pool = Pool(Server().connect, 1)
    lent = await pool.acquire()
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(3)]
    for waiter in waiting:
        with pytest.raises(TimeoutError):
            await waiter
    pool.release(lent)
    assert await pool.acquire() is lent


async def test_what_the_server_closed_is_not_lent_again() -> None:
    server = Server()
    pool = Pool(server.connect, 1)
    lent: Any = await pool.acquire()
    pool.release(lent)
    lent.closed.set()
    again: Any = await pool.acquire()
    assert again is not lent
    again.closed.set()
    waiting = asyncio.create_task(pool.acquire())
    await settled()
    pool.release(again)
    assert await waiting is server.made[2]


async def test_a_connection_that_can_not_be_made_leaves_its_place_to_the_next() -> None:
    server = Server()
    server.away = True
    pool = Pool(server.connect, 1)
    first, second = (asyncio.create_task(pool.acquire()) for _ in range(2))
    await settled()
    server.away = False
    server.refusing.set()
    with pytest.raises(ConnectionRefusedError):
        await first
    assert await second is server.made[0]


async def test_renewed_it_lends_none_of_its_connections_again() -> None:
    server = Server()
    pool = Pool(server.connect, 3)
    lent, unused = await pool.acquire(), await pool.acquire()
    pool.release(unused)
    pool.renew()
    assert [line.is_closed() for line in server.made] == [False, True]
    pool.release(lent)  # which did its work to the end
    assert lent.is_closed()
    again = await pool.acquire()
    pool.release(again)
    assert await pool.acquire() is again
    assert len(server.made) == 3


async def test_connections_end_where_the_tables_serve_the_program_no_more(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in use too, and though nobody looks at the service's health."""
    monkeypatch.setattr(database_module, "WATCH_EVERY_S", 0.05)
    monkeypatch.setattr(database_module, "PING_FRESH_S", 0.05)
    notes = await make_sample(nats=nats, pool_size="2")
    owner = await asyncpg.connect(notes.owner._url)
    was = await owner.fetchrow("SELECT version_num, serves FROM alembic_version")
    stand = "UPDATE alembic_version SET version_num = $1, serves = $2"

    async def answers(status: int) -> None:
        async with asyncio.timeout(20):
            while (await notes.ask("GET", "/api/notes", token=token_for())).status != status:
                await asyncio.sleep(0.01)

    async with notes.context.database.tx() as tx:
        assert await tx.fetchval("SELECT 1") == 1
        await answers(200)  # by the other connection: none has to be made
        await owner.execute(stand, "9001", "9001")
        await answers(503)
        assert await tx.fetchval("SELECT 2") == 2  # what was begun comes to its end
    assert (await notes.ask("GET", "/api/notes", token=token_for())).status == 503
    await owner.execute(stand, *was)
    await answers(200)
    await owner.close()


async def test_what_a_rush_left_behind_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "UNUSED_S", 0.0)
    server = Server()
    pool = Pool(server.connect, 3)
    lent = [await pool.acquire() for _ in range(3)]
    pool.release(lent[0])
    pool.release(lent[1])
    async with asyncio.timeout(5):
        await server.made[0].closed.wait()
        await server.made[1].closed.wait()
    assert not server.made[2].is_closed()


async def test_closing_waits_for_what_is_lent() -> None:
    server = Server()
    pool = Pool(server.connect, 2)
    lent, unused = await pool.acquire(), await pool.acquire()
    pool.release(unused)
    closing = asyncio.create_task(pool.close())
    await settled()
    assert not closing.done()
    with pytest.raises(asyncpg.InterfaceError):
        await pool.acquire()
    pool.release(lent)
    await closing
    assert all(line.is_closed() for line in server.made)


async def test_who_waits_while_it_closes_waits_no_longer() -> None:
    server = Server()
    pool = Pool(server.connect, 1)
    lent = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await settled()
    closing = asyncio.create_task(pool.close())
    with pytest.raises(asyncpg.InterfaceError):
        await waiting
    pool.release(lent)
    await closing
    assert lent.is_closed()


async def test_what_is_made_while_it_closes_is_not_lent() -> None:
    server = Server()
    made, going_on = Line(), asyncio.Event()

    async def connect() -> Any:
        await going_on.wait()
        return made

    pool = Pool(connect, 1)
    asked = asyncio.create_task(pool.acquire())
    await settled()
    await pool.close()
    going_on.set()
    with pytest.raises(asyncpg.InterfaceError):
        await asked
    assert made.is_closed()
    assert not server.made


async def test_what_is_never_given_back_is_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CLOSE_TIMEOUT_S", 0.01)
    server = Server()
    pool = Pool(server.connect, 1)
    await pool.acquire()
    await pool.close()
    assert server.made[0].is_closed()


async def test_a_statement_given_up_leaves_no_connection_in_doubt(make_sample: MakeSample) -> None:
    notes = await make_sample(pool_size="1")
    database = notes.context.database
    async with database.tx(single=True) as tx:
        process = await tx.fetchval("SELECT pg_backend_pid()")

    async def sleep() -> None:
        async with database.tx(single=True) as tx:
            await tx.execute("SELECT pg_sleep(60)")

    sleeping = asyncio.create_task(sleep())
    await settled()
    sleeping.cancel()
    await asyncio.gather(sleeping, return_exceptions=True)
    async with database.tx(single=True) as tx:
        assert await tx.fetchval("SELECT pg_backend_pid()") != process


async def test_the_database_is_used_again_when_it_is_back(make_sample: MakeSample) -> None:
    notes = await make_sample(pool_size="1")
    database = notes.context.database
    with pytest.raises(DatabaseAway):
        async with database.tx(single=True) as tx:
            await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    async with database.tx(single=True) as tx:
        assert await tx.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("place", ["another-password@", "/nowhere", "/template0", "/restock_auth"])
async def test_a_database_that_does_not_let_us_in_is_away(
    make_sample: MakeSample, place: str
) -> None:
    """So its service answers 503, and no event is given up for it.

    template0 takes nobody in, and another service's database not us.
    """
    notes = await make_sample()
    pattern = "(?<=:)[^:@]+@" if place.endswith("@") else "/[^/?]+(?=[?]|$)"
    url, changed = re.subn(pattern, place, notes.context.settings.database_url)
    assert changed == 1
    database = Database(url, size=1)
    with pytest.raises(DatabaseAway):
        async with database.tx(single=True) as tx:
            await tx.fetchval("SELECT 1")
    assert not await database.ping()
    await database.close()


async def test_a_mistake_in_a_statement_is_not_taken_for_it(make_sample: MakeSample) -> None:
    notes = await make_sample()
    for mistake in ("SELECT lastval()", "SELECT pg_read_file('x')"):
        with pytest.raises(asyncpg.PostgresError):
            async with notes.context.database.tx(single=True) as tx:
                await tx.fetchval(mistake)
