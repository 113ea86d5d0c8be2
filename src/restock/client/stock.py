"""`/api/inventory`: items, their stock and its ledger."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from restock.client.paging import PAGE_SIZE, pages
from restock.client.shapes import BatchResult, BatchResults, Item, Movement
from restock.client.transport import Call, Reply, TokenSource, Transport, new_key

ROOT = "/api/inventory"
Number = Decimal | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A movement of a batch: `delta` is negative when stock goes out."""

    item_id: UUID
    delta: Number
    reason: str
    note: str | None = None
    ref: str | None = None
    occurred_at: datetime | None = None


class Inventory:
    """Items of the signed-in account's workspace. Refusals are raised as ApiProblem."""

    def __init__(self, transport: Transport, tokens: TokenSource) -> None:
        self._transport = transport
        self._tokens = tokens

    async def create_item(
        self,
        *,
        name: str,
        quantity: Number = 0,
        min_threshold: Number | None = None,
        unit: str = "piece",
        category: str = "general",
        sku: str | None = None,
        barcode: str | None = None,
        key: str | None = None,
    ) -> Item:
        """Write an item down with its first stock. 409 when the workspace has the sku."""
        body = {
            "name": name,
            "quantity": quantity,
            "minThreshold": min_threshold,
            "unit": unit,
            "category": category,
            "sku": sku if sku is not None else UNSET,
            "barcode": barcode if barcode is not None else UNSET,
        }
        return (await self._change("POST", "/items", body, key)).read(Item)

    def items(
        self,
        *,
        category: str | None = None,
        search: str | None = None,
        low: bool | None = None,
        limit: int = PAGE_SIZE,
    ) -> AsyncIterator[Item]:
        """The items, newest first; `limit` is the size of a page."""
        params = {"category": category, "search": search, "low": low, "limit": limit}
        return self._list("/items", params, Item)

    def low_stock(self, *, limit: int = PAGE_SIZE) -> AsyncIterator[Item]:
        """The items at or below their threshold, lowest first."""
        return self._list("/items/low-stock", {"limit": limit}, Item)

    async def item(self, item_id: UUID) -> Item:
        """One item. 404 when it isn't in the workspace."""
        call = Call(method="GET", path=f"{ROOT}/items/{item_id}")
        return (await self._transport.send(call, self._tokens)).read(Item)

    async def change_item(
        self,
        item_id: UUID,
        *,
        version: int,
        name: str | UnsetType = UNSET,
        min_threshold: Number | UnsetType | None = UNSET,
        unit: str | UnsetType = UNSET,
        category: str | UnsetType = UNSET,
        sku: str | UnsetType | None = UNSET,
        barcode: str | UnsetType | None = UNSET,
        key: str | None = None,
    ) -> Item:
        """Edit what is given. 412 when the item isn't at `version` any more."""
        body = {
            "name": name,
            "minThreshold": min_threshold,
            "unit": unit,
            "category": category,
            "sku": sku,
            "barcode": barcode,
        }
        headers = {"If-Match": f'"{version}"'}
        return (await self._change("PATCH", f"/items/{item_id}", body, key, headers)).read(Item)

    async def archive_item(self, item_id: UUID, *, version: int | None = None) -> None:
        """Delete the item; its ledger remains."""
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        call = Call(method="DELETE", path=f"{ROOT}/items/{item_id}", headers=headers)
        await self._transport.send(call, self._tokens)

    async def set_quantity(
        self,
        item_id: UUID,
        quantity: Number,
        reason: str,
        *,
        expected_version: int | None = None,
        key: str | None = None,
    ) -> Item:
        """Write down a count. 409 `inventory.version_changed` for a stale version."""
        body = {
            "quantity": quantity,
            "reason": reason,
            "expectedVersion": UNSET if expected_version is None else expected_version,
        }
        return (await self._change("PATCH", f"/items/{item_id}/quantity", body, key)).read(Item)

    async def add_movement(
        self,
        item_id: UUID,
        delta: Number,
        reason: str,
        *,
        note: str | None = None,
        ref: str | None = None,
        occurred_at: datetime | None = None,
        key: str | None = None,
    ) -> Movement:
        """Change the stock by `delta`. 409 `inventory.insufficient_stock` (`available`)."""
        body = _movement(delta, reason, note, ref, occurred_at)
        return (await self._change("POST", f"/items/{item_id}/movements", body, key)).read(Movement)

    async def add_movements(
        self, changes: Sequence[Change], *, mode: str, key: str | None = None
    ) -> list[BatchResult]:
        """A result for each change, in order. Mode "all" raises 409 when one is refused."""
        movements = [
            _movement(c.delta, c.reason, c.note, c.ref, c.occurred_at) | {"itemId": c.item_id}
            for c in changes
        ]
        body = {"mode": mode, "movements": movements}
        reply = await self._change("POST", "/movements:batch", body, key)
        return reply.read(BatchResults).results

    def logs(self, item_id: UUID, *, limit: int = PAGE_SIZE) -> AsyncIterator[Movement]:
        """The item's ledger, newest first; an archived item's too."""
        return self._list(f"/items/{item_id}/logs", {"limit": limit}, Movement)

    def _list(self, path: str, params: Mapping[str, Any], kind: type) -> AsyncIterator[Any]:
        call = Call(method="GET", path=ROOT + path, params=params)
        return pages(self._transport, self._tokens, call, kind)

    async def _change(
        self,
        method: str,
        path: str,
        body: Any,
        key: str | None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        call = Call(
            method=method,
            path=ROOT + path,
            body=body,
            key=key or new_key(),
            headers=headers or {},
        )
        return await self._transport.send(call, self._tokens)


def _movement(
    delta: Number, reason: str, note: str | None, ref: str | None, occurred_at: datetime | None
) -> dict[str, Any]:
    return {
        "delta": delta,
        "reason": reason,
        "note": UNSET if note is None else note,
        "ref": UNSET if ref is None else ref,
        "occurredAt": UNSET if occurred_at is None else occurred_at,
    }
