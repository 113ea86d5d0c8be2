"""Databases that are backed up, and a backup of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from restock.cli.backup import ORDER, write_backup
from restock.engines.postgres import PostgresEngine
from restock.kernel.ids import new_id
from tests.cli.contents import SEEDED, Urls, asked


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def make_urls(postgres: PostgresEngine) -> AsyncIterator[Callable[..., Any]]:
    """`await make_urls(full=True)`: a database of each service, as its owner; or empty ones."""
    made = []

    async def make(*, full: bool) -> Urls:
        urls = {}
        for service in ORDER:
            name = f"t_backup_{service}_{new_id().hex}"
            template = f"restock_{service}" if full else None
            await postgres.create_database(name, service=service, template=template)
            made.append(name)
            urls[service] = postgres.owner_url(service, database=name)
            if full:
                await asked(urls[service], SEEDED[service])
        return urls

    yield make
    for name in made:
        await postgres.drop_database(name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def full(make_urls) -> Urls:
    """Databases with something in them, which nobody changes."""
    return await make_urls(full=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def empty(make_urls) -> Urls:
    """Databases that must stay empty."""
    return await make_urls(full=False)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def file(full: Urls, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of `full`."""
    path = tmp_path_factory.mktemp("backup") / "b.restock"
    await asyncio.to_thread(write_backup, path, full)
    return path
