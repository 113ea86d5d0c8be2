"""Every place that takes an access token: the gateway, each service's port, each way to connect."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from restock.gateway.settings import SERVICE_PORTS
from restock.notification.settings import SOCKET_PORT
from tests.fixtures.whole_system import WholeSystem

PATHS = {
    "auth": "/api/auth/verify",
    "inventory": "/api/inventory/items",
    "vendor": "/api/vendors",
    "notification": "/api/notifications",
}
SOCKET = "/socket.io/?EIO=4&transport=websocket"
CONNECT, REFUSED, CLOSED = "40", "44", ""
SOCKET_READS = 16_384  # the longest packet of a client

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Door:
    """One address that answers only who brings a good token."""

    name: str
    url: str


def doors(system: WholeSystem) -> list[Door]:
    """Each service by its own port and through the gateway."""
    direct = [
        Door(service, f"http://127.0.0.1:{port + system.offset}{PATHS[service]}")
        for service, port in SERVICE_PORTS.items()
    ]
    behind = [Door(f"gateway {service}", system.url + path) for service, path in PATHS.items()]
    return direct + behind


def sockets(system: WholeSystem, workers: int) -> list[str]:
    """Where a socket may be opened: the gateway, the service's port, each worker's."""
    ports = [3000, SERVICE_PORTS["notification"], *range(SOCKET_PORT, SOCKET_PORT + workers)]
    return [f"http://127.0.0.1:{port + system.offset}{SOCKET}" for port in ports]


def bearer(token: str) -> Headers:
    return [("Authorization", f"Bearer {token}")]


async def status(session: aiohttp.ClientSession, url: str, headers: Headers = ()) -> int:
    """What a request is answered with."""
    async with session.get(url, headers=list(headers)) as answer:
        await answer.read()
        return answer.status


async def connect(session: aiohttp.ClientSession, url: str, token: Any) -> str:
    """What a CONNECT with this token is answered with, or nothing when the transport is closed."""
    async with session.ws_connect(url, timeout=aiohttp.ClientWSTimeout(ws_receive=30)) as ws:
        assert (await ws.receive_str()).startswith("0{")
        await ws.send_str(CONNECT + json.dumps({"token": token}))
        answer = await ws.receive()
        return str(answer.data) if answer.type is aiohttp.WSMsgType.TEXT else CLOSED


class OpenSocket:
    """A socket that stays open, as long as the server lets it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self._acks: asyncio.Queue[Any] = asyncio.Queue()
        self.closed_at: float | None = None
        self.closed = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, session: aiohttp.ClientSession, url: str, token: str) -> Self:
        ws = await session.ws_connect(url)
        await ws.receive_str()
        await ws.send_str(CONNECT + json.dumps({"token": token}))
        answer = await ws.receive_str()
        assert answer.startswith(CONNECT), answer
        return cls(ws)

    async def authenticate(self, token: str) -> dict[str, Any]:
        """What the renewal with another token is acknowledged with."""
        await self._ws.send_str("421" + json.dumps(["authenticate", {"token": token}]))
        async with asyncio.timeout(20):
            return dict(await self._acks.get())

    async def aclose(self) -> None:
        self.closed.cancel()
        await self._ws.close()

    async def _read(self) -> None:
        async for message in self._ws:
            if message.data == "2":
                await self._ws.send_str("3")
            elif message.data.startswith("431"):
                self._acks.put_nowait(json.loads(message.data.removeprefix("431"))[0])
        self.closed_at = time.monotonic()
