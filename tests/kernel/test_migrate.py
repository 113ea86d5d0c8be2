"""Migrations: their sum is `tables.sql`, they run once, and an older program stays away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from click.testing import CliRunner

import restock
from restock.cli.migrate import migrate as command
from restock.engines.binaries import postgres_programs
from restock.engines.postgres import PostgresEngine
from restock.kernel import migrate as migrating
from restock.kernel import revision
from restock.kernel.ids import new_id
from restock.kernel.migrate import MigrationError, migrate
from restock.kernel.revision import (
    Revision,
    WrongTables,
    found,
    is_current,
    newest,
    require_served,
    wanted,
)

SERVICES = ("auth", "inventory", "vendor", "notification")


@pytest_asyncio.fixture(loop_scope="session")
async def empty(postgres: PostgresEngine) -> AsyncIterator[str]:
    name = f"t_empty_{new_id().hex}"
    await postgres.create_database(name, service="vendor")
    yield name
    await postgres.drop_database(name)


@pytest.mark.parametrize("service", SERVICES)
async def test_the_tables_as_written_are_the_tables_as_migrated(
    postgres: PostgresEngine, service: str
) -> None:
    name = f"t_written_{new_id().hex}"
    await postgres.create_database(name, service=service)
    owner = await asyncpg.connect(postgres.owner_url(service, database=name))
    text = (Path(restock.__file__).parent / service / "tables.sql").read_text(encoding="utf-8")
    await owner.execute(text)
    await owner.close()
    written = await dump(postgres, service, name)
    await postgres.drop_database(name)
    assert "CREATE TABLE public." in written
    assert written == await dump(postgres, service, f"restock_{service}")


async def test_two_at_once_do_the_work_once(postgres: PostgresEngine, empty: str) -> None:
    url = postgres.owner_url("vendor", database=empty)
    assert await standing(url) is None
    first, second = await asyncio.gather(
        asyncio.to_thread(migrate, "vendor", url), asyncio.to_thread(migrate, "vendor", url)
    )
    assert sorted([len(first), len(second)]) == [0, int(newest("vendor"))]
    assert await standing(url) == wanted("vendor")


async def standing(url: str) -> Revision | None:
    connection = await asyncpg.connect(url)
    try:
        return await found("vendor", connection)
    finally:
        await connection.close()


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of migrations in the place of vendor's, with one first step."""
    for module in (revision, migrating):
        monkeypatch.setattr(module, "migrations_of", lambda _service: tmp_path)
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE one (number int);\n")
    return tmp_path


async def test_a_newer_database_is_refused(
    postgres: PostgresEngine, empty: str, steps: Path
) -> None:
    """By the migrations and by the service, until a newer program is started."""
    url = postgres.owner_url("vendor", database=empty)
    (steps / "0002_second.sql").write_text("ALTER TABLE one ADD COLUMN more int;\n")
    await asyncio.to_thread(migrate, "vendor", url)
    assert await standing(url) == Revision("0002", "0002")
    (steps / "0002_second.sql").unlink()
    with pytest.raises(MigrationError, match=r"newer than this program.*up to 0001"):
        await asyncio.to_thread(migrate, "vendor", url)
    owner = await asyncpg.connect(url)
    with pytest.raises(WrongTables, match="serves programs from 0002 on, this one knows 0001"):
        await require_served("vendor", owner)
    with pytest.raises(WrongTables):
        await is_current("vendor", owner)
    await owner.close()
    assert await standing(url) == Revision("0002", "0002")


async def test_a_newer_database_that_serves_an_older_program_is_not_refused(
    postgres: PostgresEngine, empty: str, steps: Path
) -> None:
    url = postgres.owner_url("vendor", database=empty)
    (steps / "0002_second.sql").write_text("-- serves 0001\nALTER TABLE one ADD more int;\n")
    await asyncio.to_thread(migrate, "vendor", url)
    (steps / "0002_second.sql").unlink()
    owner = await asyncpg.connect(url)
    assert await require_served("vendor", owner) == Revision("0002", "0001")
    assert await is_current("vendor", owner)  # there is nothing for it to migrate
    assert await asyncio.to_thread(migrate, "vendor", url) == []
    assert await standing(url) == Revision("0002", "0001")
    await owner.close()


async def test_the_command_says_whom_the_tables_serve(
    postgres: PostgresEngine, empty: str, steps: Path
) -> None:
    url = postgres.owner_url("vendor", database=empty)
    runner = CliRunner(env={"RESTOCK_VENDOR_MIGRATE_URL": url})
    on = "; the tables serve programs from {} on: end those before"
    for name, text, said in (
        ("0001_first", "CREATE TABLE one (number int);\n", "0001_first"),
        ("0002_second", "-- serves 0001\nALTER TABLE one ADD more int;\n", "0002_second"),
        ("0003_third", "ALTER TABLE one DROP more;\n", "0003_third" + on.format("0003")),
        ("0004_fourth", "-- serves 0003\nALTER TABLE one ADD x int;\n", "0004_fourth"),
    ):
        (steps / f"{name}.sql").write_text(text)
        for words in (said, "up to date"):
            result = await asyncio.to_thread(runner.invoke, command, ["vendor"])
            assert (result.exit_code, result.output) == (0, f"vendor: {words}\n")
    (steps / "0004_fourth.sql").unlink()
    result = await asyncio.to_thread(runner.invoke, command, ["vendor"])
    assert result.exit_code == 0
    assert "newer than this program and serves it: nothing to migrate" in result.output


async def test_what_a_later_step_breaks_no_earlier_one_mends(
    postgres: PostgresEngine, empty: str, steps: Path
) -> None:
    url = postgres.owner_url("vendor", database=empty)
    (steps / "0002_second.sql").write_text("ALTER TABLE one RENAME number TO no;\n")
    (steps / "0003_third.sql").write_text("-- serves 0002\nALTER TABLE one ADD more int;\n")
    await asyncio.to_thread(migrate, "vendor", url)
    assert await standing(url) == Revision("0003", "0002")


async def test_a_database_that_is_not_migrated_is_refused_by_the_service(
    postgres: PostgresEngine, empty: str, steps: Path
) -> None:
    url = postgres.owner_url("vendor", database=empty)
    connection = await asyncpg.connect(postgres.service_url("vendor", database=empty))
    with pytest.raises(WrongTables, match=r"never migrated.*needs 0001.*restock migrate"):
        await require_served("vendor", connection)
    await asyncio.to_thread(migrate, "vendor", url)
    await require_served("vendor", connection)
    (steps / "0002_second.sql").write_text("-- serves 0001\nALTER TABLE one ADD more int;\n")
    with pytest.raises(WrongTables, match="at migration 0001, the program needs 0002"):
        await require_served("vendor", connection)
    await connection.close()


async def test_tables_in_use_are_tried_again(
    postgres: PostgresEngine, empty: str, steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is held up for long meanwhile, and what never comes free is said."""
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT_MS", 50)
    url = postgres.owner_url("vendor", database=empty)
    await asyncio.to_thread(migrate, "vendor", url)
    (steps / "0002_second.sql").write_text("-- serves 0001\nALTER TABLE one ADD more int;\n")
    user = await asyncpg.connect(url)
    using = user.transaction()
    await using.start()
    await user.execute("SELECT number FROM one")
    with monkeypatch.context() as impatient:
        impatient.setattr(migrating, "PATIENCE_S", 0.1)
        with pytest.raises(MigrationError, match="tables of vendor are too busy"):
            await asyncio.to_thread(migrate, "vendor", url)
    assert await standing(url) == Revision("0001", "0001")
    running = asyncio.create_task(asyncio.to_thread(migrate, "vendor", url))
    tried = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    watcher = await asyncpg.connect(url)
    before = await watcher.fetchval(tried)
    async with asyncio.timeout(30):
        while await watcher.fetchval(tried) == before:
            await asyncio.sleep(0.05)
    await using.rollback()
    assert await running == ["0002_second"]
    await user.close()
    await watcher.close()


async def test_one_migrated_before_that_was_written_down_is_brought_to_it(
    postgres: PostgresEngine, empty: str, steps: Path
) -> None:
    url = postgres.owner_url("vendor", database=empty)
    await asyncio.to_thread(migrate, "vendor", url)
    owner = await asyncpg.connect(url)
    await owner.execute("ALTER TABLE alembic_version DROP COLUMN serves")
    assert not await is_current("vendor", owner)
    assert await asyncio.to_thread(migrate, "vendor", url) == []
    assert await is_current("vendor", owner)
    await owner.close()


async def dump(postgres: PostgresEngine, service: str, database: str) -> str:
    """Tables, indexes, constraints and rights of a database, as pg_dump writes them."""
    process = await asyncio.create_subprocess_exec(
        str(postgres_programs() / "bin" / "pg_dump"),
        "--schema-only",
        "--restrict-key=same",
        "--exclude-table=alembic_version",
        postgres.owner_url(service, database=database),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()
