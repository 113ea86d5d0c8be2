"""Clients at work through a gateway until they are told to stop, who note every answer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

PASSWORD = "correct horse battery"
MOVED = "move"
READS = {
    "auth": "/api/auth/verify",
    "inventory": "/api/inventory/items?limit=5",
    "vendor": "/api/vendors?limit=5",
    "notification": "/api/notifications/unread-count",
}
REST_S = 0.05  # between two requests of one client, so that two cores have time for the system


@dataclass(frozen=True)
class Said:
    """One answer. Status 0 is none at all, or one that broke off: `code` says how."""

    kind: str
    status: int
    seconds: float
    code: str = ""
    retry_after: str | None = None

    @property
    def is_proper(self) -> bool:
        """What was promised, or a refusal that says what it is and when to come again."""
        if self.status in (200, 201):
            return True
        return self.status in (503, 504) and bool(self.code) and self.retry_after is not None


@dataclass
class Traffic:
    """One account. Its hands move an item each over its threshold and back, with a key until it
    is acknowledged; its eyes read one address of each service."""

    url: str
    session: aiohttp.ClientSession
    headers: dict[str, str]
    items: list[str]
    said: list[Said] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    doubted: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def ask(self, kind: str, method: str, path: str, **more: Any) -> tuple[Said, Any]:
        """One request, noted."""
        clock = asyncio.get_running_loop().time
        began = clock()
        body: Any = None
        headers = self.headers | more.pop("headers", {})
        try:
            async with self.session.request(
                method, self.url + path, headers=headers, **more
            ) as answer:
                body = await answer.json(content_type=None)
                problem = answer.headers["content-type"] == "application/problem+json"
                said = Said(
                    kind,
                    answer.status,
                    clock() - began,
                    body["code"] if problem else "",
                    answer.headers.get("retry-after"),
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            said = Said(kind, 0, clock() - began, repr(error))
        async with self._news:
            self.said.append(said)
            self._news.notify_all()
        return said, body

    def since(self, place: int, kind: str) -> list[Said]:
        """What was said of a kind after that many answers."""
        return [said for said in self.said[place:] if said.kind == kind]

    async def until(self, what: Callable[[], bool], seconds: float) -> None:
        """Wait until it holds, looked at with each answer."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(what)

    async def more(self, kind: str, status: int, count: int, *, seconds: float = 60) -> None:
        """Wait until as many further answers of a kind had that status."""
        place = len(self.said)

        def enough() -> bool:
            return sum(said.status == status for said in self.since(place, kind)) >= count

        await self.until(enough, seconds)

    async def move(self, item: str, delta: int, key: str) -> bool:
        """Whether it was acknowledged."""
        movement = {"delta": delta, "reason": "sale"}
        said, body = await self.ask(
            MOVED,
            "POST",
            f"/api/inventory/items/{item}/movements",
            json=movement,
            headers={"Idempotency-Key": key},
        )
        if said.status == 201:
            self.acknowledged.add(body["id"])
        return said.status == 201

    async def _hand(self, item: str) -> None:
        delta = -1
        while True:
            key = uuid4().hex
            while not await self.move(item, delta, key):
                self.doubted += 1
                await asyncio.sleep(REST_S)
            delta = -delta
            await asyncio.sleep(REST_S)

    async def _eye(self, kind: str, path: str) -> None:
        while True:
            await self.ask(kind, "GET", path)
            await asyncio.sleep(REST_S)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Hands and eyes work during the block; what is under way at its end is finished."""
        tasks = [asyncio.create_task(self._hand(item)) for item in self.items]
        tasks += [asyncio.create_task(self._eye(*read)) for read in READS.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended

    def counted(self, place: int = 0) -> dict[str, dict[int, int]]:
        """How often each kind was answered by which status."""
        kinds = {said.kind for said in self.said[place:]}
        return {kind: dict(Counter(s.status for s in self.since(place, kind))) for kind in kinds}


@asynccontextmanager
async def traffic(url: str, *, hands: int = 3) -> AsyncIterator[Traffic]:
    """A new account with an item for each hand, one above its threshold."""
    timeout = aiohttp.ClientTimeout(total=45)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        account = {"email": f"{uuid4().hex}@example.com", "name": "Ada", "password": PASSWORD}
        async with session.post(f"{url}/api/auth/register", json=account) as answer:
            assert answer.status == 201
            signed = await answer.json()
        headers = {"Authorization": f"Bearer {signed['token']}"}
        made = Traffic(url, session, headers, [])
        for number in range(hands):
            item = {
                "name": f"Screws {number}", "quantity": 10, "minThreshold": 9, "unit": "pcs",
                "category": "hardware",
            }  # fmt: skip
            said, body = await made.ask("make", "POST", "/api/inventory/items", json=item)
            assert said.status == 201
            made.items.append(body["id"])
        made.said.clear()
        yield made
