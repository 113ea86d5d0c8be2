"""What a command says of settings and words it can't work with: a sentence, never a traceback."""

import asyncio
from pathlib import Path

import pytest
from nats.aio.client import Client

from restock.cli import local_system
from restock.cli.addresses import bind_services, plan
from restock.cli.local_system import LocalSystem
from restock.cli.story import Story
from restock.engines.binaries import nats_server
from restock.engines.datadir import DataDir
from restock.engines.failures import EngineError, NoSuchHost
from restock.engines.nats import Credential
from restock.engines.postgres import PostgresEngine
from restock.engines.streams import connect, ensure_streams
from tests.cli.commands import ran
from tests.fixtures.ports import free_offset, free_port

SERVICES = ("AUTH", "INVENTORY", "NOTIFICATION", "VENDOR")


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (("run", "auth"), {}, "RESTOCK_AUTH_DATABASE_URL is missing"),
        (("demo",), {"RESTOCK_PORT_OFFSET": "abc"}, "RESTOCK_PORT_OFFSET must be a whole number"),
        (("check",), {"RESTOCK_NO_SUCH": "1"}, "one setting is not acceptable"),
        (("migrate", "auth", "--data-dir", "none"), {}, "RESTOCK_AUTH_MIGRATE_URL is not set"),
        (("migrate", "auth"), {"RESTOCK_AUTH_MIGRATE_URL": "nonsense"}, "_MIGRATE_URL: must be a"),
    ],
)
async def test_it_is_a_sentence(words: tuple[str, ...], settings: dict[str, str], said: str):
    refused = await ran(*words, **settings)
    assert refused.code != 0
    assert said in refused.err
    assert "Traceback" not in refused.err


async def test_the_version_is_told() -> None:
    assert (await ran("--version")).out.startswith("restock 0.")


async def test_databases_whose_url_is_nonsense(tmp_path: Path) -> None:
    settings = {
        f"RESTOCK_{service}_{kind}_URL": "nonsense"
        for service in SERVICES
        for kind in ("DATABASE", "MIGRATE")
    }
    refused = await ran(
        "up", "--data-dir", str(tmp_path / "data"), "--port-offset", str(free_offset()), **settings
    )
    assert refused.code == 1
    assert "RESTOCK_AUTH_DATABASE_URL: must be a URL" in refused.err
    assert "Traceback" not in refused.err


async def test_a_nats_without_jetstream(tmp_path: Path) -> None:
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        str(nats_server()), "-a", "127.0.0.1", "-p", str(port), cwd=tmp_path, stderr=-3
    )
    try:
        client = await _reached(f"nats://127.0.0.1:{port}")
        with pytest.raises(EngineError, match="without JetStream"):
            await ensure_streams(client)
        await client.close()
    finally:
        server.terminate()
        await server.wait()


async def test_a_nats_that_is_away_is_not_waited_for_long(monkeypatch) -> None:
    monkeypatch.setattr("restock.engines.streams.CONNECT_S", 0.2)
    with pytest.raises(EngineError, match="ConnectionRefused"):
        await connect(f"nats://127.0.0.1:{free_port()}", Credential("operator", "x"))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_here(host: str) -> None:
    with pytest.raises(NoSuchHost, match="--host must be an address of this machine"):
        bind_services(plan({}, offset=free_offset(), host=host))


async def test_no_room_for_the_databases(postgres: PostgresEngine, monkeypatch) -> None:
    async def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("restock.engines.postgres.bootstrap", full)
    monkeypatch.setattr("restock.engines.postgres.BOOTSTRAP", -1)
    with pytest.raises(EngineError, match="No space left"):
        await postgres._finish()


async def test_who_is_not_ready_is_told(tmp_path: Path, monkeypatch) -> None:
    told = asyncio.Event()
    lines = []

    class Heard(Story):
        def say(self, text: str, *, kind: str = "") -> None:
            lines.append(text)
            told.set()

    async def ask(_host: str, port: int, **_: float) -> dict[str, object]:
        if port == 3100:
            return {"http": 503, "status": "unready", "checks": {"database": "away", "nats": "ok"}}
        return {} if port == 3103 else {"http": 200, "status": "ready"}

    monkeypatch.setattr(local_system, "ask_health", ask)
    monkeypatch.setattr(local_system, "TELL_EVERY_S", 0.05)
    directory = DataDir.claim(tmp_path / "data")
    system = LocalSystem(directory, plan({}, offset=0), {}, {}, Heard(tmp_path / "log"))
    waiting = asyncio.create_task(system._until_ready())
    await told.wait()
    waiting.cancel()
    directory.release()
    assert lines[0] == "not ready yet: auth (database away), vendor (no answer)"


async def _reached(url: str) -> Client:
    while True:
        try:
            return await connect(url, Credential("", ""))
        except EngineError:
            await asyncio.sleep(0.01)
