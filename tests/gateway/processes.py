"""A gateway process started as an operator starts it, before stub services."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.fixtures.ports import free_port
from tests.gateway.stubs import HOST, Signer, Stub, settled

SERVICES = ("auth", "inventory", "notification", "vendor")


@dataclass
class GatewayProcess:
    """Stubs answer with `health` and `documents`, by name; the socket worker as `worker`."""

    environ: dict[str, str]
    stubs: dict[str, Stub]
    session: aiohttp.ClientSession
    health: dict[str, Any] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.environ['RESTOCK_GATEWAY_LISTEN_PORT']}"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "restock", "run", "gateway"), env=self.environ
        )
        await settled(self.answers)

    async def answers(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None
        try:
            async with self.session.get(f"{self.url}/events.html") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def whole(self) -> tuple[int, dict[str, Any]]:
        async with self.session.get(f"{self.url}/health") as answer:
            return answer.status, await answer.json()

    async def stop(self) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
        return await self.process.wait()


@asynccontextmanager
async def gateway_process(
    directory: Path, *, vendor_too: str = "", **environ: str
) -> AsyncIterator[GatewayProcess]:
    """`vendor_too` is a second place of vendor's, host:port."""
    stubs = {name: Stub(name) for name in (*SERVICES, "worker")}
    stubs["auth"].jwks = Signer().jwks
    variables = {
        "PATH": os.environ["PATH"],
        "RESTOCK_GATEWAY_PORT": str(free_port()),
        "RESTOCK_GATEWAY_LISTEN_PORT": str(free_port()),
        "RESTOCK_GATEWAY_ADMIN_PORT": str(free_port()),
        "RESTOCK_GATEWAY_ENVOY_DIRECTORY": str(directory / "envoy"),
        "RESTOCK_GATEWAY_SOCKET_UPSTREAM": f"{HOST}:{stubs['worker'].port}",
        **{
            f"RESTOCK_GATEWAY_{name.upper()}_UPSTREAM": f"{HOST}:{stubs[name].port}"
            for name in SERVICES
        },
        **environ,
    }
    if vendor_too:
        variables["RESTOCK_GATEWAY_VENDOR_UPSTREAM"] += f",{vendor_too}"
    async with aiohttp.ClientSession() as session:
        it = GatewayProcess(variables, stubs, session)
        for name, stub in stubs.items():
            it.health[name] = {"service": name, "status": "ready", "checks": {"nats": "ok"}}
            stub.behave = _service(it, name)
            await stub.start()
        try:
            await it.start()
            yield it
        finally:
            if it.process is not None:
                await it.stop()
            for stub in stubs.values():
                await stub.stop()


def _service(it: GatewayProcess, name: str) -> Any:
    async def behave(request: web.Request) -> web.StreamResponse:
        if request.path == "/health":
            found = it.health[name]
            return web.json_response(found, status=503 if found["status"] == "unready" else 200)
        if request.path == f"/openapi/{name}.json" and name in it.documents:
            return web.json_response(it.documents[name])
        return web.Response(status=404, text="nothing")

    return behave
