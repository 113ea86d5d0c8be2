"""The notification service as a process of its own, to be killed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
from aiohttp import web

from restock.engines.nats import NatsEngine
from restock.engines.postgres import PostgresEngine
from restock.kernel import bus
from restock.kernel.ids import new_id
from restock.kernel.runner import bind, port_of, run_service
from restock.kernel.settings import load
from restock.notification import SERVICE
from restock.notification.settings import SOCKET_PORT, Settings
from tests.fixtures.ports import free_port
from tests.fixtures.tokens import KID, PUBLIC_KEYS


@dataclass
class Killable:
    """A worker on a fixed port. `kill` ends it as a power cut would; `start` starts it again."""

    url: str
    environ: dict[str, str]
    log: Path
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.notification.process",
                env=os.environ | self.environ, stdout=log, stderr=log,
                cwd=Path(__file__).parents[2],
            )  # fmt: skip

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def terminate(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return await self._process.wait()


@asynccontextmanager
async def killable(
    postgres: PostgresEngine, nats: NatsEngine, directory: Path
) -> AsyncIterator[Killable]:
    """The service on a database of its own, not started yet; its keys come over HTTP."""
    database = f"t_notification_{new_id().hex}"
    await postgres.create_database(
        database, service="notification", template="restock_notification"
    )
    port = free_port()
    async with _keys() as jwks_url:
        process = Killable(
            f"http://127.0.0.1:{port}",
            {
                "RESTOCK_NOTIFICATION_PORT": str(port),
                "RESTOCK_PORT_OFFSET": str(free_port() - SOCKET_PORT),
                "RESTOCK_JWKS_URL": jwks_url,
                "RESTOCK_NOTIFICATION_DATABASE_URL": postgres.service_url(
                    "notification", database=database
                ),
            }
            | nats.env_for("notification"),
            directory / "notification.log",
        )
        try:
            yield process
        finally:
            await process.kill()
    await postgres.drop_database(database)


@asynccontextmanager
async def _keys() -> AsyncIterator[str]:
    """The tests' public key where auth's would be."""
    key = jwt.algorithms.ECAlgorithm.to_jwk(PUBLIC_KEYS[KID], as_dict=True)

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [key | {"kid": KID, "use": "sig", "alg": "ES256"}]})

    app = web.Application()
    app.router.add_get("/.well-known/jwks.json", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}/.well-known/jwks.json"
    await runner.cleanup()


if __name__ == "__main__":
    bus.ACK_WAIT_S = 3.0  # what a killed process had fetched comes again after that
    settings = load(Settings, "notification")
    listening = bind(settings.host, port_of(SERVICE, settings))
    asyncio.run(run_service(SERVICE, settings, [listening]))
