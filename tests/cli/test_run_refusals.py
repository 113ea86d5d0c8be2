"""`restock run` doesn't start where it could not work, and says why."""

from restock.engines.ports import free_port
from restock.engines.postgres import PostgresEngine
from restock.kernel.ids import new_id
from restock.kernel.revision import newest
from tests.cli.commands import ran


async def test_a_database_that_is_not_migrated(postgres: PostgresEngine) -> None:
    name = f"t_not_migrated_{new_id().hex}"
    await postgres.create_database(name, service="vendor")
    url = postgres.service_url("vendor", database=name)
    started = await ran(
        "run", "vendor", RESTOCK_VENDOR_DATABASE_URL=url, RESTOCK_VENDOR_PORT=str(free_port())
    )
    assert started.code == 1
    assert (
        "the database of vendor is older than this program: it is not migrated, the program "
        f"needs {newest('vendor')}; run `restock migrate`"
    ) in started.err
    await postgres.drop_database(name)
