"""Inventory as vendor sees it: a real HTTP server that can also be slow, broken or away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from tests.fixtures.ports import free_port


class StubInventory:
    """Answers for the items put into it, to the token they were put in for.

    `behaviour`: "answers", or "hangs", "fails" (500), "garbles" (200 that is no item),
    "disbelieves" (401), "redirects" (to where the token must not go), "limits" (429).
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.behaviour = "answers"
        self.asked: list[dict[str, str]] = []
        self.hanging = asyncio.Event()
        self._released = asyncio.Event()
        self._items: dict[tuple[str, str], dict[str, Any]] = {}
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, token: str, **fields: Any) -> UUID:
        """An item of the token's owner, as inventory shows it."""
        item_id = uuid4()
        item = {
            "id": str(item_id),
            "name": "Green tea",
            "quantity": 3.5,
            "minThreshold": 10,
            "unit": "kg",
            "category": "drinks",
            "sku": "TEA-1",
            "barcode": None,
            "status": "low",
        }
        self._items[token, str(item_id)] = item | fields
        return item_id

    def archive(self, token: str, item_id: UUID) -> None:
        del self._items[token, str(item_id)]

    def share(self, item_id: UUID, owner: str, other: str) -> None:
        """Another token of the owner's workspace sees the item too."""
        self._items[other, str(item_id)] = self._items[owner, str(item_id)]

    def release(self) -> None:
        """Let what hangs go on."""
        self._released.set()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/api/inventory/items/{item_id}", self._item)
        app.router.add_get("/elsewhere", self._elsewhere)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _item(self, request: web.Request) -> web.Response:
        self._note(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.behaviour == "hangs":
            self.hanging.set()
            await self._released.wait()
        if self.behaviour == "fails":
            return web.json_response({"code": "request.internal"}, status=500)
        if self.behaviour == "garbles":
            return web.json_response({"surprise": True})
        if self.behaviour == "disbelieves":
            return web.json_response({"code": "auth.unauthenticated"}, status=401)
        if self.behaviour == "limits":
            return web.json_response({"code": "request.limited"}, status=429)
        if self.behaviour == "redirects":
            raise web.HTTPTemporaryRedirect("/elsewhere")
        item = self._items.get((token, request.match_info["item_id"]))
        if item is None:
            return web.json_response({"code": "inventory.item_not_found"}, status=404)
        return web.json_response(item)

    def _note(self, request: web.Request) -> None:
        names = ("Authorization", "X-Request-Id")
        headers = {name: request.headers.get(name, "") for name in names}
        self.asked.append({"path": request.path} | headers)

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"name": "x", "unit": "x", "sku": None})


@asynccontextmanager
async def stub_inventory() -> AsyncIterator[StubInventory]:
    stub = StubInventory()
    await stub.start()
    try:
        yield stub
    finally:
        await stub.stop()
