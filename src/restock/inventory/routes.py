"""Inventory over HTTP. Each route declares, parses, calls one operation and renders."""

from typing import Annotated
from uuid import UUID

from restock.inventory import operations
from restock.inventory.faults import (
    BatchRefused,
    InsufficientStock,
    ItemBusy,
    ItemNotFound,
    QuantityTooLarge,
    SkuTaken,
    VersionChanged,
)
from restock.inventory.rounds import Rounds
from restock.inventory.schemas import (
    Batch,
    Item,
    ItemEdit,
    Movement,
    NewBatch,
    NewCount,
    NewItem,
    NewMovement,
)
from restock.kernel.database import Tx
from restock.kernel.faults import PreconditionFailed, PreconditionRequired
from restock.kernel.idempotency import RequestKey
from restock.kernel.identity import Principal
from restock.kernel.paging import Page
from restock.kernel.reply import Reply
from restock.kernel.web import Header, delete, get, patch, post

TAG = "The ETag of the item as you read it."
IfMatch = Annotated[str | None, Header("If-Match", TAG, example='"1"')]
NeededMatch = Annotated[str, Header("If-Match", TAG, unless=PreconditionRequired, example='"1"')]


@post(
    "/api/inventory/items",
    answers=201,
    faults=(SkuTaken, ItemBusy),
    single=True,
    key="ledger",
    tagged=True,
    summary="Make an item, with its first stock",
)
async def create_item(who: Principal, tx: Tx, key: RequestKey | None, data: NewItem) -> Reply[Item]:
    return _tagged(await operations.create_item(tx, who, data, key))


@get("/api/inventory/items", single=True, summary="List items, newest first")
async def list_items(
    who: Principal,
    tx: Tx,
    page: Page,
    category: str | None = None,
    search: str | None = None,
    low: bool | None = None,
) -> Reply[list[Item]]:
    found = await operations.list_items(tx, who, page, category=category, search=search, low=low)
    return page.reply(found, after=lambda last: (str(last.id),))


@get(
    "/api/inventory/items/low-stock",
    single=True,
    summary="List items at or below their threshold, lowest stock first",
)
async def list_low_stock(who: Principal, tx: Tx, page: Page) -> Reply[list[Item]]:
    found = await operations.list_low_stock(tx, who, page)
    return page.reply(found, after=lambda last: (f"{last.quantity:f}", str(last.id)))


@get(
    "/api/inventory/items/{item_id:uuid}",
    faults=(ItemNotFound,),
    single=True,
    tagged=True,
    summary="Read an item",
)
async def get_item(who: Principal, tx: Tx, item_id: UUID) -> Reply[Item]:
    return _tagged(await operations.get_item(tx, who, item_id))


@patch(
    "/api/inventory/items/{item_id:uuid}",
    faults=(ItemNotFound, SkuTaken, PreconditionFailed, PreconditionRequired, ItemBusy),
    tagged=True,
    summary="Edit an item; its stock stays as it is",
)
async def update_item(
    who: Principal,
    tx: Tx,
    key: RequestKey | None,
    item_id: UUID,
    data: ItemEdit,
    if_match: NeededMatch,
) -> Reply[Item]:
    versions = _versions(if_match)
    return _tagged(await operations.update_item(tx, who, item_id, data, versions, key))


@delete(
    "/api/inventory/items/{item_id:uuid}",
    answers=204,
    faults=(ItemNotFound, PreconditionFailed, ItemBusy),
    single=True,
    summary="Archive an item; its ledger remains",
)
async def archive_item(who: Principal, tx: Tx, item_id: UUID, if_match: IfMatch = None) -> None:
    versions = None if if_match is None else _versions(if_match)
    await operations.archive_item(tx, who, item_id, versions)


@patch(
    "/api/inventory/items/{item_id:uuid}/quantity",
    faults=(ItemNotFound, VersionChanged, ItemBusy),
    single=True,
    key="ledger",
    tagged=True,
    summary="Set an item's stock to what was counted",
)
async def set_quantity(
    who: Principal,
    tx: Tx,
    resources: Rounds,
    key: RequestKey | None,
    item_id: UUID,
    data: NewCount,
) -> Reply[Item]:
    return _tagged(await operations.set_quantity(tx, resources, who, item_id, data, key))


@post(
    "/api/inventory/items/{item_id:uuid}/movements",
    answers=201,
    faults=(ItemNotFound, InsufficientStock, QuantityTooLarge, ItemBusy),
    single=True,
    key="ledger",
    summary="Add to an item's stock or take from it",
)
async def add_movement(
    who: Principal,
    tx: Tx,
    resources: Rounds,
    key: RequestKey | None,
    item_id: UUID,
    data: NewMovement,
) -> Movement:
    return await operations.add_movement(tx, resources, who, item_id, data, key)


@get(
    "/api/inventory/items/{item_id:uuid}/logs",
    faults=(ItemNotFound,),
    single=True,
    summary="Read an item's ledger, newest first, archived or not",
)
async def list_logs(who: Principal, tx: Tx, page: Page, item_id: UUID) -> Reply[list[Movement]]:
    rows = await operations.list_logs(tx, who, item_id, page)
    return page.reply(rows, after=lambda last: (last.seq,))


@post(
    "/api/inventory/movements:batch",
    answers=200,
    faults=(BatchRefused,),
    key="ledger",
    summary="Make up to 500 movements: all or none, or each on its own",
)
async def add_movements(who: Principal, tx: Tx, key: RequestKey | None, data: NewBatch) -> Batch:
    return await operations.add_movements(tx, who, data, key)


def _tagged(item: Item) -> Reply[Item]:
    return Reply(item, headers={"ETag": f'"{item.version}"'})


def _versions(if_match: str) -> list[int] | None:
    """The versions that an If-Match names (RFC 9110, section 13.1.1); None for `*`, any.

    What isn't a strong tag of ours matches nothing.
    """
    if if_match.strip() == "*":
        return None
    tags = [tag.strip() for tag in if_match.split(",")]
    return [
        int(tag[1:-1])
        for tag in tags
        if len(tag) <= 20
        and tag[:1] == tag[-1:] == '"'
        and tag[1:-1].isascii()
        and tag[1:-1].isdigit()
    ]


ROUTES = (
    create_item,
    list_items,
    list_low_stock,
    get_item,
    update_item,
    archive_item,
    set_quantity,
    add_movement,
    list_logs,
    add_movements,
)
