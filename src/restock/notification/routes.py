"""Notification over HTTP. Each route declares, parses, calls one operation and renders."""

from uuid import UUID

from restock.kernel.database import Tx
from restock.kernel.identity import Principal
from restock.kernel.paging import Page
from restock.kernel.reply import Reply
from restock.kernel.web import delete, get, patch, post
from restock.notification import operations
from restock.notification.faults import NotificationNotFound
from restock.notification.schemas import Notification, UnreadCount
from restock.notification.sockets import SocketService


@get(
    "/api/notifications",
    single=True,
    summary="List your notifications, newest first; unread=true only those not read",
)
async def list_notifications(
    who: Principal, tx: Tx, page: Page, unread: bool | None = None
) -> Reply[list[Notification]]:
    rows = await operations.list_notifications(tx, who, page, unread)
    return page.reply(rows, after=lambda last: (last.seq,))


@get("/api/notifications/unread-count", single=True, summary="Count your unread notifications")
async def count_unread(who: Principal, tx: Tx) -> UnreadCount:
    return await operations.count_unread(tx, who)


@patch(
    "/api/notifications/{notification_id:uuid}/read",
    faults=(NotificationNotFound,),
    summary="Mark one of your notifications as read",
)
async def mark_read(
    who: Principal, tx: Tx, resources: SocketService, notification_id: UUID
) -> Notification:
    return await operations.mark_read(tx, resources.pushes, who, notification_id)


@post(
    "/api/notifications/read-all",
    answers=204,
    summary="Mark all your notifications as read",
)
async def mark_all_read(who: Principal, tx: Tx, resources: SocketService) -> None:
    await operations.mark_all_read(tx, resources.pushes, who)


@delete(
    "/api/notifications/{notification_id:uuid}",
    answers=204,
    faults=(NotificationNotFound,),
    single=True,
    summary="Delete one of your notifications",
)
async def delete_notification(
    who: Principal, tx: Tx, resources: SocketService, notification_id: UUID
) -> None:
    await operations.delete_notification(tx, resources.pushes, who, notification_id)


ROUTES = (list_notifications, count_unread, mark_read, mark_all_read, delete_notification)
