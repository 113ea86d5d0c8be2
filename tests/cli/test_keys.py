"""`restock keys rotate`: another key signs, or why not."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio
from click.testing import CliRunner

from restock.cli.keys import keys
from restock.engines.postgres import PostgresEngine
from restock.kernel.ids import new_id


@pytest_asyncio.fixture(loop_scope="session")
async def database(postgres: PostgresEngine) -> AsyncIterator[str]:
    name = f"t_keys_{new_id().hex}"
    await postgres.create_database(name, service="auth", template="restock_auth")
    yield name
    await postgres.drop_database(name)


async def rotate(*options, url=""):
    """Exit code, and what was said."""
    runner = CliRunner(env={"RESTOCK_AUTH_DATABASE_URL": url})
    result = await asyncio.to_thread(runner.invoke, keys, ["rotate", *options])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


async def test_it_rotates_once_everybody_knows_the_next_key(postgres, database):
    url = postgres.service_url("auth", database=database)
    owner = await asyncpg.connect(postgres.owner_url("auth", database=database))
    code, said = await rotate("--compromised", url=url)
    assert (code, "refused within 70 s" in said) == (0, True)
    code, said = await rotate(url=url)
    assert (code, "has not been public for 300 s" in said) == (1, True)
    await owner.execute("UPDATE signing_keys SET created_at = now() - interval '300 seconds'")
    heir = await owner.fetchval("SELECT kid FROM signing_keys WHERE state = 'next'")
    code, said = await rotate(url=url)
    assert (code, said) == (0, f"key {heir} signs from now on\n")
    code, said = await rotate("--compromised", url=url)
    assert code == 0
    assert await owner.fetchval("SELECT count(*) FROM signing_keys") == 2
    await owner.close()


async def test_it_says_why_it_could_not(tmp_path):
    code, said = await rotate("--data-dir", str(tmp_path))
    assert (code, f"nothing runs on {tmp_path}" in said) == (1, True)
    code, said = await rotate(url="nonsense")
    assert (code, "RESTOCK_AUTH_DATABASE_URL" in said) == (1, True)
