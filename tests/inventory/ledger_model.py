"""Stock as the contract tells it, in a few lines of its own: what each call may be answered, and
how the world is after it. Nothing here knows the service's code.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.fixtures.running import Answered
from tests.inventory.stockroom import Account

Row = tuple[Decimal, Decimal]  # before, after
Batch = tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True)
class Call:
    """One request as somebody; what of the rest belongs to it depends on `kind`.

    `version` stands in expectedVersion or If-Match: None is left out, or `*` where it is needed.
    """

    who: Account
    kind: str
    item: str = ""
    amount: Decimal | None = None
    limit: Decimal | None = None
    version: int | None = None
    sku: str | None = None
    batch: Batch = ()
    key: str | None = None

    def is_same(self, other: "Call") -> bool:
        """Whether a key takes them for one: headers are no part of that."""
        blind = {"version": None} if self.kind == "edit" else {}
        return replace(self, **blind) == replace(other, **blind)


@dataclass(frozen=True)
class Item:
    """An item; `told` are its alerts as (version, word)."""

    workspace_id: UUID
    stock: Decimal
    threshold: Decimal | None
    sku: str | None
    version: int = 1
    archived: bool = False
    rows: tuple[Row, ...] = ()
    told: tuple[tuple[int, str], ...] = ()

    @property
    def low(self) -> bool:
        return self.threshold is not None and self.stock <= self.threshold

    @property
    def fine(self) -> bool:
        return self.stock > 0 if self.threshold is None else not self.low

    @property
    def status(self) -> str:
        return "out" if self.stock == 0 else "low" if self.low else "ok"

    def become(self, stock: Decimal, threshold: Decimal | None) -> "Item":
        """One version further, with the alerts of the edges that were crossed."""
        new = replace(self, stock=stock, threshold=threshold, version=self.version + 1)
        crossed = {
            "fell_low": new.low and not self.low,
            "ran_out": new.stock == 0 < self.stock,
            "recovered": new.fine and not self.fine,
        }
        told = tuple((new.version, word) for word, happened in crossed.items() if happened)
        return replace(new, told=self.told + told)

    def moved(self, stock: Decimal) -> "Item":
        """The same with a row in its ledger."""
        row = (self.stock, stock)
        return replace(self.become(stock, self.threshold), rows=(*self.rows, row))


def new_item(
    workspace_id: UUID, stock: Decimal, threshold: Decimal | None, sku: str | None
) -> Item:
    item = Item(workspace_id, stock, threshold, sku, rows=((Decimal(0), stock),))
    return replace(item, told=((1, "fell_low"),)) if item.low else item


@dataclass(frozen=True)
class World:
    """All items by id; what is kept of calls under a key: of those that wrote to the ledger, and
    beside it of edits."""

    items: Mapping[str, Item] = field(default_factory=dict)
    ledger: Mapping[tuple[UUID, str], tuple[Call, bytes]] = field(default_factory=dict)
    beside: Mapping[tuple[UUID, str], tuple[Call, bytes]] = field(default_factory=dict)

    def seen_by(self, who: Account, item_id: str) -> Item | None:
        item = self.items.get(item_id)
        is_there = item is not None and item.workspace_id == who.workspace_id
        return item if is_there and not item.archived else None

    def of(self, workspace_id: UUID) -> dict[str, Item]:
        """Items of a workspace that are in its lists."""
        return {
            item_id: item
            for item_id, item in self.items.items()
            if item.workspace_id == workspace_id and not item.archived
        }

    def put(self, **items: Item) -> "World":
        return replace(self, items={**self.items, **items})


def number(value: Any) -> Decimal:
    """A JSON number exactly as it was written."""
    return Decimal(str(value))


def after(world: World, call: Call, answer: Answered) -> World | None:
    """The world after the call, or None where it can't have been answered so in this one."""
    if call.key is None:
        return _judged(world, call, answer)
    name, edits = (call.who.user_id, call.key), call.kind == "edit"
    kept = (world.beside if edits else world.ledger).get(name)
    if kept is not None and kept[0].is_same(call):
        return world if answer.body == kept[1] else None
    if kept is not None or name in (world.ledger if edits else world.beside):
        is_right = _code(answer) == "request.idempotency_key_reused"
        if is_right and edits and kept is None:
            return replace(world, beside={**world.beside, name: (call, answer.body)})
        return world if is_right else None
    judged = _judged(world, call, answer)
    if judged is None:
        return None
    if edits and answer.status != 412:
        return replace(judged, beside={**world.beside, name: (call, answer.body)})
    if not edits and answer.status < 300 and judged.items != world.items:
        return replace(judged, ledger={**world.ledger, name: (call, answer.body)})
    return judged


def _judged(world: World, call: Call, answer: Answered) -> World | None:
    match call.kind:
        case "create":
            return _created(world, call, answer)
        case "batch all" | "batch each":
            return _batched(world, call, answer)
    item = world.seen_by(call.who, call.item)
    if item is None:
        return world if _code(answer) == "inventory.item_not_found" else None
    match call.kind:
        case "move":
            return _moved(world, call, answer, item)
        case "count":
            return _counted(world, call, answer, item)
        case "edit":
            return _edited(world, call, answer, item)
        case "archive":
            if call.version not in (None, item.version):
                return world if answer.status == 412 else None
            archived = replace(item, archived=True)
            return world.put(**{call.item: archived}) if answer.status == 204 else None
    raise AssertionError(call.kind)


def _created(world: World, call: Call, answer: Answered) -> World | None:
    taken = {item.sku for item in world.of(call.who.workspace_id).values()} - {None}
    if call.sku in taken:
        return world if _code(answer) == "inventory.sku_taken" else None
    assert call.amount is not None
    item = new_item(call.who.workspace_id, call.amount, call.limit, call.sku)
    if answer.status != 201 or answer.json["id"] in world.items or not shows(answer.json, item):
        return None
    return world.put(**{answer.json["id"]: item})


def _moved(world: World, call: Call, answer: Answered, item: Item) -> World | None:
    assert call.amount is not None
    if item.stock + call.amount < 0:
        is_right = _code(answer) == "inventory.insufficient_stock"
        return world if is_right and number(answer.json["available"]) == item.stock else None
    moved = item.moved(item.stock + call.amount)
    is_right = answer.status == 201 and _is_last_row(answer.json, moved)
    return world.put(**{call.item: moved}) if is_right else None


def _counted(world: World, call: Call, answer: Answered, item: Item) -> World | None:
    if call.version not in (None, item.version):
        is_right = _code(answer) == "inventory.version_changed"
        said = is_right and (answer.json["version"], number(answer.json["quantity"]))
        return world if said == (item.version, item.stock) else None
    assert call.amount is not None
    counted = item.moved(call.amount)
    is_right = answer.status == 200 and shows(answer.json, counted)
    return world.put(**{call.item: counted}) if is_right else None


def _edited(world: World, call: Call, answer: Answered, item: Item) -> World | None:
    if call.version not in (None, item.version):
        return world if answer.status == 412 else None
    edited = item.become(item.stock, call.amount)
    is_right = answer.status == 200 and shows(answer.json, edited)
    return world.put(**{call.item: edited}) if is_right else None


def _batched(world: World, call: Call, answer: Answered) -> World | None:
    """Place by place; "all" first turns an item's movements so that they are possible."""
    order = list(enumerate(call.batch))
    if call.kind == "batch all":
        refused = [place for place, move in order if not _is_possible(world, call, move[0])]
        if refused:
            wrong = [
                place
                for place, (item_id, delta) in order
                if place in refused and (world.seen_by(call.who, item_id) is None or delta < 0)
            ]
            is_right = _code(answer) == "inventory.batch_refused"
            said = is_right and [int(e["pointer"].split("/")[2]) for e in answer.json["errors"]]
            return world if said == wrong else None
        order = [
            entry
            for item_id in dict.fromkeys(m[0] for m in call.batch)
            for entry in _turned(world, [e for e in order if e[1][0] == item_id])
        ]
    if answer.status != 200:
        return None
    results = answer.json["results"]
    for place, (item_id, delta) in order:
        result = results[place]
        said = Answered(result["status"], {}, b"", result.get("movement") or result["problem"])
        following = _judged(world, replace(call, kind="move", item=item_id, amount=delta), said)
        if following is None:
            return None
        world = following
    return world


def _is_possible(world: World, call: Call, item_id: str) -> bool:
    item = world.seen_by(call.who, item_id)
    return item is not None and item.stock + sum(_deltas(call.batch, item_id)) >= 0


def _deltas(batch: Batch, item_id: str) -> Iterable[Decimal]:
    return (delta for moved, delta in batch if moved == item_id)


def _turned(world: World, order: list[tuple[int, tuple[str, Decimal]]]) -> list[Any]:
    """As asked for, or arrivals first where a takeaway would come too early."""
    stock = world.items[order[0][1][0]].stock
    for _, (_, delta) in order:
        stock += delta
        if stock < 0:
            return sorted(order, key=lambda entry: entry[1][1] < 0)
    return order


def shows(answered: Mapping[str, Any], item: Item) -> bool:
    """Whether an item is answered as it is here."""
    threshold = answered["minThreshold"]
    return (
        number(answered["quantity"]) == item.stock
        and (threshold if threshold is None else number(threshold)) == item.threshold
        and (answered["isLowStock"], answered["status"]) == (item.low, item.status)
        and (answered["version"], answered["sku"]) == (item.version, item.sku)
        and answered["workspaceId"] == str(item.workspace_id)
    )


def is_row(answered: Mapping[str, Any], row: Row) -> bool:
    before, now = row
    numbers = [number(answered[name]) for name in ("previousQuantity", "newQuantity", "delta")]
    return numbers == [before, now, now - before]


def _is_last_row(answered: Mapping[str, Any], item: Item) -> bool:
    return answered["seq"] == len(item.rows) and is_row(answered, item.rows[-1])


def _code(answer: Answered) -> str | None:
    return answer.json.get("code") if answer.json is not None and answer.status >= 400 else None
