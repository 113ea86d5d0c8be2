"""Changes of stock: each by one statement, which writes its ledger row and its alerts as well.

One change has a statement of its own and so has a round of them (see `rounds`); they differ in
where the changes come from and in what they do about others' locks, and in nothing that they write.
One alone waits: for its key first, then for its item. A round waits for neither, so that it can't
be part of a circle of those that wait: what it doesn't get at once it leaves out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

from restock.inventory.schemas import Item, Movement, NewCount, NewMovement
from restock.inventory.store.items import unique
from restock.inventory.store.parts import ITEM, KEPT_ITEM, ROW, UNKEPT, alerts, compose
from restock.kernel.database import Tx
from restock.kernel.idempotency import RequestKey
from restock.kernel.identity import Principal
from restock.kernel.outbox import wake_after_commit
from restock.kernel.telemetry import traceparent

T = TypeVar("T")

# {quantity} is the new stock; the WHERE is judged on the row as it is once its lock is ours, so
# changes at the same time wait for each other and each sees the one before.
_CHANGE = """
WITH asked AS (
    {asked}
), changed AS (
    UPDATE items SET
        quantity = {quantity},
        version = version + 1,
        moves = moves + 1,
        updated_at = clock_timestamp()
    FROM asked
    WHERE workspace_id = $1 AND id = item_id AND archived_at IS NULL
      AND {quantity} >= 0 AND {quantity} < 1000000000
      AND (expected_version IS NULL OR version = expected_version)
      AND {held}
    RETURNING new.*, asked.*,
        old.quantity AS previous_quantity, old.min_threshold AS previous_threshold
), written AS (
    INSERT INTO ledger (
        workspace_id, item_id, seq, user_id, previous_quantity, new_quantity,
        reason, note, ref, occurred_at, created_at, key, position, request_hash, answer
    )
    SELECT workspace_id, id, moves, by_user, previous_quantity, quantity,
           reason, note, ref, coalesce(occurred_at, updated_at), updated_at,
           key, CASE WHEN key IS NOT NULL THEN 0 END, request_hash, {answer}
    FROM changed
    RETURNING *
), told AS ({alerts})
SELECT {columns}, (SELECT count(*) FROM told) AS alerts FROM {source}
"""

_ONE = {
    "asked": """
    SELECT $2::uuid AS item_id, $3::numeric AS amount, $4::bigint AS expected_version,
           $5::uuid AS by_user, $6::text AS reason, $7::text AS note, $8::text AS ref,
           $9::timestamptz AS occurred_at, $10::text AS key, $11::bytea AS request_hash,
           $12::text AS traceparent
    """,
    "held": compose(UNKEPT, key="key", workspace_id="$1", user_id="by_user"),
}

_MANY = {
    "asked": """
    SELECT item_id, amount, expected_version, by_user, reason, note, ref, occurred_at, key,
           request_hash, traceparent
    FROM unnest(
        $2::uuid[], $3::numeric[], $4::bigint[], $5::uuid[], $6::text[], $7::text[], $8::text[],
        $9::timestamptz[], $10::text[], $11::bytea[], $12::text[]
    ) WITH ORDINALITY a (
        item_id, amount, expected_version, by_user, reason, note, ref, occurred_at, key,
        request_hash, traceparent, place
    )
    WHERE place IN (SELECT hold_keys($1, $5, $10))
), locked AS (
    SELECT id FROM items
    WHERE workspace_id = $1 AND id = ANY (ARRAY(SELECT item_id FROM asked))
    FOR NO KEY UPDATE SKIP LOCKED
    """,
    "held": "id IN (SELECT locked.id FROM locked)",
}

_COUNTS = {
    "quantity": "amount",
    "answer": "CASE WHEN key IS NOT NULL THEN {kept_item} END",
    "kept_item": KEPT_ITEM,
    "columns": ITEM,
    "source": "changed",
}

_MOVES = {
    "quantity": "quantity + amount",
    "answer": "NULL::jsonb",
    "columns": ROW,
    "source": "written",
}

_ALERTS = alerts(traceparent="c.traceparent")
_COUNT = compose(_CHANGE, **_ONE, **_COUNTS, alerts=_ALERTS)
_COUNT_MANY = compose(_CHANGE, **_MANY, **_COUNTS, alerts=_ALERTS)
_ADD = compose(_CHANGE, **_ONE, **_MOVES, alerts=_ALERTS)
_ADD_MANY = compose(_CHANGE, **_MANY, **_MOVES, alerts=_ALERTS)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of change: its statements, and the answer they make, which names its item so."""

    one: str
    many: str
    answer: type[T]
    item: str


COUNT = Kind(_COUNT, _COUNT_MANY, Item, "id")
ADD = Kind(_ADD, _ADD_MANY, Movement, "item_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[T]):
    """A change of an item's stock, as somebody asks for it."""

    kind: Kind[T]
    who: Principal
    key: RequestKey | None
    item_id: UUID
    amount: Decimal
    reason: str
    expected_version: int | None = None
    note: str | None = None
    ref: str | None = None
    occurred_at: datetime | None = None
    traceparent: str | None = field(default_factory=traceparent)

    @property
    def values(self) -> tuple[Any, ...]:
        """Its parameters, from $2 on."""
        return (
            self.item_id,
            self.amount,
            self.expected_version,
            self.who.user_id,
            self.reason,
            self.note,
            self.ref,
            self.occurred_at,
            self.key and self.key.key,
            self.key and self.key.hash,
            self.traceparent,
        )


def counted(who: Principal, item_id: UUID, new: NewCount, key: RequestKey | None) -> Change[Item]:
    """Set a stock to what was counted; its answer is the item."""
    return Change(
        kind=COUNT,
        who=who,
        key=key,
        item_id=item_id,
        amount=new.quantity,
        reason=new.reason,
        expected_version=new.expected_version,
    )


def moved(
    who: Principal, item_id: UUID, new: NewMovement, key: RequestKey | None
) -> Change[Movement]:
    """Change a stock by `delta`; its answer is the ledger's row."""
    return Change(
        kind=ADD,
        who=who,
        key=key,
        item_id=item_id,
        amount=new.delta,
        reason=new.reason,
        note=new.note,
        ref=new.ref,
        occurred_at=new.happened_at,
    )


async def make(tx: Tx, change: Change[T]) -> T | None:
    """Make a change. None: it isn't possible on the item as it is, or there is no such item.

    Raises KeyTaken.
    """
    kind = change.kind
    row = await unique(tx.fetchrow(kind.one, change.who.workspace_id, *change.values))
    if row is None:
        return None
    if row["alerts"]:
        wake_after_commit(tx)
    return kind.answer(*row[:-1])


async def make_all(tx: Tx, changes: Sequence[Change[T]]) -> list[T | None]:
    """Make changes of one kind, of different items of one workspace, under different keys.

    Each is judged on its own; their answers in the order of the changes. None is one that can't
    be made now: on the item as it is, or because somebody else has its item or key, or because
    something was done under its key before. Raises KeyTaken.
    """
    kind, workspace_id = changes[0].kind, changes[0].who.workspace_id
    columns = zip(*(change.values for change in changes), strict=True)
    rows = await unique(tx.fetch(kind.many, workspace_id, *columns))
    if rows and rows[0]["alerts"]:
        wake_after_commit(tx)
    made = {row[kind.item]: kind.answer(*row[:-1]) for row in rows}
    return [made.get(change.item_id) for change in changes]
