"""The ledger: an item's stock changes by one statement, which writes its row and its alerts.

A row written under an Idempotency-Key holds the key and the hash of its request, so a repetition
violates `ledger_key` and its statement fails as a whole; `written_under` then reads the first
answer back. What that needs beside the row itself stands in its `answer`:

- a movement's answer is the row: null
- a count's, or a new item's, is the item as it was then: the item
- a batch's is all its rows, told apart by `position`, and in row 0 what was refused (`batches`)

Only what changed something is kept; a refused request leaves no row and is judged anew.

An edit of an item is no ledger call: the edge keeps its answer in `kept_answers`, where
`ledger_key` can't see it. So that one key never has both effects, either side holds the key
(`hold_key`) from before it looks at the other's table until its own commit: an edit, and a batch,
by a statement of its own, before any item is locked; a change of one item within its statement.
"""

from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from asyncpg import Record
from msgspec import UNSET

from restock.inventory.schemas import Item, Movement, NewCount, NewMovement
from restock.inventory.store.items import unique
from restock.inventory.store.parts import ALERTS, ITEM, KEPT_ITEM, ROW, UNKEPT, compose
from restock.kernel.database import Tx
from restock.kernel.idempotency import RequestKey
from restock.kernel.identity import Principal
from restock.kernel.outbox import wake_after_commit
from restock.kernel.telemetry import traceparent

# {quantity} is the new stock; the WHERE is judged on the row as it is once its lock is ours, so
# changes at the same time wait for each other and each sees the one before.
_CHANGE = """
WITH changed AS (
    UPDATE items SET
        quantity = {quantity},
        version = version + 1,
        moves = moves + 1,
        updated_at = clock_timestamp()
    WHERE workspace_id = $2 AND id = $3 AND archived_at IS NULL
      AND {quantity} >= 0 AND {quantity} < 1000000000
      AND ($5::bigint IS NULL OR version = $5)
      AND {unkept}
    RETURNING new.*,
        old.quantity AS previous_quantity, old.min_threshold AS previous_threshold
), written AS (
    INSERT INTO ledger (
        workspace_id, item_id, seq, user_id, previous_quantity, new_quantity,
        reason, note, ref, occurred_at, created_at, key, position, request_hash, answer
    )
    SELECT workspace_id, id, moves, $6::uuid, previous_quantity, quantity,
           $7, $8, $9, coalesce($10, updated_at), updated_at,
           $11::text, CASE WHEN $11 IS NOT NULL THEN 0 END, $12::bytea, {answer}
    FROM changed
    RETURNING *
), told AS ({alerts})
SELECT {columns}, (SELECT count(*) FROM told) AS alerts FROM {source}
""".replace("{unkept}", compose(UNKEPT, key="$11::text", user_id="$6::uuid"))

_ADD = compose(
    _CHANGE,
    quantity="quantity + $4::numeric",
    answer="NULL::jsonb",
    alerts=ALERTS,
    columns=ROW,
    source="written",
)

_COUNT = compose(
    _CHANGE,
    quantity="$4::numeric",
    answer="CASE WHEN $11 IS NOT NULL THEN {kept_item} END",
    kept_item=KEPT_ITEM,
    alerts=ALERTS,
    columns=ITEM,
    source="changed",
)

_LOGS = compose(
    """
SELECT {row} FROM ledger
WHERE workspace_id = $1 AND item_id = $2 AND seq < coalesce($3, 9223372036854775807)
ORDER BY seq DESC
LIMIT $4
""",
    row=ROW,
)

_WRITTEN_UNDER = compose(
    """
SELECT request_hash, answer, {row} FROM ledger
WHERE workspace_id = $1 AND user_id = $2 AND key = $3
ORDER BY position
""",
    row=ROW,
)


_HOLD_KEY = "SELECT hold_key($1, $2, $3)"

_KEPT_BESIDE = """
SELECT EXISTS (
    SELECT FROM kept_answers WHERE workspace_id = $1 AND user_id = $2 AND key = $3)
"""


class Written(NamedTuple):
    """What was written under a key: the hash of its request, its rows, the answer beside them."""

    request_hash: bytes
    rows: list[Movement]
    answer: Any

    @property
    def item(self) -> Item:
        """The item as it was, where it was the answer.

        The row is for good and items may get more fields: one that the answer didn't have then
        is UNSET, which leaves it out again.
        """
        kept: dict[str, Any] = {
            field.name: UNSET
            if field.encode_name not in self.answer
            else msgspec.convert(self.answer[field.encode_name], field.type, strict=False)
            for field in msgspec.structs.fields(Item)
        }
        return Item(**kept)


async def add(
    tx: Tx, who: Principal, item_id: UUID, movement: NewMovement, key: RequestKey | None
) -> Movement | None:
    """Change a stock by `delta`. None: it isn't possible, or there is no such item.

    Raises KeyTaken.
    """
    row = await _change(
        tx,
        _ADD,
        who,
        item_id,
        movement.delta,
        None,
        (movement.reason, movement.note, movement.ref, movement.occurred_at),
        key,
    )
    return None if row is None else Movement(**row)


async def count(
    tx: Tx, who: Principal, item_id: UUID, counted: NewCount, key: RequestKey | None
) -> Item | None:
    """Set a stock to what was counted. None: the item is at another version, or isn't there.

    Raises KeyTaken.
    """
    row = await _change(
        tx,
        _COUNT,
        who,
        item_id,
        counted.quantity,
        counted.expected_version,
        (counted.reason, None, None, None),
        key,
    )
    return None if row is None else Item(**row)


async def logs(
    tx: Tx, workspace_id: UUID, item_id: UUID, before: int | None, limit: int
) -> list[Movement]:
    """An item's rows, newest first, from the one before seq `before` on; at most `limit` + 1."""
    rows = await tx.fetch(_LOGS, workspace_id, item_id, before, limit + 1)
    return [Movement(**row) for row in rows]


async def written_under(tx: Tx, who: Principal, key: str) -> Written | None:
    """What the account wrote under a key."""
    rows = await tx.fetch(_WRITTEN_UNDER, who.workspace_id, who.user_id, key)
    if not rows:
        return None
    movements = [Movement(**_without(row, "request_hash", "answer")) for row in rows]
    return Written(rows[0]["request_hash"], movements, rows[0]["answer"])


async def hold_key(tx: Tx, who: Principal, key: str) -> bool:
    """Whether a key is free of answers kept beside the ledger; it is ours until `tx` ends.

    To be called before any item is locked: whoever locks both takes them in this order.
    """
    return bool(await tx.fetchval(_HOLD_KEY, who.workspace_id, who.user_id, key))


async def kept_beside(tx: Tx, who: Principal, key: str) -> bool:
    """Whether the edge keeps an answer under the key: it was used for what is no ledger call."""
    return bool(await tx.fetchval(_KEPT_BESIDE, who.workspace_id, who.user_id, key))


async def _change(
    tx: Tx,
    sql: str,
    who: Principal,
    item_id: UUID,
    amount: Decimal,
    expected_version: int | None,
    words: tuple[Any, ...],
    key: RequestKey | None,
) -> dict[str, Any] | None:
    row = await unique(
        tx.fetchrow(
            sql,
            traceparent(),
            who.workspace_id,
            item_id,
            amount,
            expected_version,
            who.user_id,
            *words,
            key and key.key,
            key and key.hash,
        )
    )

    if row is None:
        return None
    if row["alerts"]:
        wake_after_commit(tx)
    return _without(row, "alerts")


def _without(row: Record, *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}
