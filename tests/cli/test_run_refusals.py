"""`restock run` doesn't start where it could not work, and says why."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from restock.engines.postgres import PostgresEngine
from restock.kernel.ids import new_id
from restock.kernel.revision import newest
from tests.cli.commands import ran
from tests.fixtures.ports import free_offset

SERVICES = ("auth", "inventory", "vendor", "notification")


@pytest_asyncio.fixture(loop_scope="session")
async def database(request: pytest.FixtureRequest, postgres: PostgresEngine) -> AsyncIterator[str]:
    """An empty one, of the service that is named."""
    name = f"t_not_migrated_{new_id().hex}"
    await postgres.create_database(name, service=request.param)
    yield name
    await postgres.drop_database(name)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("database", "service"), [(name, name) for name in SERVICES], indirect=["database"]
)
async def test_a_database_that_is_not_migrated(
    postgres: PostgresEngine, database: str, service: str, workers: int
) -> None:
    own = f"RESTOCK_{service.upper()}_"
    settings = {
        f"{own}DATABASE_URL": postgres.service_url(service, database=database),
        f"{own}WORKERS": str(workers),
        "RESTOCK_PORT_OFFSET": str(free_offset()),
    }
    started = await ran("run", service, **settings)
    assert (started.code, "Traceback" in started.err) == (1, False), started.err
    assert (
        f"the database of {service} is older than this program: it was never migrated, or only "
        "by a version that did not write down how far, the program needs "
        f"{newest(service)}; run `restock migrate`"
    ) in started.err


@pytest.mark.parametrize("database", ["auth"], indirect=True)
async def test_an_operators_command_on_wrong_tables(
    postgres: PostgresEngine, database: str
) -> None:
    url = postgres.service_url("auth", database=database)
    rotated = await ran("keys", "rotate", RESTOCK_AUTH_DATABASE_URL=url)
    assert (rotated.code, "Traceback" in rotated.err) == (1, False)
    assert "the database of auth is older than this program" in rotated.err
