"""Proves from the databases alone that stock, ledger, alerts and notifications agree.

Shares no code with the product. Run it as PostgreSQL's superuser while nothing moves:

    python tests/journeys/ledger_proof.py DATA_DIR [LOG …]

LOG is what `restock replay --log` wrote: each of its movements must be in the ledger as written.
Alerts are compared for items that were never edited: no ledger says when a threshold changed.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import asyncpg

# an item, and what its ledger says against it or against itself
BROKEN = """
WITH step AS (
    SELECT *, lag(new_quantity, 1, 0) OVER item AS stood, row_number() OVER item AS place,
           last_value(new_quantity) OVER whole AS final, sum(delta) OVER whole AS total,
           count(*) OVER whole AS rows
    FROM ledger
    WINDOW item AS (PARTITION BY workspace_id, item_id ORDER BY seq),
           whole AS (item ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
SELECT i.id, i.name, s.seq, s.stood, s.previous_quantity, s.delta, s.new_quantity, i.quantity
FROM items i LEFT JOIN step s ON s.workspace_id = i.workspace_id AND s.item_id = i.id
WHERE s.id IS NULL OR s.previous_quantity <> s.stood OR s.stood + s.delta <> s.new_quantity
   OR s.seq <> s.place OR s.new_quantity < 0 OR s.final <> i.quantity OR s.total <> i.quantity
   OR i.moves <> s.rows
"""

# every crossing of a threshold, once
CROSSINGS = """
WITH step AS (
    SELECT l.item_id, l.seq, l.new_quantity AS stands, i.min_threshold AS low,
           coalesce(i.min_threshold, 0) AS floor,
           lag(l.new_quantity) OVER (PARTITION BY l.workspace_id, l.item_id ORDER BY l.seq) AS stood
    FROM ledger l JOIN items i ON i.workspace_id = l.workspace_id AND i.id = l.item_id
    WHERE i.version - (i.archived_at IS NOT NULL)::int = i.moves
)
SELECT item_id, 'low_stock' AS kind FROM step
WHERE stands <= low AND (stood IS NULL OR stood > low)
UNION ALL SELECT item_id, 'out_of_stock' FROM step WHERE stood > 0 AND stands = 0
UNION ALL SELECT item_id, 'back_in_stock' FROM step WHERE stood <= floor AND stands > floor
"""

TOLD = """
SELECT item_id, type AS kind, event_id FROM notifications
WHERE type IN ('low_stock', 'out_of_stock', 'back_in_stock')
"""

ALERT_EVENTS = """
SELECT id FROM outbox
WHERE subject IN
    ('inventory.item.fell_low', 'inventory.item.ran_out', 'inventory.item.recovered')
"""

UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
EDITED = "SELECT id FROM items WHERE version - (archived_at IS NOT NULL)::int <> moves"
COUNTS = """
SELECT (SELECT count(*) FROM items) AS items, count(*) AS rows,
       count(*) FILTER (WHERE seq > 1) AS movements, sum(delta) AS total
FROM ledger
"""
HELD = "SELECT id, ref FROM ledger WHERE ref IS NOT NULL"


@dataclass
class Verdict:
    """What was counted, and what is wrong, in words."""

    counts: dict[str, object] = field(default_factory=dict)
    alerts: Counter[str] = field(default_factory=Counter)
    logged: int = 0
    wrong: list[str] = field(default_factory=list)


async def prove(inventory_url: str, notification_url: str, logs: list[Path]) -> Verdict:
    """Read both databases as they are now."""
    verdict = Verdict()
    inventory = await asyncpg.connect(inventory_url)
    notification = await asyncpg.connect(notification_url)
    try:
        await _look(inventory, notification, logs, verdict)
    finally:
        await inventory.close()
        await notification.close()
    return verdict


async def _look(
    inventory: asyncpg.Connection,
    notification: asyncpg.Connection,
    logs: list[Path],
    verdict: Verdict,
) -> None:
    wrong = verdict.wrong
    verdict.counts = dict(await inventory.fetchrow(COUNTS))
    unpublished = await inventory.fetchval(UNPUBLISHED)
    if unpublished:
        wrong.append(f"the outbox holds {unpublished} events: too early to compare alerts")
    wrong += [f"ledger: {dict(row)}" for row in await inventory.fetch(BROKEN)]
    crossed = Counter(tuple(row) for row in await inventory.fetch(CROSSINGS))
    told = await notification.fetch(TOLD)
    edited = {row["id"] for row in await inventory.fetch(EDITED)}
    notified = Counter(
        (row["item_id"], row["kind"]) for row in told if row["item_id"] not in edited
    )
    verdict.alerts = Counter(row["kind"] for row in told)
    for (item, kind), number in (crossed - notified).items():
        wrong.append(f"{item}: {number} crossings without a {kind}")
    for (item, kind), number in (notified - crossed).items():
        wrong.append(f"{item}: {number} {kind} without a crossing")
    events = Counter(row["id"] for row in await inventory.fetch(ALERT_EVENTS))
    heard = Counter(row["event_id"] for row in told)
    for event in events | heard:
        if events[event] != 1 or heard[event] != 1:
            wrong.append(f"event {event}: {events[event]} sent, {heard[event]} notifications")
    await _compare_logs(inventory, logs, verdict)


async def _compare_logs(inventory: asyncpg.Connection, logs: list[Path], verdict: Verdict) -> None:
    """Line by line: the movement the client was told of is in the ledger, under its row."""
    held = {row["id"]: row["ref"] for row in await inventory.fetch(HELD)}
    for log in logs:
        for line in log.read_text(encoding="utf-8").splitlines():
            movement, _, row = line.partition(" ")
            verdict.logged += 1
            if held.get(UUID(movement)) != row:
                verdict.wrong.append(f"{log}: {line} is not in the ledger")


def url_of(data_dir: Path, service: str) -> str:
    """A database of a running system, as superuser."""
    socket = json.loads((data_dir / "system.json").read_text())["postgres_socket"]
    password = json.loads((data_dir / "secrets.json").read_text())["postgres.restock"]
    return f"postgresql://restock:{password}@/restock_{service}?host={socket}"


def urls_of(data_dir: Path) -> tuple[str, str]:
    """The inventory and notification databases of a running system."""
    return url_of(data_dir, "inventory"), url_of(data_dir, "notification")


def main() -> int:
    """Say what was found; 1 when something is wrong."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data_dir", type=Path)
    arguments.add_argument("logs", type=Path, nargs="*")
    given = arguments.parse_args()
    verdict = asyncio.run(prove(*urls_of(given.data_dir), given.logs))
    said = [
        f"{verdict.counts}",
        f"{dict(verdict.alerts)}",
        f"{verdict.logged} logged movements compared",
        *(f"WRONG {wrong}" for wrong in verdict.wrong[:20]),
        f"{len(verdict.wrong)} wrong" if verdict.wrong else "all equal",
    ]
    sys.stdout.write("\n".join(said) + "\n")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
