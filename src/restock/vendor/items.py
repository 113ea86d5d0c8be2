"""Asking inventory for an item, with the caller's own token: he sees what he may see.

Inventory may be away or hang. Each question has a bounded time, and after several failures in a
row nobody waits any more: for a short rest every question is refused at once, then a single one
tries again.
"""

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import msgspec
from prometheus_client import Counter

from restock.kernel.faults import Unauthenticated
from restock.kernel.service import Context
from restock.kernel.telemetry import request_id
from restock.vendor.faults import InventoryAway, ItemNotFound
from restock.vendor.schemas import ItemSnapshot
from restock.vendor.settings import inventory_url

LOOKUPS = Counter(
    "restock_vendor_item_lookups_total",
    "Items asked for at inventory, by what came of it.",
    ["outcome"],
)
CONNECTIONS = 50


class Circuit:
    """Counts failures in a row; after `failures` of them it rests for `rest` seconds."""

    def __init__(
        self, failures: int, rest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._rest = rest
        self._clock = clock
        self._failed = 0
        self._rests_until = 0.0

    def admit(self) -> float:
        """Seconds still to wait; 0 admits the question.

        The first question after a rest is admitted alone: those after it wait out another rest,
        unless it succeeds.
        """
        if self._failed < self._failures:
            return 0.0
        left = self._rests_until - self._clock()
        if left <= 0:
            self._rests_until = self._clock() + self._rest
            return 0.0
        return left

    def succeeded(self) -> None:
        self._failed = 0

    def failed(self) -> None:
        self._failed += 1
        self._rests_until = self._clock() + self._rest


class _Item(msgspec.Struct, frozen=True):
    """What of inventory's answer is kept; whatever else it says is not ours."""

    name: str
    unit: str
    sku: str | None = None


class ItemReader:
    """Reads items at inventory."""

    def __init__(self, session: aiohttp.ClientSession, url: str, circuit: Circuit) -> None:
        self._session = session
        self._url = url
        self._circuit = circuit

    async def snapshot(self, token: str, item_id: UUID) -> ItemSnapshot:
        """The item as the token's owner sees it now.

        Raises ItemNotFound for one that isn't his or is archived, Unauthenticated when inventory
        doesn't take the token, InventoryAway when it is away, too slow or unwell.
        """
        wait = self._circuit.admit()
        if wait > 0:
            LOOKUPS.labels("rested").inc()
            raise InventoryAway(retry_after=math.ceil(wait))
        try:
            status, raw = await self._ask(token, item_id)
            item = msgspec.json.decode(raw, type=_Item) if status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError) as error:
            raise self._away() from error
        if item is not None:
            self._succeeded("found")
            return ItemSnapshot(name=item.name, unit=item.unit, sku=item.sku)
        if status == 404:
            self._succeeded("not_found")
            raise ItemNotFound()
        if status == 401:
            self._succeeded("unauthenticated")
            raise Unauthenticated()
        raise self._away()

    async def _ask(self, token: str, item_id: UUID) -> tuple[int, bytes]:
        # no redirects: the token goes to inventory and nowhere else
        async with self._session.get(
            f"{self._url}/api/inventory/items/{item_id}",
            headers={
                "Authorization": f"Bearer {token}",
                "X-Request-Id": request_id() or "",
            },
            allow_redirects=False,
        ) as response:
            return response.status, await response.read()

    def _succeeded(self, outcome: str) -> None:
        LOOKUPS.labels(outcome).inc()
        self._circuit.succeeded()

    def _away(self) -> InventoryAway:
        LOOKUPS.labels("away").inc()
        self._circuit.failed()
        return InventoryAway(retry_after=1)


@asynccontextmanager
async def open_items(context: Context) -> AsyncIterator[ItemReader]:
    """The service's reader, with connections of its own for as long as the service runs."""
    settings = context.settings
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=settings.inventory_timeout),
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        circuit = Circuit(settings.inventory_failures, settings.inventory_rest)
        yield ItemReader(session, inventory_url(settings), circuit)
