"""Items: made, read, edited, archived. Their stock is changed by `ledger` and `batches`."""

from collections.abc import Awaitable, Sequence
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from msgspec import UNSET

from restock.inventory.domain import Stock
from restock.inventory.schemas import Item, ItemEdit, NewItem
from restock.inventory.store.parts import ITEM, KEPT_ITEM, UNKEPT, alerts_after, compose
from restock.kernel.database import Tx
from restock.kernel.idempotency import RequestKey
from restock.kernel.identity import Principal
from restock.kernel.outbox import wake_after_commit
from restock.kernel.telemetry import traceparent

T = TypeVar("T")

_CREATE = compose(
    """
WITH fresh AS MATERIALIZED (
    SELECT uuidv7() AS id
), changed AS (
    INSERT INTO items (
        workspace_id, id, user_id, name, unit, category, sku, barcode,
        quantity, min_threshold, created_at, updated_at
    )
    SELECT $2::uuid, id, $3::uuid, $4, $5, $6, $7, $8, $9, $10,
           uuid_extract_timestamp(id), uuid_extract_timestamp(id)
    FROM fresh
    WHERE {unkept}
    RETURNING *, quantity AS previous_quantity, NULL::numeric AS previous_threshold
), written AS (
    INSERT INTO ledger (
        workspace_id, item_id, seq, user_id, previous_quantity, new_quantity,
        reason, occurred_at, created_at, key, position, request_hash, answer
    )
    SELECT workspace_id, id, 1, user_id, 0, quantity, 'Initial stock', created_at, created_at,
           $11::text, CASE WHEN $11 IS NOT NULL THEN 0 END, $12::bytea,
           CASE WHEN $11 IS NOT NULL THEN {kept_item} END
    FROM changed
), told AS ({alerts})
SELECT {item} FROM changed
""",
    unkept=compose(UNKEPT, key="$11::text", workspace_id="$2", user_id="$3::uuid"),
    kept_item=KEPT_ITEM,
    alerts=alerts_after("inventory.item.created"),
    item=ITEM,
)

_EDIT = compose(
    """
WITH changed AS (
    UPDATE items SET
        name = coalesce($5, name),
        unit = coalesce($6, unit),
        category = coalesce($7, category),
        min_threshold = CASE WHEN $8 THEN $9 ELSE min_threshold END,
        sku = CASE WHEN $10 THEN $11 ELSE sku END,
        barcode = CASE WHEN $12 THEN $13 ELSE barcode END,
        version = version + 1,
        updated_at = clock_timestamp()
    WHERE workspace_id = $2 AND id = $3 AND archived_at IS NULL
      AND ($4::bigint[] IS NULL OR version = ANY ($4))
    RETURNING new.*,
        old.quantity AS previous_quantity, old.min_threshold AS previous_threshold
), told AS ({alerts})
SELECT {item} FROM changed
""",
    alerts=alerts_after("inventory.item.changed"),
    item=ITEM,
)

_ARCHIVE = compose(
    """
WITH changed AS (
    UPDATE items SET
        archived_at = clock_timestamp(), updated_at = clock_timestamp(), version = version + 1
    WHERE workspace_id = $2 AND id = $3 AND archived_at IS NULL
      AND ($4::bigint[] IS NULL OR version = ANY ($4))
    RETURNING *, quantity AS previous_quantity, min_threshold AS previous_threshold
), told AS ({alerts})
SELECT true FROM changed
""",
    alerts=alerts_after("inventory.item.archived"),
)

_GET = compose(
    """
SELECT {item} FROM items
WHERE workspace_id = $1 AND id = $2 AND archived_at IS NULL
""",
    item=ITEM,
)

_LOW_STOCK = compose(
    """
SELECT {item} FROM items
WHERE workspace_id = $1 AND low_quantity IS NOT NULL AND archived_at IS NULL {after}
ORDER BY low_quantity, id
LIMIT $2
""",
    item=ITEM,
)

_LOWER = "AND (low_quantity, id) > (($3::numeric * 1000000)::bigint, $4)"

_NEWEST = compose(
    "SELECT {item} FROM items WHERE workspace_id = $1 AND archived_at IS NULL", item=ITEM
)


_IN_CATEGORY = """
AND category_key = casefold({}::text COLLATE pg_unicode_fast)
"""

_FOUND = """
AND (strpos(casefold(name COLLATE pg_unicode_fast), casefold({}::text COLLATE pg_unicode_fast)) > 0
  OR strpos(casefold(sku COLLATE pg_unicode_fast), casefold({}::text COLLATE pg_unicode_fast)) > 0
  OR strpos(casefold(barcode COLLATE pg_unicode_fast),
            casefold({}::text COLLATE pg_unicode_fast)) > 0)
"""


class KeyTaken(Exception):
    """Something was written under the same key before: nothing was changed now."""


class SkuExists(Exception):
    """Another item of the workspace has the sku: nothing was changed."""


async def create(tx: Tx, who: Principal, new: NewItem, key: RequestKey | None) -> Item:
    """Make an item and the first row of its ledger, in one statement.

    Raises KeyTaken and SkuExists.
    """
    row = await unique(
        tx.fetchrow(
            _CREATE,
            traceparent(),
            who.workspace_id,
            who.user_id,
            new.name,
            new.unit,
            new.category,
            new.sku,
            new.barcode,
            new.quantity,
            new.min_threshold,
            key and key.key,
            key and key.hash,
        )
    )

    if row is None:
        raise KeyTaken
    wake_after_commit(tx)
    return Item(*row)


async def edit(
    tx: Tx, workspace_id: UUID, item_id: UUID, change: ItemEdit, versions: Sequence[int] | None
) -> Item | None:
    """Change what is named, if the item is at one of `versions` (None: at any).

    None: it isn't, or there is no such item. Raises SkuExists.
    """
    row = await unique(
        tx.fetchrow(
            _EDIT,
            traceparent(),
            workspace_id,
            item_id,
            versions,
            _given(change.name),
            _given(change.unit),
            _given(change.category),
            change.min_threshold is not UNSET,
            _given(change.min_threshold),
            change.sku is not UNSET,
            _given(change.sku),
            change.barcode is not UNSET,
            _given(change.barcode),
        )
    )

    if row is None:
        return None
    wake_after_commit(tx)
    return Item(*row)


async def archive(
    tx: Tx, workspace_id: UUID, item_id: UUID, versions: Sequence[int] | None
) -> bool:
    """Archive an item, if it is at one of `versions` (None: at any). Whether that was so."""
    archived = await tx.fetchval(_ARCHIVE, traceparent(), workspace_id, item_id, versions)
    if archived:
        wake_after_commit(tx)
    return bool(archived)


async def get(tx: Tx, workspace_id: UUID, item_id: UUID) -> Item | None:
    """An item that isn't archived."""
    row = await tx.fetchrow(_GET, workspace_id, item_id)
    return None if row is None else Item(*row)


async def stock_of(tx: Tx, workspace_id: UUID, item_id: UUID) -> Stock | None:
    """An item's stock as it is now, archived or not."""
    row = await tx.fetchrow(
        """
        SELECT trim_scale(quantity) AS quantity, version, moves,
               archived_at IS NOT NULL AS archived
        FROM items
        WHERE workspace_id = $1 AND id = $2
        """,
        workspace_id,
        item_id,
    )
    return None if row is None else Stock(**row)


async def newest(
    tx: Tx,
    workspace_id: UUID,
    *,
    category: str | None,
    search: str | None,
    low: bool | None,
    before: UUID | None,
    limit: int,
) -> list[Item]:
    """Items that aren't archived, newest first, from the one before `before` on.

    `category` is a whole one, `search` a part of name, sku or barcode; letter case never
    matters. Answers at most `limit` + 1, so that the caller sees whether there are more.
    """
    sql = [_NEWEST]
    values: list[Any] = [workspace_id, limit + 1]
    for condition, value in (
        (_IN_CATEGORY, category),
        (_FOUND, search),
        ("AND id < {}::uuid", before),
    ):
        if value is not None:
            values.append(value)
            sql.append(condition.replace("{}", f"${len(values)}"))
    if low is not None:
        sql.append("AND low_quantity IS NOT NULL" if low else "AND low_quantity IS NULL")
    sql.append("ORDER BY id DESC LIMIT $2")
    return [Item(*row) for row in await tx.fetch(" ".join(sql), *values)]


async def low_stock(
    tx: Tx, workspace_id: UUID, after: tuple[Decimal, UUID] | None, limit: int
) -> list[Item]:
    """Items at or below their threshold, lowest stock first; at most `limit` + 1."""
    # a condition that is there or not, rather than one that may be NULL: the index starts with it
    sql = compose(_LOW_STOCK, after=_LOWER if after else "")
    rows = await tx.fetch(sql, workspace_id, limit + 1, *(after or ()))
    return [Item(*row) for row in rows]


async def unique(statement: Awaitable[T]) -> T:
    """What a statement answers. Raises KeyTaken and SkuExists for what has to be unique."""
    try:
        return await statement
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "ledger_key":
            raise KeyTaken from None
        if error.constraint_name == "items_sku":
            raise SkuExists from None
        raise


def _given(value: Any) -> Any:
    return None if value is UNSET else value
