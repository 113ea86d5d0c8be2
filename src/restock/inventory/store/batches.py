"""Batches: many movements in one transaction, judged while their items are locked."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from restock.inventory.domain import Plan, Stock
from restock.inventory.schemas import BatchMovement, Movement
from restock.inventory.store.parts import ROW, alerts, compose
from restock.kernel.database import Tx
from restock.kernel.idempotency import RequestKey
from restock.kernel.identity import Principal
from restock.kernel.outbox import wake_after_commit
from restock.kernel.telemetry import traceparent

_LOCK = """
SELECT id, trim_scale(quantity) AS quantity, version, moves, archived_at IS NOT NULL AS archived
FROM items
WHERE workspace_id = $1 AND id = ANY ($2::uuid[])
ORDER BY id
FOR NO KEY UPDATE
"""

_WRITE = compose(
    """
WITH step AS (
    SELECT *
    FROM unnest(
        $6::uuid[], $7::bigint[], $8::bigint[], $9::numeric[], $10::numeric[],
        $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::smallint[]
    ) s (item_id, seq, version, before, after, reason, note, ref, occurred_at, position)
), outcome AS (
    SELECT DISTINCT ON (item_id) item_id, seq, version, after
    FROM step
    ORDER BY item_id, seq DESC
), stocked AS (
    UPDATE items i SET
        quantity = o.after, version = o.version, moves = o.seq, updated_at = clock_timestamp()
    FROM outcome o
    WHERE i.workspace_id = $2 AND i.id = o.item_id
    RETURNING i.*
), changed AS (
    SELECT i.workspace_id, i.id, i.user_id, i.name, i.unit, i.category, i.sku, s.version,
           s.before AS previous_quantity, i.min_threshold AS previous_threshold,
           s.after AS quantity, i.min_threshold,
           s.seq, s.reason, s.note, s.ref, s.occurred_at, s.position, i.updated_at
    FROM step s
    JOIN stocked i ON i.id = s.item_id
), written AS (
    INSERT INTO ledger (
        workspace_id, item_id, seq, user_id, previous_quantity, new_quantity,
        reason, note, ref, occurred_at, created_at, key, position, request_hash, answer
    )
    SELECT workspace_id, id, seq, $3::uuid, previous_quantity, quantity,
           reason, note, ref, coalesce(occurred_at, updated_at), updated_at,
           $4::text, CASE WHEN $4 IS NOT NULL THEN position END, $5::bytea,
           CASE WHEN $4 IS NOT NULL AND position = 0 THEN $16::jsonb END
    FROM changed
    RETURNING *
), told AS ({alerts})
SELECT {row} FROM written
""",
    alerts=alerts(),
    row=ROW,
)


async def lock(tx: Tx, workspace_id: UUID, item_ids: Sequence[UUID]) -> dict[UUID, Stock]:
    """The stocks of items, archived ones too, held until the end of the transaction.

    They are locked in the order of their ids, so that two batches never wait for each other.
    """
    rows = await tx.fetch(_LOCK, workspace_id, list(set(item_ids)))
    return {
        row["id"]: Stock(row["quantity"], row["version"], row["moves"], row["archived"])
        for row in rows
    }


async def write(
    tx: Tx,
    who: Principal,
    plan: Plan,
    movements: Sequence[BatchMovement],
    key: RequestKey | None,
    answer: Any,
) -> dict[int, Movement]:
    """Make a plan's steps on items that are locked; their rows by the movements' places.

    `answer` is kept in row 0 for a repetition under `key`, which is held.
    """
    ranks = {place: rank for rank, place in enumerate(sorted(s.place for s in plan.steps))}
    asked = [movements[step.place] for step in plan.steps]
    rows = await tx.fetch(
        _WRITE,
        traceparent(),
        who.workspace_id,
        who.user_id,
        key and key.key,
        key and key.hash,
        [step.item_id for step in plan.steps],
        [step.seq for step in plan.steps],
        [step.version for step in plan.steps],
        [step.previous for step in plan.steps],
        [step.new for step in plan.steps],
        [movement.reason for movement in asked],
        [movement.note for movement in asked],
        [movement.ref for movement in asked],
        [movement.happened_at for movement in asked],
        [ranks[step.place] for step in plan.steps],
        answer,
    )
    wake_after_commit(tx)
    places = {(step.item_id, step.seq): step.place for step in plan.steps}
    return {places[row["item_id"], row["seq"]]: Movement(*row) for row in rows}
