"""Migrations: their sum is `tables.sql`, they run once, and an older program stays away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

import restock
from restock.engines.binaries import postgres_programs
from restock.engines.postgres import PostgresEngine
from restock.kernel.ids import new_id
from restock.kernel.migrate import MigrationError, migrate
from restock.kernel.revision import is_current, newest

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
    assert not await is_current("vendor", url)
    first, second = await asyncio.gather(
        asyncio.to_thread(migrate, "vendor", url), asyncio.to_thread(migrate, "vendor", url)
    )
    assert sorted([len(first), len(second)]) == [0, int(newest("vendor"))]
    assert await is_current("vendor", url)


async def test_a_newer_database_is_refused(postgres: PostgresEngine, empty: str) -> None:
    url = postgres.owner_url("vendor", database=empty)
    await asyncio.to_thread(migrate, "vendor", url)
    owner = await asyncpg.connect(url)
    await owner.execute("UPDATE alembic_version SET version_num = '9999'")
    await owner.close()
    with pytest.raises(MigrationError, match="newer than this program"):
        await asyncio.to_thread(migrate, "vendor", url)


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
