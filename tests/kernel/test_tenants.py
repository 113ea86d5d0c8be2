"""For whom a statement runs: told in front of it, remembered, and never somebody else's."""

import asyncio
import random

import asyncpg
import pytest
import pytest_asyncio

from restock.kernel import tenants
from restock.kernel.database import Database
from restock.kernel.ids import new_id
from restock.kernel.tenants import EVERYBODY, NOBODY, Tenant

WHO = """
SELECT its_workspace() AS workspace, its_accounts() AS accounts, for_everybody() AS everybody
"""

# whether a connection is in a transaction, be it one that nobody began
OPEN = "SELECT xact_start IS NOT NULL FROM pg_stat_activity WHERE pid = $1"
ACTIVITY = "SELECT true FROM pg_stat_activity WHERE pid = $1"


# no note is ever committed
NEVER = """
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
CREATE CONSTRAINT TRIGGER never AFTER INSERT ON notes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION never();
"""


def somebody() -> Tenant:
    return Tenant(new_id(), (new_id(), new_id()))


async def told(database, tenant, **more):
    """For whom PostgreSQL takes a statement of `tenant`."""
    async with database.tx(single=True, tenant=tenant) as tx:
        row = await tx.fetchrow(WHO)
    return Tenant(row["workspace"], tuple(row["accounts"] or ()), bool(row["everybody"]))


@pytest_asyncio.fixture(loop_scope="session")
async def one(postgres):
    """A database by its one connection, which all tenants share."""
    database = Database(postgres.service_url("inventory"), size=1)
    yield database
    await database.close()


async def connection_of(database):
    connection = await database.pool.acquire()
    database.pool.release(connection)
    return connection


async def test_each_statement_runs_for_its_own_tenant(one):
    choice = [NOBODY, EVERYBODY, Tenant(new_id()), Tenant(None, (new_id(),)), somebody()]
    order = random.Random(7)
    for tenant in order.choices(choice, k=60):
        assert await told(one, tenant) == tenant


async def test_many_at_once_on_few_connections_never_meet(postgres):
    database = Database(postgres.service_url("inventory"), size=3)
    crowd = [somebody() for _ in range(20)]
    try:
        answers = await asyncio.gather(*(told(database, tenant) for tenant in crowd * 20))
    finally:
        await database.close()
    assert answers == crowd * 20


async def test_a_new_tenant_costs_no_round_trip_and_the_same_one_nothing(one, monkeypatch):
    ada, eve = somebody(), somebody()
    await told(one, ada)
    connection = await connection_of(one)
    written = []
    transport = connection._transport

    class Watched:
        def write(self, data):
            written.append(data)
            transport.write(data)

    monkeypatch.setattr(connection, "_transport", Watched())
    for tenant, times in ((ada, 0), (eve, 1), (eve, 1), (ada, 2)):
        before = connection._protocol.queries_count
        assert await told(one, tenant) == tenant
        assert connection._protocol.queries_count == before + 1
        assert len(written) == times


async def test_a_transaction_may_change_for_whom_it_works(one):
    ada, eve = somebody(), somebody()
    async with one.tx(tenant=ada) as tx:
        assert await tx.fetchval("SELECT its_workspace()") == ada.workspace_id
        tx.tenant = eve
        assert await tx.fetchval("SELECT its_workspace()") == eve.workspace_id
    assert await told(one, eve) == eve
    assert await told(one, NOBODY) == NOBODY


async def test_what_was_told_in_a_transaction_that_is_undone_is_told_again(one):
    ada, eve = somebody(), somebody()
    await told(one, ada)
    tx = one.begin(tenant=eve)
    assert await tx.fetchval("SELECT its_workspace()") == eve.workspace_id
    await tx.rollback()
    assert await told(one, eve) == eve
    async with one.tx(tenant=ada) as tx:
        await tx.fetchval("SELECT 1")
        await tx.savepoint()
        tx.tenant = eve
        assert await tx.fetchval("SELECT its_workspace()") == eve.workspace_id
        await tx.rollback_to_savepoint()
        assert await tx.fetchval("SELECT its_workspace()") == eve.workspace_id


@pytest.mark.parametrize(
    ("sql", "value", "error"),
    [
        ("SELECT 1 / $1::int", 0, asyncpg.DivisionByZeroError),
        ("SELECT $1::text::uuid", "x", asyncpg.DataError),
        ("SELECT $1::int", "no number", asyncpg.DataError),  # asyncpg itself can't write it
        ("SELECT nothing FROM nowhere WHERE $1", True, asyncpg.UndefinedTableError),
    ],
)
async def test_after_a_failure_the_connection_serves_the_next_tenant(
    one, postgres, sql, value, error
):
    ada, eve = somebody(), somebody()
    other = await asyncpg.connect(postgres.service_url("inventory"))
    await told(one, ada)
    connection = await connection_of(one)
    for tenant in (eve, ada, eve):
        for _ in range(2):
            with pytest.raises(error):
                async with one.tx(single=True, tenant=tenant) as tx:
                    await tx.fetchval(sql, value)
            assert not await other.fetchval(OPEN, connection.get_server_pid())
        assert await told(one, ada) == ada
        with pytest.raises(error):
            async with one.tx(tenant=tenant) as tx:
                await tx.fetchval(sql, value)
        assert await told(one, tenant) == tenant
    assert await connection_of(one) is connection, "it was not made anew"
    await other.close()


async def test_what_was_told_in_a_transaction_that_could_not_be_committed_is_told_again(notes):
    """PostgreSQL looks at a deferred constraint at COMMIT, and undoes everything."""
    ada, eve = somebody(), somebody()
    database = notes.context.database
    owner = await asyncpg.connect(notes.owner._url)
    await owner.execute(NEVER)
    await owner.close()
    for tenant in (ada, eve):
        with pytest.raises(asyncpg.RaiseError):
            async with database.tx(tenant=tenant) as tx:
                await tx.execute(
                    "INSERT INTO notes (workspace_id, text, amount) VALUES ($1, 'x', 1)",
                    tenant.workspace_id,
                )
        assert await told(database, tenant) == tenant


async def test_a_crowd_is_not_kept_ready(one):
    kept = tenants._kept_ready.cache_info().currsize
    crowd = Tenant(None, tuple(new_id() for _ in range(1000)))
    assert await told(one, crowd) == crowd
    assert tenants._kept_ready.cache_info().currsize == kept


async def test_a_statement_of_plain_text_runs_for_its_tenant_too(one):
    ada = somebody()
    async with one.tx(tenant=ada) as tx:
        await tx.execute("SELECT set_config('restock.seen', its_workspace()::text, true)")
        seen = await tx.fetchval("SELECT current_setting('restock.seen')::uuid")
    assert seen == ada.workspace_id


@pytest.mark.parametrize(("seconds", "state"), [(60, "active"), (1, "idle")])
async def test_whoever_is_cancelled_leaves_nobody_his_tenant(one, postgres, seconds, state):
    """PostgreSQL undoes his statement, or has done it and nobody has read so yet."""
    ada, eve = somebody(), somebody()
    other = await asyncpg.connect(postgres.service_url("inventory"))
    await told(one, eve)
    connection = await connection_of(one)
    pid = connection.get_server_pid()

    async def slow():
        async with one.tx(single=True, tenant=ada) as tx:
            await tx.fetchval("SELECT pg_sleep($1)", seconds)

    async def until(condition):
        async with asyncio.timeout(20):
            while not await other.fetchval(f"{ACTIVITY} AND {condition}", pid):
                await asyncio.sleep(0.01)

    task = asyncio.create_task(slow())
    await until("wait_event = 'PgSleep'")
    connection._transport.pause_reading()
    await until(f"state = '{state}'")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    connection._transport.resume_reading()
    for tenant in (eve, ada):
        assert await told(one, tenant) == tenant
    await other.execute("SELECT pg_terminate_backend($1)", pid)
    await other.close()
