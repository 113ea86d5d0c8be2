"""What can be done with items and their stock.

The operations that write to the ledger keep an Idempotency-Key there, for good: a repetition of
what succeeded is answered from the rows written then, however the world has changed since;
a repetition of what was refused is judged anew.
"""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta

from restock.inventory import domain
from restock.inventory.domain import Obstacle, Refused
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
    BatchResult,
    Item,
    ItemEdit,
    Movement,
    MovementProblem,
    NewBatch,
    NewCount,
    NewItem,
    NewMovement,
)
from restock.inventory.store import batches, changes, items, ledger
from restock.inventory.store.items import KeyTaken, SkuExists
from restock.inventory.store.ledger import Written
from restock.kernel.database import Tx
from restock.kernel.faults import Fault, FieldError, Invalid, PreconditionFailed
from restock.kernel.idempotency import KeyReused, RequestKey
from restock.kernel.identity import Principal
from restock.kernel.paging import Page

# How often a change is tried when its obstacle is gone by the time it is looked for.
ATTEMPTS = 4

# The values of cursors, as bounded as the columns they are compared with.
Seq = Annotated[int, Meta(ge=1, le=2**63 - 1)]
StockText = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?\Z")]

T = TypeVar("T")

FAULTS: dict[Obstacle, type[Fault]] = {
    Obstacle.MISSING: ItemNotFound,
    Obstacle.SHORT: InsufficientStock,
    Obstacle.TOO_LARGE: QuantityTooLarge,
    Obstacle.CHANGED: VersionChanged,
}


async def create_item(tx: Tx, who: Principal, new: NewItem, key: RequestKey | None) -> Item:
    """Make an item with its first stock.

    Raises Invalid, SkuTaken, and KeyReused.
    """
    _refuse(
        *_negative("/quantity", new.quantity),
        *_negative("/minThreshold", new.min_threshold),
    )
    try:
        return await items.create(tx, who, new, key)
    except KeyTaken:
        first = await _first(tx, who, key)
    except SkuExists:
        first = await _first(tx, who, key)
        if first is None:
            raise SkuTaken() from None
    if first is None:
        raise ItemBusy()
    return first.item


async def list_items(
    tx: Tx,
    who: Principal,
    page: Page,
    *,
    category: str | None,
    search: str | None,
    low: bool | None,
) -> list[Item]:
    """The workspace's items, newest first; one more than the page holds where there are more."""
    after = page.after(tuple[UUID])
    return await items.newest(
        tx,
        who.workspace_id,
        # an empty filter is a search field nobody has typed into yet
        category=category or None,
        search=search or None,
        low=low,
        before=after[0] if after else None,
        limit=page.limit,
    )


async def list_low_stock(tx: Tx, who: Principal, page: Page) -> list[Item]:
    """Items at or below their threshold, lowest stock first; one more as in `list_items`."""
    cursor = page.after(tuple[StockText, UUID])
    after = cursor and (Decimal(cursor[0]), cursor[1])
    return await items.low_stock(tx, who.workspace_id, after, page.limit)


async def get_item(tx: Tx, who: Principal, item_id: UUID) -> Item:
    """An item. Raises ItemNotFound."""
    item = await items.get(tx, who.workspace_id, item_id)
    if item is None:
        raise ItemNotFound()
    return item


async def update_item(
    tx: Tx,
    who: Principal,
    item_id: UUID,
    change: ItemEdit,
    versions: Sequence[int] | None,
    key: RequestKey | None,
) -> Item:
    """Edit an item that is at one of `versions` (None: at any).

    The edge keeps its answer, and holds `key` until then; here it is only seen not to be one of the
    ledger's. Raises Invalid, ItemNotFound, PreconditionFailed, SkuTaken and KeyReused.
    """
    if key is not None and await ledger.written_under(tx, who, key.key) is not None:
        raise KeyReused()
    if all(value is UNSET for value in msgspec.structs.astuple(change)):
        raise Invalid(errors=[FieldError("", "Expected at least one field to change")])
    if change.min_threshold is not UNSET:
        _refuse(*_negative("/minThreshold", change.min_threshold))
    for _ in range(ATTEMPTS):
        try:
            item = await items.edit(tx, who.workspace_id, item_id, change, versions)
        except SkuExists:
            raise SkuTaken() from None
        if item is not None:
            return item
        await _look_for_stale(tx, who, item_id, versions)
    raise ItemBusy()


async def archive_item(
    tx: Tx, who: Principal, item_id: UUID, versions: Sequence[int] | None
) -> None:
    """Archive an item that is at one of `versions` (None: at any).

    Raises ItemNotFound and PreconditionFailed.
    """
    for _ in range(ATTEMPTS):
        if await items.archive(tx, who.workspace_id, item_id, versions):
            return
        await _look_for_stale(tx, who, item_id, versions)
    raise ItemBusy()


async def set_quantity(
    tx: Tx,
    rounds: Rounds,
    who: Principal,
    item_id: UUID,
    counted: NewCount,
    key: RequestKey | None,
) -> Item:
    """Set an item's stock to what was counted.

    Raises Invalid, ItemNotFound, VersionChanged and KeyReused.
    """
    _refuse(*_negative("/quantity", counted.quantity))
    expected = counted.expected_version
    versions = None if expected is None else (expected,)

    async def look() -> None:
        stock = await items.stock_of(tx, who.workspace_id, item_id)
        match domain.obstacle_to_change(stock, versions):
            case Obstacle.MISSING:
                raise ItemNotFound()
            case Obstacle.CHANGED if stock is not None:
                raise VersionChanged(version=stock.version, quantity=stock.quantity)

    return await _once(
        tx,
        who,
        key,
        change=lambda: rounds.make(tx, changes.counted(who, item_id, counted, key)),
        again=lambda first: first.item,
        look=look,
    )


async def add_movement(
    tx: Tx,
    rounds: Rounds,
    who: Principal,
    item_id: UUID,
    movement: NewMovement,
    key: RequestKey | None,
) -> Movement:
    """Add to an item's stock or take from it.

    Raises Invalid, ItemNotFound, InsufficientStock, QuantityTooLarge and KeyReused.
    """
    _refuse(*_unmovable("", movement))

    async def look() -> None:
        stock = await items.stock_of(tx, who.workspace_id, item_id)
        obstacle = domain.obstacle_to_movement(stock, movement.delta)
        if obstacle is Obstacle.MISSING or stock is None:
            raise ItemNotFound()
        if obstacle is not None:
            raise FAULTS[obstacle](available=stock.quantity)

    return await _once(
        tx,
        who,
        key,
        change=lambda: rounds.make(tx, changes.moved(who, item_id, movement, key)),
        again=lambda first: first.rows[0],
        look=look,
    )


async def list_logs(tx: Tx, who: Principal, item_id: UUID, page: Page) -> list[Movement]:
    """An item's ledger, newest first, one row more than the page where there are more.

    Answers for an archived item too. Raises ItemNotFound.
    """
    after = page.after(tuple[Seq])
    before = after[0] if after else None
    rows = await ledger.logs(tx, who.workspace_id, item_id, before, page.limit)
    if not rows and await items.stock_of(tx, who.workspace_id, item_id) is None:
        raise ItemNotFound()
    return rows


async def add_movements(tx: Tx, who: Principal, batch: NewBatch, key: RequestKey | None) -> Batch:
    """Make many movements: all or none of them, or each that is possible.

    A repetition under the same key gives the same results, the refused ones too, as long as one
    movement was made; a batch that changed nothing is judged anew. Raises Invalid, BatchRefused
    and KeyReused.
    """
    movements = batch.movements
    _refuse(
        *(
            error
            for place, movement in enumerate(movements)
            for error in _unmovable(f"/movements/{place}", movement)
        )
    )
    if key is not None:
        # before the items are locked; a repetition waits here for the rows of the first
        is_free = await ledger.hold_key(tx, who, key.key)
        # looked for first: an edit that came later under its key is refused, and that is kept too
        first = await ledger.written_under(tx, who, key.key)
        if first is not None:
            return _as_first_answered(_same(first, key))
        if not is_free:
            raise KeyReused()
    stocks = await batches.lock(tx, who.workspace_id, [m.item_id for m in movements])
    wanted = [(movement.item_id, movement.delta) for movement in movements]
    if batch.mode == "all":
        plan = domain.plan_all(wanted, stocks)
        if plan.refused:
            raise BatchRefused(errors=[_batch_error(refusal) for refusal in plan.refused])
    else:
        plan = domain.plan_each(wanted, stocks)
    if not plan.steps:
        return _results({}, plan.refused)
    made = await batches.write(tx, who, plan, movements, key, plan.refused or None)
    return _results(made, plan.refused)


async def _once(
    tx: Tx,
    who: Principal,
    key: RequestKey | None,
    *,
    change: Callable[[], Awaitable[T | None]],
    again: Callable[[Written], T],
    look: Callable[[], Awaitable[None]],
) -> T:
    """Make a change of one item, or answer as when it was first made under the key.

    `look` raises what stands in the way now. Where nothing does any more, others were at work
    between the two statements, and the change is tried again.
    """
    for _ in range(ATTEMPTS):
        try:
            done = await change()
        except KeyTaken:
            done = None
        if done is not None:
            return done
        first = await _first(tx, who, key)
        if first is not None:
            return again(first)
        await look()
    raise ItemBusy()


async def _first(tx: Tx, who: Principal, key: RequestKey | None) -> Written | None:
    """What the request wrote when it came first. Raises KeyReused when that was another."""
    if key is None:
        return None
    first = await ledger.written_under(tx, who, key.key)
    if first is not None:
        return _same(first, key)
    if await ledger.kept_beside(tx, who, key.key):
        raise KeyReused()
    return None


def _same(first: Written, key: RequestKey) -> Written:
    """What the request wrote when it came first. Raises KeyReused when that was another."""
    if first.request_hash != key.hash:
        raise KeyReused()
    return first


async def _look_for_stale(
    tx: Tx, who: Principal, item_id: UUID, versions: Sequence[int] | None
) -> None:
    stock = await items.stock_of(tx, who.workspace_id, item_id)
    match domain.obstacle_to_change(stock, versions):
        case Obstacle.MISSING:
            raise ItemNotFound()
        case Obstacle.CHANGED:
            raise PreconditionFailed()


def _as_first_answered(first: Written) -> Batch:
    """A batch's results, put together from its rows and what row 0 says was refused."""
    refused = msgspec.convert(first.answer or [], list[Refused], strict=False)
    taken = {refusal.place for refusal in refused}
    places = (place for place in range(len(first.rows) + len(taken)) if place not in taken)
    return _results(dict(zip(places, first.rows, strict=False)), refused)


def _results(made: dict[int, Movement], refused: Sequence[Refused]) -> Batch:
    results = {place: BatchResult(status=201, movement=row) for place, row in made.items()}
    for refusal in refused:
        fault = FAULTS[refusal.obstacle]
        problem = MovementProblem(
            code=fault.code,
            title=fault.title,
            status=fault.status,
            available=UNSET if refusal.available is None else refusal.available,
        )
        results[refusal.place] = BatchResult(status=fault.status, problem=problem)
    return Batch(results=[results[place] for place in sorted(results)])


def _batch_error(refusal: Refused) -> FieldError:
    fault = FAULTS[refusal.obstacle]
    field = "itemId" if refusal.obstacle is Obstacle.MISSING else "delta"
    stock = "" if refusal.available is None else f": {refusal.available:f} in stock"
    return FieldError(f"/movements/{refusal.place}/{field}", f"{fault.title}{stock}")


def _unmovable(at: str, movement: NewMovement) -> list[FieldError]:
    errors = []
    if movement.delta == 0:
        errors.append(FieldError(f"{at}/delta", "Expected a number other than 0"))
    moment = movement.occurred_at
    if moment is not None and not domain.EARLIEST <= moment < domain.END_OF_TIME:
        errors.append(FieldError(f"{at}/occurredAt", "Expected a year from 1900 to 8999, in UTC"))
    return errors


def _negative(pointer: str, quantity: Decimal | None) -> list[FieldError]:
    if quantity is not None and quantity < 0:
        return [FieldError(pointer, "Expected a number of 0 or more")]
    return []


def _refuse(*errors: FieldError) -> None:
    if errors:
        raise Invalid(errors=errors)
