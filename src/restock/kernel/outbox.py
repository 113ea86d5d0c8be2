"""Events on their way out: a row in the transaction of its cause, published after the commit.

The relay of every worker takes unpublished rows with SKIP LOCKED, so several work at once without
publishing a row twice, and a row whose relay died is taken by another. It is woken by the commit
in its own process; a slow poll finds what a dead process left.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import nats.errors
from prometheus_client import Counter

from restock.events import Event, encode
from restock.events.envelope import wrap
from restock.kernel.bus import Bus
from restock.kernel.database import Database, DatabaseAway, Tx, deleted
from restock.kernel.stopping import unless_stopped
from restock.kernel.telemetry import log, traceparent

BATCH = 256
POLL_S = 1.0
ACK_TIMEOUT_S = 5.0
KEPT = timedelta(days=7)

PUBLISHED = Counter("restock_events_published_total", "Events published.", ["subject"])


async def put(tx: Tx, event: Event, *, workspace_id: UUID | None) -> None:
    """Write an event into the transaction of its cause; publish it after the commit."""
    await tx.execute(
        """
        INSERT INTO outbox (subject, workspace_id, data, traceparent)
        VALUES ($1, $2, $3::text::jsonb, $4)
        """,
        event.subject,
        workspace_id,
        encode(event).decode(),
        traceparent(),
    )
    wake_after_commit(tx)


def wake_after_commit(tx: Tx) -> None:
    """Say that this transaction's own SQL wrote outbox rows."""
    tx.after_commit(tx.database.wake_relay)


class Relay:
    """Publishes outbox rows to JetStream, oldest first, and marks them."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._woken = asyncio.Event()
        self._back = asyncio.Event()
        self.held_up = False  # the last try to publish failed
        database.wake_relay = self._woken.set

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until told to stop; what is unpublished then waits for the next start."""
        self._bus.on_connect(self._nats_is_back)
        delay = POLL_S
        while not stop.is_set():
            self._woken.clear()
            try:
                while not stop.is_set() and self._bus.connected:
                    if await self.publish_batch() < BATCH:
                        break
                delay = POLL_S
                self.held_up = False
            except (DatabaseAway, nats.errors.Error, OSError, TimeoutError) as error:
                self.held_up = True
                log.warning("outbox.relay_waits", why=repr(error), delay_s=delay)
                await unless_stopped(stop, self._rest(delay))
                delay = min(delay * 2, 10.0)
                continue
            await unless_stopped(stop, self._wait())

    async def _rest(self, seconds: float) -> None:
        """For so long, or until NATS is there again."""
        self._back.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._back.wait()

    async def _nats_is_back(self) -> None:
        self._back.set()

    async def _wait(self) -> None:
        """Until woken, or for the slow poll."""
        try:
            async with asyncio.timeout(POLL_S):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def publish_batch(self) -> int:
        """Publish up to a batch of rows; how many there were.

        The rows stay locked until JetStream has answered. What it acknowledged is marked, and then
        the first failure raised; what failed is sent again, and where only the acknowledgement
        was lost, `Nats-Msg-Id` and the consumers' inbox remove the double.
        """
        async with self._database.tx() as tx:
            rows = await tx.fetch(
                """
                SELECT id, subject, workspace_id, data::text AS data, traceparent, occurred_at
                FROM outbox
                WHERE published_at IS NULL
                ORDER BY id
                LIMIT $1
                FOR UPDATE SKIP LOCKED
                """,
                BATCH,
            )
            if not rows:
                return 0
            outcomes = await asyncio.gather(
                *(self._publish(row) for row in rows), return_exceptions=True
            )
            failed = {
                row["id"]: outcome
                for row, outcome in zip(rows, outcomes, strict=True)
                if outcome is not None
            }
            await tx.execute(
                "UPDATE outbox SET published_at = now() WHERE id = ANY($1)",
                [row["id"] for row in rows if row["id"] not in failed],
            )
        for event_id, failure in failed.items():
            log.warning("outbox.not_published", event_id=str(event_id), why=repr(failure))
            raise failure
        return len(rows)

    async def _publish(self, row: Any) -> None:
        message = wrap(
            event_id=row["id"],
            subject=row["subject"],
            occurred_at=row["occurred_at"],
            data=row["data"],
            workspace_id=row["workspace_id"],
            traceparent=row["traceparent"],
        )
        await self._bus.js.publish(
            row["subject"],
            message,
            timeout=ACK_TIMEOUT_S,
            headers={"Nats-Msg-Id": str(row["id"])},
        )
        PUBLISHED.labels(row["subject"]).inc()


async def purge(tx: Tx) -> int:
    """Forget some of what was published long ago; how many rows."""
    return await deleted(
        tx,
        """
        DELETE FROM outbox WHERE id IN (
            SELECT id FROM outbox WHERE published_at < now() - $1::interval LIMIT $2
        )
        """,
        KEPT,
    )
