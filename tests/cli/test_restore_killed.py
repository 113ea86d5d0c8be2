"""A restore into databases of one's own that was killed: nobody takes them for whole."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from restock.cli.local_system import StartFailed, _is_current
from restock.cli.migrate import migrate
from restock.engines.postgres import PostgresEngine
from restock.kernel.revision import require_served
from tests.cli.commands import RESTOCK, clean_environment, ran
from tests.cli.contents import Urls, asked, everything
from tests.cli.restoring import refusal, settings_of
from tests.fixtures.ports import free_offset

UNFINISHED = "a restore into the database of {} is not finished: if it was cut short, empty every"
# Where a restore waits for us: in a load, in the step after all of them. Once a table of an earlier
# load is there it is begun, and not yet that far.
HELD = {
    "loading": ("notification", "feeds", "auth", "CREATE TABLE accounts ()"),
    "finishing": ("vendor", "vendors", "notification", "LOCK TABLE feeds"),
}
WAITS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
# What is left of the restore: its pg_restore, say, which may have read all it needs to go on.
END_OTHERS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize("point", HELD)
async def test_databases_of_ones_own_that_are_not_whole_are_never_started(
    make_urls: Callable[..., Awaitable[Urls]],
    postgres: PostgresEngine,
    full: Urls,
    file: Path,
    tmp_path: Path,
    point: str,
) -> None:
    urls = await make_urls(full=False)
    await killed(file, urls, *HELD[point])
    before = await everything(urls)
    assert ("auth.accounts" in before) == (point == "finishing")
    for service, url in urls.items():
        await nobody_takes_it_for_whole(service, url, postgres)
    said, new = UNFINISHED.format("notification"), tmp_path / "b.restock"
    assert said in await refusal(str(file), **settings_of(urls))
    assert said in (await ran("backup", str(new), **settings_of(urls))).err
    assert not new.exists()
    assert await everything(urls) == before
    for url in urls.values():
        await asked(url, "DROP OWNED BY CURRENT_USER")
    again = await ran("restore", str(file), **settings_of(urls))
    assert again.code == 0, again.err
    assert await everything(urls) == await everything(full)
    for service, url in urls.items():
        connection = await asyncpg.connect(as_service(service, url, postgres))
        await require_served(service, connection)
        await connection.close()


async def killed(file: Path, urls: Urls, loaded: str, table: str, service: str, held: str) -> None:
    """A restore that ends by kill -9 while it waits for what we hold, see HELD."""
    begun = f"SELECT FROM pg_tables WHERE tablename = '{table}'"
    process = await asyncio.create_subprocess_exec(
        *RESTOCK, "restore", str(file), env=clean_environment(**settings_of(urls))
    )
    async with asyncio.timeout(60):
        while not await asked(urls[loaded], begun):
            await asyncio.sleep(0.05)
        holding = await asyncpg.connect(urls[service])
        await holding.execute(f"BEGIN; {held}")
        while not await asked(urls[service], WAITS):
            assert process.returncode is None
            await asyncio.sleep(0.05)
    process.kill()
    await process.wait()
    assert await asked(urls[service], END_OTHERS)
    await holding.close()


async def nobody_takes_it_for_whole(service: str, url: str, postgres: PostgresEngine) -> None:
    """`restock migrate`, `restock up` and `restock run` refuse it with a sentence."""
    said, setting = UNFINISHED.format(service), f"RESTOCK_{service.upper()}_MIGRATE_URL"
    runner = CliRunner(env={setting: url})
    result = await asyncio.to_thread(runner.invoke, migrate, [service])
    assert (result.exit_code, said in result.stderr) == (1, True), result.output
    with pytest.raises(StartFailed, match=said):
        await _is_current(service, url)
    own = as_service(service, url, postgres)
    started = await ran(
        "run",
        service,
        **{f"RESTOCK_{service.upper()}_DATABASE_URL": own},
        RESTOCK_PORT_OFFSET=str(free_offset()),
    )
    assert (started.code, said in started.err) == (1, True), started.err


def as_service(service: str, url: str, postgres: PostgresEngine) -> str:
    return postgres.service_url(service, database=str(conninfo_to_dict(url)["dbname"]))
