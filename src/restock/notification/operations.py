"""What notification does: tell accounts what happened, and keep their inboxes."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from restock.kernel.database import Tx
from restock.kernel.identity import Principal
from restock.kernel.paging import Page
from restock.kernel.tenants import Tenant
from restock.notification import store
from restock.notification.domain import Entry
from restock.notification.faults import NotificationNotFound
from restock.notification.pushes import Pushes
from restock.notification.schemas import Notification, UnreadCount
from restock.notification.store import FeedState


async def tell(tx: Tx, pushes: Pushes, entries: Sequence[Entry]) -> None:
    """Add entries to their accounts' feeds; after the commit their sockets hear of them.

    Any number of entries, of one event or of many, is one statement.
    """
    if not entries:
        return
    tx.tenant = Tenant(accounts=tuple({entry.user_id for entry in entries}))
    for told in await store.append(tx, entries):
        tx.after_commit(partial(pushes.told, told))


async def join_vendor(tx: Tx, pushes: Pushes, vendor_id: UUID, user_ids: Sequence[UUID]) -> None:
    """Have a vendor's people, and the sockets they have open, in its room."""
    tx.tenant = Tenant(accounts=tuple(user_ids))
    await store.add_vendor_people(tx, vendor_id, user_ids)
    for user_id in user_ids:
        tx.after_commit(partial(pushes.belongs, user_id, vendor_id))


async def list_notifications(
    tx: Tx, who: Principal, page: Page, unread: bool | None
) -> list[Notification]:
    """One more than the page holds, where there are more, newest first."""
    after = page.after(tuple[int])
    before = None if after is None else after[0]
    return await store.page(tx, who.user_id, unread=unread, before=before, limit=page.limit + 1)


async def count_unread(tx: Tx, who: Principal) -> UnreadCount:
    return UnreadCount(unread=(await store.state(tx, who.user_id)).unread)


async def mark_read(tx: Tx, pushes: Pushes, who: Principal, notification_id: UUID) -> Notification:
    """Mark one notification as read; again changes nothing. Raises NotificationNotFound."""
    marked = await store.mark_read(tx, who.user_id, notification_id)
    if marked is None:
        raise NotificationNotFound()
    notification, state = marked
    _push_count(tx, pushes, state)
    return notification


async def mark_all_read(tx: Tx, pushes: Pushes, who: Principal) -> None:
    _push_count(tx, pushes, await store.mark_all_read(tx, who.user_id))


async def delete_notification(
    tx: Tx, pushes: Pushes, who: Principal, notification_id: UUID
) -> None:
    """Raises NotificationNotFound."""
    found, state = await store.delete(tx, who.user_id, notification_id)
    if not found:
        raise NotificationNotFound()
    _push_count(tx, pushes, state)


def _push_count(tx: Tx, pushes: Pushes, state: FeedState | None) -> None:
    if state is not None:
        tx.after_commit(partial(pushes.counted, state))
