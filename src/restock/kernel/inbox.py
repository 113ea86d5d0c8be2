"""Events already handled: the id is written in the transaction of the effect, once a consumer."""

from datetime import timedelta
from uuid import UUID

from restock.kernel.database import Tx, deleted

# Longer than an event can come again: a dead letter is kept for 30 days, and what is published
# from it for another 7.
KEPT = timedelta(days=38)


async def first_time(tx: Tx, consumer: str, event_id: UUID) -> bool:
    """Record the event; False when this consumer has had its effect before.

    A redelivery that races with the first delivery waits here for its commit.
    """
    recorded = await tx.fetchval(
        """
        INSERT INTO inbox (consumer, event_id) VALUES ($1, $2)
        ON CONFLICT DO NOTHING
        RETURNING true
        """,
        consumer,
        event_id,
    )
    return recorded is True


async def purge(tx: Tx) -> int:
    """Forget some of what no stream can deliver again; how many rows."""
    return await deleted(
        tx,
        """
        DELETE FROM inbox WHERE (consumer, event_id) IN (
            SELECT consumer, event_id FROM inbox WHERE seen_at < now() - $1::interval LIMIT $2
        )
        """,
        KEPT,
    )
