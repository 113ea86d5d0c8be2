"""What happens in vendor: vendors enter the directory, requests are opened and answered.

`seq` counts a vendor's changes (1 at registration) or a request's steps (1 when opened).
"""

from decimal import Decimal
from typing import ClassVar
from uuid import UUID

import msgspec

from restock.events import Event, Moment


class VendorRegistered(Event):
    """A vendor entered the directory. `user_ids` are its people at that moment."""

    subject: ClassVar[str] = "vendor.vendor.registered"

    vendor_id: UUID
    workspace_id: UUID
    name: str
    user_ids: list[UUID]
    seq: int


class VendorChanged(Event):
    """A vendor's contact fields or its place in the directory changed."""

    subject: ClassVar[str] = "vendor.vendor.changed"

    vendor_id: UUID
    workspace_id: UUID
    name: str
    is_active: bool
    user_ids: list[UUID]
    seq: int


class RequestedItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the item was when the vendor was asked."""

    name: str
    unit: str
    sku: str | None


class RequestStep(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One step of a request's life: the status it reached, when, and by whom."""

    status: str
    at: Moment
    user_id: UUID


class _RequestEvent(Event):
    id: UUID
    vendor_id: UUID
    item_id: UUID
    user_id: UUID
    workspace_id: UUID
    quantity: Decimal
    message: str
    status: str
    created_at: Moment
    item: RequestedItem
    history: list[RequestStep]
    vendor_name: str
    client_name: str
    user_ids: list[UUID]
    seq: int


class RequestOpened(_RequestEvent):
    """A buyer asked a vendor to refill an item.

    `user_id` and `workspace_id` are the buyer's, `user_ids` the vendor's people, `client_name`
    the name the buyer's account goes by. `seq` is the number of steps in `history`.
    """

    subject: ClassVar[str] = "vendor.request.opened"


class RequestResponded(_RequestEvent):
    """The vendor answered the request."""

    subject: ClassVar[str] = "vendor.request.responded"


class RequestFulfilled(_RequestEvent):
    """The vendor delivered what was asked."""

    subject: ClassVar[str] = "vendor.request.fulfilled"
