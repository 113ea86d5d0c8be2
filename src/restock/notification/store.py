"""Every SQL statement of notification, one function each.

Locks are taken in one order, so that no two of them can wait for each other: rows of
`notifications` by `seq`, then rows of `feeds` by `user_id`. New rows nobody else can see yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from asyncpg import Record

from restock.kernel.database import Tx
from restock.kernel.ids import new_id
from restock.kernel.wire import encode
from restock.notification.domain import NEW_NOTIFICATION, Entry, Notice
from restock.notification.schemas import Notification


@dataclass(frozen=True, slots=True)
class FeedState:
    """A feed's end: its last `seq`, its unread notifications, the revision of that count."""

    user_id: UUID
    head: int = 0
    unread: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """A sequenced socket event: its name and its one argument, as JSON."""

    seq: int
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """What a transaction added to one feed, in order, and the state it left."""

    state: FeedState
    events: list[FeedEvent] = field(default_factory=list)


async def append(tx: Tx, entries: Sequence[Entry]) -> list[Told]:
    """Add entries to their feeds, each feed's in the order given.

    One statement for any number of entries and feeds: each takes its `seq` under its feed's lock,
    and the unread count changes with it.
    """
    rows = await tx.fetch(
        """
        WITH draft AS (
            SELECT d.*, d.type IS NOT NULL AS listed,
                   count(*) OVER (PARTITION BY user_id ORDER BY place) AS step
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[],
                        $7::text[], $8::uuid[])
                 WITH ORDINALITY
                 AS d (user_id, event_id, name, type, message, item_id, data, id, place)
        ), feed AS (
            INSERT INTO feeds AS f (user_id, head, unread, revision)
            SELECT user_id, count(*), count(*) FILTER (WHERE listed), 1
            FROM draft GROUP BY user_id ORDER BY user_id
            ON CONFLICT (user_id) DO UPDATE
            SET head = f.head + excluded.head, unread = f.unread + excluded.unread,
                revision = f.revision + 1
            RETURNING new.user_id, new.head, new.unread, new.revision,
                      coalesce(old.head, 0) AS before
        ), placed AS (
            SELECT draft.*, feed.before + draft.step AS seq FROM draft JOIN feed USING (user_id)
        ), noted AS (
            INSERT INTO notifications
                (user_id, seq, id, type, message, item_id, data, event_id)
            SELECT user_id, seq, id, type, message, item_id, data::jsonb, event_id
            FROM placed WHERE listed
        ), announced AS (
            INSERT INTO announcements (user_id, seq, name, data, event_id)
            SELECT user_id, seq, name, data::jsonb, event_id FROM placed WHERE NOT listed
        )
        SELECT p.user_id, p.seq, p.name, p.id, p.type, p.message, p.item_id,
               p.data::jsonb AS data, false AS read, now() AS created_at,
               feed.head, feed.unread, feed.revision
        FROM placed p JOIN feed USING (user_id)
        ORDER BY p.place
        """,
        [entry.user_id for entry in entries],
        [entry.event_id for entry in entries],
        [NEW_NOTIFICATION if isinstance(entry, Notice) else entry.name for entry in entries],
        [entry.kind.value if isinstance(entry, Notice) else None for entry in entries],
        [entry.message if isinstance(entry, Notice) else None for entry in entries],
        [entry.item_id if isinstance(entry, Notice) else None for entry in entries],
        [encode(entry.data).decode() for entry in entries],
        [new_id() for _ in entries],
    )
    told: dict[UUID, Told] = {}
    for row in rows:
        of_feed = told.setdefault(row["user_id"], Told(_state(row)))
        of_feed.events.append(_event(row))
    return list(told.values())


async def state(tx: Tx, user_id: UUID) -> FeedState:
    """The end of a feed; zeros for an account that was never told anything."""
    row = await tx.fetchrow(
        "SELECT user_id, head, unread, revision FROM feeds WHERE user_id = $1", user_id
    )
    return FeedState(user_id) if row is None else _state(row)


async def states(tx: Tx, user_ids: Sequence[UUID]) -> list[FeedState]:
    """The ends of those of the accounts' feeds that have begun."""
    rows = await tx.fetch(
        "SELECT user_id, head, unread, revision FROM feeds WHERE user_id = ANY($1)", user_ids
    )
    return [_state(row) for row in rows]


async def events_after(tx: Tx, user_id: UUID, seq: int, limit: int) -> Told:
    """Up to `limit` of the feed's events beyond `seq`, in order, and the feed's end.

    Both are of one moment: fewer events than `limit` are all there are up to the head, so a `seq`
    missing among them was deleted.
    """
    rows = await tx.fetch(
        """
        SELECT f.user_id, f.head, f.unread, f.revision, e.*
        FROM feeds f LEFT JOIN LATERAL (
            (SELECT n.seq, $4 AS name, n.id, n.type, n.message, n.item_id, n.data, n.read,
                    n.created_at
             FROM notifications n
             WHERE n.user_id = f.user_id AND n.seq > $2 ORDER BY n.seq LIMIT $3)
            UNION ALL
            (SELECT a.seq, a.name, NULL, NULL, NULL, NULL, a.data, NULL, a.created_at
             FROM announcements a
             WHERE a.user_id = f.user_id AND a.seq > $2 ORDER BY a.seq LIMIT $3)
            ORDER BY seq LIMIT $3
        ) e ON true
        WHERE f.user_id = $1
        ORDER BY e.seq
        """,
        user_id,
        seq,
        limit,
        NEW_NOTIFICATION,
    )
    if not rows:
        return Told(FeedState(user_id))
    return Told(_state(rows[0]), [_event(row) for row in rows if row["seq"] is not None])


async def page(
    tx: Tx, user_id: UUID, *, unread: bool | None, before: int | None, limit: int
) -> list[Notification]:
    """Up to `limit` notifications, newest first, below the `seq` `before`."""
    rows = await tx.fetch(
        """
        SELECT user_id, seq, id, type, message, item_id, data, read, created_at
        FROM notifications
        WHERE user_id = $1
          AND ($2::bigint IS NULL OR seq < $2)
          AND ($3::boolean IS NULL OR read = NOT $3)
        ORDER BY seq DESC LIMIT $4
        """,
        user_id,
        before,
        unread,
        limit,
    )
    return [_notification(row) for row in rows]


async def mark_read(
    tx: Tx, user_id: UUID, notification_id: UUID
) -> tuple[Notification, FeedState | None] | None:
    """The notification, read now, and the feed's new state where it had been unread.

    None: this inbox has no such notification.
    """
    row = await tx.fetchrow(
        """
        WITH marked AS (
            UPDATE notifications SET read = true WHERE user_id = $1 AND id = $2
            RETURNING new.*, old.read AS was_read
        ), feed AS (
            UPDATE feeds SET unread = unread - 1, revision = revision + 1
            WHERE user_id = $1 AND EXISTS (SELECT FROM marked WHERE NOT was_read)
            RETURNING head, unread, revision
        )
        SELECT marked.*, feed.head, feed.unread, feed.revision
        FROM marked LEFT JOIN feed ON true
        """,
        user_id,
        notification_id,
    )
    if row is None:
        return None
    return _notification(row), _state(row) if row["head"] is not None else None


async def mark_all_read(tx: Tx, user_id: UUID) -> FeedState | None:
    """Mark what is unread; the feed's new state where there was anything."""
    row = await tx.fetchrow(
        """
        WITH mine AS (
            SELECT user_id, seq FROM notifications WHERE user_id = $1 AND NOT read
            ORDER BY seq FOR UPDATE
        ), marked AS (
            UPDATE notifications n SET read = true FROM mine
            WHERE n.user_id = mine.user_id AND n.seq = mine.seq
            RETURNING 1
        )
        UPDATE feeds
        SET unread = unread - (SELECT count(*) FROM marked), revision = revision + 1
        WHERE user_id = $1 AND EXISTS (SELECT FROM marked)
        RETURNING user_id, head, unread, revision
        """,
        user_id,
    )
    return None if row is None else _state(row)


async def delete(tx: Tx, user_id: UUID, notification_id: UUID) -> tuple[bool, FeedState | None]:
    """Whether there was such a notification, and the feed's new state where it was unread."""
    row = await tx.fetchrow(
        """
        WITH gone AS (
            DELETE FROM notifications WHERE user_id = $1 AND id = $2 RETURNING user_id, read
        ), feed AS (
            UPDATE feeds SET unread = unread - 1, revision = revision + 1
            WHERE user_id = $1 AND EXISTS (SELECT FROM gone WHERE NOT read)
            RETURNING head, unread, revision
        )
        SELECT gone.user_id, feed.head, feed.unread, feed.revision
        FROM gone LEFT JOIN feed ON true
        """,
        user_id,
        notification_id,
    )
    if row is None:
        return False, None
    return True, _state(row) if row["head"] is not None else None


async def vendors_of(tx: Tx, user_id: UUID) -> list[UUID]:
    """The vendors an account belongs to."""
    rows = await tx.fetch("SELECT vendor_id FROM vendor_people WHERE user_id = $1", user_id)
    return [row["vendor_id"] for row in rows]


async def add_vendor_people(tx: Tx, vendor_id: UUID, user_ids: Sequence[UUID]) -> None:
    """Know accounts as a vendor's people; those known stay."""
    await tx.execute(
        """
        INSERT INTO vendor_people (user_id, vendor_id)
        SELECT user_id, $1 FROM unnest($2::uuid[]) AS people (user_id) ORDER BY user_id
        ON CONFLICT DO NOTHING
        """,
        vendor_id,
        user_ids,
    )


def _state(row: Record) -> FeedState:
    return FeedState(row["user_id"], row["head"], row["unread"], row["revision"])


def _event(row: Record) -> FeedEvent:
    said: Any
    if row["name"] == NEW_NOTIFICATION:
        said = _notification(row)
    else:
        said = row["data"] | {"seq": row["seq"]}
    return FeedEvent(row["seq"], row["name"], encode(said))


def _notification(row: Record) -> Notification:
    return Notification(
        id=row["id"],
        user_id=row["user_id"],
        type=row["type"],
        message=row["message"],
        item_id=row["item_id"],
        read=row["read"],
        created_at=row["created_at"],
        seq=row["seq"],
        data=row["data"],
    )
