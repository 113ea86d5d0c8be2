"""Notification's wire shapes: what HTTP answers, and what is heard and said on a socket."""

from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from restock.kernel.wire import Answer, Moment, Wire


class Notification(Answer):
    """One line of an inbox, heard as it is made. `seq` is its place in the account's feed;
    what is in `data` depends on `type`.
    """

    id: UUID
    user_id: UUID
    type: Literal[
        "low_stock",
        "out_of_stock",
        "back_in_stock",
        "vendor_request",
        "request_responded",
        "request_fulfilled",
    ]
    message: str
    item_id: UUID | None
    read: bool
    created_at: Moment
    seq: int
    data: dict[str, Any]


class UnreadCount(Answer):
    """How many of the account's notifications are unread, heard whenever that changes."""

    unread: int


class Sync(Answer):
    """Right after each CONNECT: the feed's last `seq`, and how many notifications are unread."""

    head: int
    unread_count: int


class AuthExpiring(Answer):
    """The socket is closed at `expiresAt` unless a fresh token comes by `authenticate`."""

    expires_at: Moment


class AskedItem(Answer):
    """What the item was when the vendor was asked."""

    name: str
    unit: str
    sku: str | None


class Step(Answer):
    """One step of a request's life."""

    status: str
    at: Moment
    user_id: UUID


class AskedVendor(Answer):
    """The vendor as it was called when it was asked."""

    id: UUID
    name: str


class VendorContactRequest(Answer):
    """The request a vendor was sent, as its people hear it. `userId` is the buyer's."""

    seq: int
    id: UUID
    vendor_id: UUID
    item_id: UUID
    user_id: UUID
    workspace_id: UUID
    quantity: Decimal
    message: str
    status: Literal["pending"]
    created_at: Moment
    item: AskedItem
    history: list[Step]
    vendor: AskedVendor
    vendor_name: str
    client_name: str


class Subscribe(Wire):
    """Asks whether this socket hears an account's feed; it hears its own without asking."""

    user_id: UUID


class SubscribeVendor(Wire):
    """Asks whether this socket is in a vendor's room; its people's are put there unasked."""

    vendor_id: UUID


class Authenticate(Wire):
    """A fresh access token of the same account."""

    token: str


class Acknowledged(Answer, omit_defaults=True):
    """How what a client said was taken; `error` is there only when `ok` is false."""

    ok: bool
    error: str | None = None


# Socket.IO events by name: what the server sends; what it understands, with how it answers.
SERVER_MESSAGES: dict[str, type] = {
    "new_notification": Notification,
    "vendor_contact_request": VendorContactRequest,
    "sync": Sync,
    "unread_count": UnreadCount,
    "auth_expiring": AuthExpiring,
}
CLIENT_MESSAGES: dict[str, tuple[type, type]] = {
    "subscribe": (Subscribe, Acknowledged),
    "subscribe_vendor": (SubscribeVendor, Acknowledged),
    "authenticate": (Authenticate, Acknowledged),
}
# Have a `seq` of their own, and end in it as text unless the client gave `auth.lastSeq`.
SEQUENCED = frozenset({"new_notification", "vendor_contact_request"})
