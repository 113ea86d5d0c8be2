"""Vendor's wire shapes: what is asked for and what is answered."""

from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from restock.kernel.wire import NO_NUL, AboveZero, Answer, Line, Moment, Text, Wire

Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=200,
        pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$(?!\n)",
    ),
]
Message = Annotated[str, Meta(min_length=1, max_length=2000, extra_json_schema=NO_NUL)]
# As the documents say it; `domain.check_category` refuses the others.
NO_PATH = {"not": {"pattern": r"[/\\]|^\.{1,2}$"}}
Category = Annotated[Line, Meta(extra_json_schema=NO_PATH)]


class NewVendor(Wire):
    """A vendor to enter into the directory. Its rating and activity are not the caller's.

    `category` holds no slash, forward or back: it is a part of the address of its list.
    """

    name: Line
    email: Email
    phone: Line
    category: Category
    address: Text
    city: Line


class VendorEdit(Wire):
    """What of a vendor changes; what is left out stays."""

    name: Line | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    phone: Line | UnsetType = UNSET
    category: Category | UnsetType = UNSET
    address: Text | UnsetType = UNSET
    city: Line | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class NewRequest(Wire):
    """What to ask a vendor for: one of the caller's items, and how much of it (above 0)."""

    item_id: UUID
    quantity: AboveZero
    message: Message


class NewStep(Wire):
    """The status a request is to reach next."""

    status: Literal["responded", "fulfilled"]


class Vendor(Answer):
    """A vendor of the directory; `workspaceId` is the workspace that owns it."""

    id: UUID
    name: str
    email: str
    phone: str
    category: str
    address: str
    city: str
    rating: Decimal
    is_active: bool
    registered_at: Moment
    workspace_id: UUID


class ItemSnapshot(Answer):
    """The item as it was when the vendor was asked."""

    name: str
    unit: str
    sku: str | None


class Step(Answer):
    """One status a request reached: when, and whose account took it there."""

    status: Literal["pending", "responded", "fulfilled"]
    at: Moment
    user_id: UUID


class ContactRequest(Answer):
    """A buyer's request. `userId` and `workspaceId` are the buyer's; `history` runs forward."""

    id: UUID
    vendor_id: UUID
    item_id: UUID
    user_id: UUID
    workspace_id: UUID
    quantity: Decimal
    message: str
    status: Literal["pending", "responded", "fulfilled"]
    created_at: Moment
    item: ItemSnapshot
    history: list[Step]
    vendor: Vendor
