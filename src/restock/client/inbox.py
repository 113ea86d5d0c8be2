"""`/api/notifications`: what the account was told."""

from collections.abc import AsyncIterator
from uuid import UUID

from restock.client.paging import PAGE_SIZE, pages
from restock.client.shapes import Notification, Unread
from restock.client.transport import Call, TokenSource, Transport, new_key

ROOT = "/api/notifications"


class Inbox:
    """The signed-in account's notifications. Refusals are raised as ApiProblem."""

    def __init__(self, transport: Transport, tokens: TokenSource) -> None:
        self._transport = transport
        self._tokens = tokens

    def notifications(
        self, *, unread: bool | None = None, limit: int = PAGE_SIZE
    ) -> AsyncIterator[Notification]:
        """All of them, newest first; `limit` is the size of a page."""
        call = Call(method="GET", path=ROOT, params={"unread": unread, "limit": limit})
        return pages(self._transport, self._tokens, call, Notification)

    async def unread_count(self) -> int:
        """How many are unread."""
        call = Call(method="GET", path=f"{ROOT}/unread-count")
        return (await self._transport.send(call, self._tokens)).read(Unread).unread

    async def mark_read(self, notification_id: UUID) -> Notification:
        """Mark one as read."""
        call = Call(method="PATCH", path=f"{ROOT}/{notification_id}/read", key=new_key())
        return (await self._transport.send(call, self._tokens)).read(Notification)

    async def read_all(self) -> None:
        """Mark every one as read."""
        call = Call(method="POST", path=f"{ROOT}/read-all", key=new_key())
        await self._transport.send(call, self._tokens)

    async def delete(self, notification_id: UUID) -> None:
        """Remove one."""
        call = Call(method="DELETE", path=f"{ROOT}/{notification_id}")
        await self._transport.send(call, self._tokens)
