"""Somebody listens for every shop: Python's client, and the unmodified one of node."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from restock.client import Feed
from tests.journeys.hands import Crew, Shop
from tests.journeys.node_client import Browser, Client, browser

SEQUENCED = ("new_notification", "vendor_contact_request")
TRANSPORTS = (["websocket"], ["polling"], ["polling", "websocket"])
ARRIVED_WITHIN_S = 60.0


@dataclass
class Ear:
    """What one shop's two sockets heard, by place in its feed, in order of arrival."""

    shop: Shop
    feed: Feed
    node: Client
    by_feed: list[int] = field(default_factory=list)

    @property
    def by_node(self) -> list[int]:
        return [args[0]["seq"] for args in self.node.heard(*SEQUENCED)]

    async def hear(self) -> None:
        async for heard in self.feed:
            if heard.seq is not None:
                self.by_feed.append(heard.seq)


async def _listen(shop: Shop, node: Browser, number: int, stack: AsyncExitStack) -> Ear:
    options: dict[str, Any] = {
        "auth": {"token": await shop.gateway.auth.token()},
        "transports": TRANSPORTS[number % len(TRANSPORTS)],
    }
    client = node.open(shop.gateway.url, name=shop.name, **options)
    await client.hears("sync")
    return Ear(shop, await stack.enter_async_context(shop.gateway.feed()), client)


@asynccontextmanager
async def listening(crew: Crew) -> AsyncIterator[list[Ear]]:
    """Two sockets for each shop, from before anything is told it until the end of the block."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(browser())
        ears = [await _listen(shop, node, at, stack) for at, shop in enumerate(crew.shops)]
        async with asyncio.TaskGroup() as hearing:
            tasks = [hearing.create_task(ear.hear()) for ear in ears]
            yield ears
            for task in tasks:
                task.cancel()


async def misheard(ears: list[Ear], heads: dict[Any, int]) -> list[str]:
    """What each ear should have heard and didn't, heard twice or out of order.

    `heads` are the ends of the feeds by account; for the last of them a moment is waited.
    """
    wrong = []
    for ear in ears:
        whole = list(range(1, heads.get(ear.shop.user_id, 0) + 1))
        for who, heard in (("node", lambda e: e.by_node), ("python", lambda e: e.by_feed)):
            try:
                async with asyncio.timeout(ARRIVED_WITHIN_S):
                    while heard(ear)[-1:] != whole[-1:]:
                        await asyncio.sleep(0.05)
            except TimeoutError:
                pass
            if (found := heard(ear)) != whole:
                places = [at for at, (a, b) in enumerate(zip(found, whole, strict=False)) if a != b]
                wrong.append(
                    f"{who} of {ear.shop.name} heard {len(found)} of {len(whole)}, "
                    f"ends with {found[-3:]}, first odd at {places[:1]}"
                )
    return wrong
