"""A data directory may be called anything that a directory can be called."""

from pathlib import Path

import asyncpg

from restock.engines.datadir import DataDir
from restock.engines.nats import NatsEngine
from restock.engines.postgres import PostgresEngine
from restock.engines.streams import bring_streams, connect
from tests.fixtures.ports import free_port

NAME = "a b'c\"d %s \\n é"


async def test_both_engines_run_under_any_name(scratch: Path) -> None:
    directory = DataDir.claim(scratch / NAME)
    engine = NatsEngine(directory, port=free_port())
    await engine.start()
    await bring_streams(engine.operator_env(), within_s=30)
    client = await connect(engine.url, engine.credential("operator"))
    await client.jetstream(timeout=5).publish("auth.thing.happened", b"{}")
    await client.close()
    await engine.stop()
    assert (engine.home / "jetstream").is_dir()

    postgres = PostgresEngine(directory, options={"fsync": "off", "shared_buffers": "16MB"})
    await postgres.start()
    for url in (postgres.admin_url(), postgres.service_url("auth"), postgres.owner_url("auth")):
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    await postgres.stop()
    directory.release()
