"""Small stand-ins for what is around Envoy: services that record, tokens, a raw client."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from restock.gateway import envoy
from restock.gateway.settings import Settings
from tests.fixtures.ports import free_port

HOST = "127.0.0.1"


@dataclass
class Seen:
    """One request as it reached a service."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Stub:
    """A service that answers 200 with its name, or as `behave` says, and records."""

    name: str
    port: int = field(default_factory=free_port)
    seen: list[Seen] = field(default_factory=list)
    behave: Behaviour | None = None
    jwks: dict[str, Any] | None = None
    _runner: web.AppRunner | None = None

    @property
    def running(self) -> bool:
        return self._runner is not None

    async def start(self) -> None:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{anything:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.jwks is not None and request.path == "/.well-known/jwks.json":
            return web.json_response(self.jwks)
        body = await request.read()
        self.seen.append(
            Seen(
                request.method,
                request.raw_path.partition("?")[0],
                request.query_string,
                list(request.headers.items()),
                body,
            )
        )
        if self.behave is not None:
            return await self.behave(request)
        return web.json_response({"service": self.name, "size": len(body)})


class Signer:
    """Signs access tokens as auth does; `jwks` is what auth publishes."""

    def __init__(self, kid: str = "key-1", key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.kid = kid

    @property
    def jwks(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [public | {"kid": self.kid, "alg": "ES256", "use": "sig"}]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": "restock",
            "aud": "restock",
            "sub": str(uuid4()),
            "email": "ada@example.test",
            "name": "Ada",
            "role": "user",
            "wid": str(uuid4()),
            "wrole": "owner",
            "sid": str(uuid4()),
            "iat": now,
            "exp": now + 900,
        }
        return {name: value for name, value in (claims | changed).items() if value is not None}

    def token(self, **changed: Any) -> str:
        headers = {"kid": self.kid, "typ": "at+jwt"}
        return jwt.encode(self.claims(**changed), self.key, algorithm="ES256", headers=headers)


@dataclass
class Front:
    """An Envoy in front of stubs."""

    settings: Settings
    services: dict[str, Stub]
    workers: list[Stub]
    signer: Signer
    session: aiohttp.ClientSession
    process: asyncio.subprocess.Process
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.settings.public_port}"

    @property
    def admin(self) -> str:
        return f"http://{HOST}:{self.settings.envoy_admin_port}"

    def bearer(self, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.signer.token(**claims)}"}

    def request(self, method: str, path: str, **more: Any) -> Any:
        return self.session.request(method, self.url + path, **more)

    async def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; the answer's head and body come back as they are."""
        reader, writer = await asyncio.open_connection(HOST, self.settings.public_port)
        try:
            writer.write(data)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            return head + await reader.readexactly(int(length[1]) if length else 0)
        finally:
            writer.close()

    def access_lines(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


async def settled(check: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Return as soon as `check` holds; raises TimeoutError otherwise."""
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def front(directory: Path, *, workers: int = 1, **changed: Any) -> AsyncIterator[Front]:
    """Stub services behind an Envoy that runs the rendered configuration."""
    signer = Signer()
    services = {name: Stub(name) for name in ("auth", "inventory", "vendor", "notification")}
    services["auth"].jwks = signer.jwks
    services["gateway"] = Stub("gateway")
    sockets = [Stub(f"worker-{number}") for number in range(workers)]
    settings = stub_settings(services, sockets, **changed)
    for stub in (*services.values(), *sockets):
        await stub.start()
    file = directory / "envoy.json"
    file.write_text(envoy.as_json(envoy.configuration(settings)))
    log = directory / "envoy.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *envoy.command(settings, file), stdout=output, stderr=output
        )
    async with aiohttp.ClientSession() as session:
        it = Front(settings, services, sockets, signer, session, process, log)

        async def live() -> bool:
            assert process.returncode is None, log.read_text()
            try:
                async with session.get(f"{it.admin}/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        try:
            await settled(live)
            yield it
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            for stub in (*services.values(), *sockets):
                await stub.stop()


def stub_settings(services: dict[str, Stub], sockets: list[Stub], **changed: Any) -> Settings:
    places = {
        f"{name}_upstream": (f"{HOST}:{stub.port}",)
        for name, stub in services.items()
        if name != "gateway"
    }
    return Settings(
        **{
            "listen_port": free_port(),
            "admin_port": free_port(),
            "port": services["gateway"].port,
            "socket_upstream": tuple(f"{HOST}:{stub.port}" for stub in sockets),
            "rate_address": 0,
            "rate_account": 0,
            "rate_login": 0,
            "envoy_threads": 1,
            **places,
            **changed,
        }
    )
