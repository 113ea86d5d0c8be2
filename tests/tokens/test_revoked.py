"""A session that was ended is over everywhere within a second: every worker, every open socket."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import aiohttp
import jwt
import pytest
import pytest_asyncio

from tests.fixtures.figures import Figures
from tests.fixtures.whole_system import WholeSystem
from tests.tokens.conftest import WORKERS
from tests.tokens.people import PASSWORD
from tests.tokens.places import (
    REFUSED,
    Door,
    OpenSocket,
    bearer,
    connect,
    doors,
    sockets,
    status,
)

AT_ONCE = 4  # connections of a poll, each its own: two workers share a port
WITHIN_S = 1.0
LONG = pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(900)])


@dataclass
class Device:
    """One sign-in of an account."""

    token: str
    refresh_token: str

    @property
    def session_id(self) -> str:
        return str(jwt.decode(self.token, options={"verify_signature": False})["sid"])


class Account:
    """One account on two devices. Each way to end a session gives those it has ended."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = f"{url}/api/auth"
        self._http = http
        self._body = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}

    async def sign_in(self) -> None:
        self.one = await self._signed("register", self._body | {"name": "Ada"})
        self.other = await self._signed("login", self._body)

    async def logout(self) -> list[Device]:
        await self._end("POST", "logout", self.one)
        return [self.one]

    async def logout_all(self) -> list[Device]:
        await self._end("POST", "logout-all", self.one)
        return [self.one, self.other]

    async def end_the_other(self) -> list[Device]:
        await self._end("DELETE", f"sessions/{self.other.session_id}", self.one)
        return [self.other]

    async def theft(self) -> list[Device]:
        """Somebody comes with a refresh token two steps old."""
        child = await self._signed("refresh", {"refreshToken": self.one.refresh_token})
        heir = await self._signed("refresh", {"refreshToken": child.refresh_token})
        stolen = {"refreshToken": self.one.refresh_token}
        async with self._http.post(f"{self._url}/refresh", json=stolen) as answer:
            assert answer.status == 401
        return [self.one, child, heir]

    async def refresh_is_dead(self, device: Device) -> bool:
        body = {"refreshToken": device.refresh_token}
        async with self._http.post(f"{self._url}/refresh", json=body) as answer:
            return answer.status == 401

    async def _signed(self, operation: str, body: dict[str, str]) -> Device:
        async with self._http.post(f"{self._url}/{operation}", json=body) as answer:
            signed = await answer.json()
            return Device(signed["token"], signed["refreshToken"])

    async def _end(self, method: str, path: str, by: Device) -> None:
        headers = dict(bearer(by.token))
        async with self._http.request(method, f"{self._url}/{path}", headers=headers) as answer:
            assert answer.status == 204


WAYS: list[Callable[[Account], Awaitable[list[Device]]]] = [
    Account.logout,
    Account.logout_all,
    Account.end_the_other,
    Account.theft,
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def unkept() -> AsyncIterator[aiohttp.ClientSession]:
    """Every request of it is a connection of its own, so that each worker comes to be asked."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


async def _let_in(http: aiohttp.ClientSession, door: Door, token: str) -> float:
    """When this door was last asked with success; it has refused everybody twice since.

    The moment of asking, not that of the answer: how busy the asking is doesn't count.
    """
    last, refused = 0.0, 0
    async with asyncio.timeout(30):
        while refused < 2:
            asked_at = time.monotonic()
            asked = (status(http, door.url, bearer(token)) for _ in range(AT_ONCE))
            if set(await asyncio.gather(*asked)) == {401}:
                refused += 1
            else:
                last, refused = asked_at, 0
            await asyncio.sleep(0.01)
    return last


@pytest.mark.parametrize("trials", [1, LONG])
async def test_an_ended_session_is_over_everywhere_within_a_second(
    system: WholeSystem,
    http: aiohttp.ClientSession,
    unkept: aiohttp.ClientSession,
    figures: Figures,
    trials: int,
) -> None:
    took: list[float] = []
    for _ in range(trials):
        for way in WAYS:
            account = Account(system.url, http)
            await account.sign_in()
            took += await _trial(system, http, unkept, account, way)
    took.sort()
    p99 = took[int(len(took) * 0.99)]
    figures.tell(
        "ended sessions refused after",
        f"p50 {took[len(took) // 2] * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms ({len(took)} places)",
    )
    assert p99 <= WITHIN_S


async def _trial(
    system: WholeSystem,
    http: aiohttp.ClientSession,
    unkept: aiohttp.ClientSession,
    account: Account,
    way: Callable[[Account], Awaitable[list[Device]]],
) -> list[float]:
    """How long after the answer each place still let an ended session in, in seconds."""
    listening = {
        device.session_id: [
            await OpenSocket.open(http, place, device.token) for place in sockets(system, WORKERS)
        ]
        for device in (account.one, account.other)
    }
    ended = await way(account)
    answered_at = time.monotonic()
    asking = [_let_in(unkept, door, d.token) for d in ended for door in doors(system)]
    moments = list(await asyncio.gather(*asking))
    gone = {device.session_id for device in ended}
    for session_id, opened in listening.items():
        for socket in opened:
            if session_id in gone:
                async with asyncio.timeout(20):
                    await socket.closed
                assert socket.closed_at is not None
                moments.append(socket.closed_at)
            else:
                assert not socket.closed.done(), "another session of the account stays"
            await socket.aclose()
    for device in ended:
        assert await account.refresh_is_dead(device)
        for place in sockets(system, WORKERS):
            assert (await connect(http, place, device.token)).startswith(REFUSED)
    return [max(0.0, moment - answered_at) for moment in moments]
