"""People who go on working while keys are replaced: whatever is refused to them is written down."""

import asyncio
import itertools
import time
from collections import Counter, deque
from uuid import uuid4

import aiohttp
import jwt

from tests.fixtures.whole_system import WholeSystem
from tests.tokens.places import CONNECT, OpenSocket, bearer, connect, doors, sockets, status

PASSWORD = "correct horse battery"
PAUSE_S = 0.05
REFRESH_S = 0.3


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


class People:
    """`run` a few; `kids` are those of the keys that signed for them, in the order they came."""

    def __init__(self, system: WholeSystem, http: aiohttp.ClientSession, workers: int) -> None:
        self._system = system
        self._http = http
        self._doors = doors(system)
        self._sockets = sockets(system, workers)
        self.kids: list[str] = []
        self.made: Counter[str] = Counter()
        self.refused: list[str] = []
        self.news = asyncio.Event()

    async def run(self) -> None:
        """One person: reads everywhere, with the newest token and with older ones, of which some
        are used for the first time when their key no longer signs; refreshes often, and keeps a
        socket open all the while.
        """
        body = {"email": f"{uuid4().hex}@example.org", "name": "Eve", "password": PASSWORD}
        signed = await self._post("register", body, 201)
        first = token = signed["token"]
        unused: deque[str] = deque()
        socket = await OpenSocket.open(self._http, self._sockets[0], token)
        refreshed_at, refreshes = time.monotonic(), itertools.cycle((True, False))
        try:
            for number in itertools.count():
                if time.monotonic() - refreshed_at > REFRESH_S:
                    refreshed_at, body = time.monotonic(), {"refreshToken": signed["refreshToken"]}
                    signed = await self._post("refresh", body, 200)
                    if next(refreshes):
                        token = signed["token"]
                        await self._renewed(socket, token, self._sockets[number % 4])
                    else:
                        unused.append(signed["token"])
                of_old_key = unused and kid_of(unused[0]) != kid_of(token)
                for sent in (token, unused.popleft() if of_old_key else first):
                    door = self._doors[number % len(self._doors)]
                    answer = await status(self._http, door.url, bearer(sent))
                    self._count("requests", f"{door.name}: {answer}", good=answer == 200)
                await asyncio.sleep(PAUSE_S)
        finally:
            await socket.aclose()

    async def _renewed(self, socket: OpenSocket, token: str, place: str) -> None:
        """A new token: the open socket takes it, and a new one is let in with it."""
        kid = kid_of(token)
        if kid not in self.kids:
            self.kids.append(kid)
            self.news.set()
        said = await socket.authenticate(token)
        self._count("renewals", f"authenticate: {said}", good=said["ok"])
        answer = await connect(self._http, place, token)
        self._count("connects", f"connect: {answer}", good=answer.startswith(CONNECT))
        self._count("open", "a socket was closed", good=not socket.closed.done())

    async def _post(self, operation: str, body: dict[str, str], expected: int) -> dict[str, str]:
        url = f"{self._system.url}/api/auth/{operation}"
        async with self._http.post(url, json=body) as answer:
            self._count("tokens", f"{operation}: {answer.status}", good=answer.status == expected)
            return dict(await answer.json())

    def _count(self, what: str, how: str, *, good: bool) -> None:
        self.made[what] += 1
        if not good:
            self.refused.append(how)
