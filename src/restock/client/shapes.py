"""What the gateway answers, as far as this client reads it.

Unknown members are ignored, since answers may gain some. Quantities are Decimals, read digit by
digit from JSON numbers.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Parent of every shape read here."""


class User(Shape):
    id: UUID
    email: str
    name: str
    role: str
    workspace_id: UUID | None = None
    email_verified: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Signed(Shape):
    """An account that is signed in. `expires_in` is in seconds."""

    user: User
    token: str
    refresh_token: str
    expires_in: float


class Renewed(Shape):
    """A renewed pair of tokens; the account itself may be left out."""

    token: str
    refresh_token: str
    expires_in: float
    user: User | None = None


class LoginSession(Shape):
    id: UUID
    created_at: datetime
    current: bool = False
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    user_agent: str | None = None
    address: str | None = None


class Item(Shape):
    id: UUID
    name: str
    quantity: Decimal
    min_threshold: Decimal | None
    unit: str
    category: str
    user_id: UUID
    workspace_id: UUID
    created_at: datetime
    updated_at: datetime
    is_low_stock: bool
    version: int
    status: str
    sku: str | None = None
    barcode: str | None = None


class Movement(Shape):
    """One row of an item's ledger; `seq` counts the rows of the item."""

    id: UUID
    item_id: UUID
    user_id: UUID
    previous_quantity: Decimal
    new_quantity: Decimal
    delta: Decimal
    reason: str
    seq: int
    created_at: datetime
    note: str | None = None
    ref: str | None = None
    occurred_at: datetime | None = None


class BatchResult(Shape):
    """What became of one movement of a batch: either is set."""

    status: int = 0
    movement: Movement | None = None
    problem: dict[str, Any] | None = None


class BatchResults(Shape):
    results: list[BatchResult]


class Vendor(Shape):
    id: UUID
    name: str
    email: str
    phone: str
    category: str
    address: str
    city: str
    rating: Decimal
    is_active: bool
    registered_at: datetime
    workspace_id: UUID | None = None


class RequestedItem(Shape):
    name: str
    unit: str
    sku: str | None = None


class RequestStep(Shape):
    status: str
    at: datetime
    user_id: UUID | None = None


class ContactRequest(Shape):
    id: UUID
    vendor_id: UUID
    item_id: UUID
    user_id: UUID
    workspace_id: UUID
    quantity: Decimal
    message: str
    status: str
    created_at: datetime
    vendor: Vendor | None = None
    item: RequestedItem | None = None
    history: list[RequestStep] = []


class Notification(Shape):
    id: UUID
    user_id: UUID
    type: str
    message: str
    read: bool
    created_at: datetime
    seq: int
    item_id: UUID | None = None
    data: Any = None


class Unread(Shape):
    unread: int
