"""Every service in this process, behind one port as the gateway puts them, or behind an Envoy;
with people who have accounts there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from restock.auth.operator import create_admin
from restock.engines.nats import NatsEngine
from restock.engines.postgres import PostgresEngine
from restock.kernel.identity import read_jwks
from restock.kernel.runner import HttpServer, bind
from restock.kernel.web import create_app
from restock.notification.settings import SOCKET_PORT
from restock.system import load
from tests.contracts.operations import route_of
from tests.fixtures.ports import free_port
from tests.fixtures.running import RunningService, running_service
from tests.gateway.stubs import front

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Person:
    """Somebody with an account."""

    email: str
    id: UUID


@dataclass(frozen=True)
class Whole:
    """All services behind `url`."""

    url: str
    services: dict[str, RunningService]

    async def registered(self, name: str) -> Person:
        """A new account in a workspace of its own."""
        email = f"{name}@example.org"
        asked = {"email": email, "name": name, "password": PASSWORD}
        answer = await self.services["auth"].ask("POST", "/api/auth/register", json=asked)
        assert answer.status == 201, answer.body
        return Person(email, UUID(answer.json["user"]["id"]))

    async def admin(self) -> Person:
        """An operator's account."""
        url, email = self.services["auth"].context.settings.database_url, "root@example.org"
        return Person(email, await create_admin(url, email=email, password=PASSWORD))


def service_of(path: str) -> str:
    """Who answers a path behind the gateway."""
    route = route_of(path)
    return "gateway" if route is None else route.service.value


@asynccontextmanager
async def whole(
    postgres: PostgresEngine, nats: NatsEngine, *, envoy: Path | None = None
) -> AsyncIterator[Whole]:
    """Start them, with everything that runs in them; an `envoy` keeps its files there."""
    async with AsyncExitStack() as stack:
        services: dict[str, RunningService] = {}
        offset = str(free_port() - SOCKET_PORT)

        async def keys() -> dict[str, Any]:
            answer = await services["auth"].ask("GET", "/.well-known/jwks.json")
            return read_jwks(answer.json)

        async def start(name: str, **settings: str) -> None:
            service = load(name)
            running = running_service(
                service,
                postgres,
                nats=nats if service.nats else None,
                fetch_keys=keys,
                RESTOCK_PORT_OFFSET=offset,
                **settings,
            )
            services[name] = await stack.enter_async_context(running)

        await start("auth")
        await start("inventory")
        await start("notification")
        await start("vendor", RESTOCK_INVENTORY_URL=services["inventory"].url)
        upstreams = {f"{name}_upstream": running.address for name, running in services.items()}
        await start("gateway", run_envoy="false", **upstreams)
        if envoy is not None:
            places = {f"{name}_upstream": (it.address,) for name, it in services.items()}
            edge = await stack.enter_async_context(front(envoy, **places))
            yield Whole(edge.url, services)
            return
        apps = {name: create_app(running.context) for name, running in services.items()}

        async def dispatch(scope: Any, receive: Any, send: Any) -> None:
            await apps[service_of(scope["path"])](scope, receive, send)

        port, stop = free_port(), asyncio.Event()
        server = HttpServer(dispatch, [bind("127.0.0.1", port)])
        serving = asyncio.create_task(server.run(stop))
        await server.started.wait()
        yield Whole(f"http://127.0.0.1:{port}", services)
        stop.set()
        await serving
