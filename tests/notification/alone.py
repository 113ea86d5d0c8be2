"""The engine without the rest of the service: a listener that echoes, and a server around it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from restock.kernel.listening import listening_on
from restock.kernel.runner import HttpServer
from restock.notification.engine import Engine
from restock.notification.links import Away, Refused
from restock.notification.streams import Stream


class Echo:
    """Lets everybody in whose token isn't "bad"; says `auth` first, and back what it is told."""

    def __init__(self):
        self.known = set()
        self.entered = 0
        self.links = []
        self.told = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def connect(self, link, auth):
        await self.gate.wait()
        token = (auth or {}).get("token")
        if token == "bad":
            raise Refused("No", "auth.unauthenticated")
        if token == "away":
            raise Away
        if token == "broken":
            self.known.add(link)
            raise ZeroDivisionError
        self.known.add(link)
        return token

    def connected(self, link):
        self.entered += 1
        self.links.append(link)
        link.send(b'2["auth"]')

    async def event(self, link, name, args):
        await self.gate.wait()
        self.told.append((name, *args))
        if name == "say":
            link.send(b"2" + json.dumps(["said", *args]).encode())
        return args

    def disconnected(self, link):
        self.known.discard(link)
        if link in self.links:
            self.links.remove(link)


@dataclass
class Alone:
    """A server at `url`; `http` asks it."""

    url: str
    engine: Engine
    echo: Echo
    http: aiohttp.ClientSession
    stop: asyncio.Event

    def address(self, **query):
        wanted = {"EIO": "4", "transport": "polling"} | query
        asked = "&".join(f"{name}={value}" for name, value in wanted.items() if value is not None)
        return f"{self.url}/socket.io/?{asked}"

    async def get(self, **query):
        """Status and text of a GET."""
        async with self.http.get(self.address(**query)) as answer:
            return answer.status, await answer.text()

    async def post(self, body, **query):
        async with self.http.post(self.address(**query), data=body) as answer:
            return answer.status, await answer.text()

    async def session(self):
        """The id of a fresh session that polls."""
        status, text = await self.get()
        assert status == 200
        return json.loads(text[1:])["sid"]

    async def websocket(self, **query):
        return await self.http.ws_connect(self.address(**({"transport": "websocket"} | query)))

    async def opened(self):
        """A websocket whose session is open."""
        ws = await self.websocket()
        assert (await ws.receive_str())[0] == "0"
        return ws

    async def joined(self):
        """A websocket that is connected to the namespace, its `auth` heard."""
        ws = await self.opened()
        await ws.send_str("40")
        assert (await ws.receive_str())[:2] == "40"
        assert await ws.receive_str() == '42["auth"]'
        return ws


@asynccontextmanager
async def alone() -> AsyncIterator[Alone]:
    listening = listening_on("127.0.0.1", 0)
    port = listening.getsockname()[1]
    echo = Echo()
    engine = Engine(echo, worker=1)
    server, stop = HttpServer(engine, [listening], Stream), asyncio.Event()
    serving = asyncio.create_task(server.run(stop))
    await server.started.wait()
    async with aiohttp.ClientSession() as http:
        yield Alone(f"http://127.0.0.1:{port}", engine, echo, http, stop)
    await engine.shut_down()
    stop.set()
    await serving


async def ended(ws):
    """Read on until the server has closed; what came before, and the close code."""
    said = []
    async with asyncio.timeout(20):
        while True:
            message = await ws.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return said, ws.close_code
            said.append(message.data)
