"""Inventory's wire shapes: what is asked for and what is answered."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from restock.kernel.wire import Amount, Answer, Change, Line, Moment, Text, Wire

BATCH_MOST = 500

Version = Annotated[int, Meta(ge=1, le=2**63 - 1)]
# The years that the operations take, in UTC.
YEARS = {"pattern": "^(19|[2-8][0-9])[0-9]{2}-"}
HappenedAt = Annotated[datetime, Meta(tz=True, extra_json_schema=YEARS)]


class NewItem(Wire):
    """An item to keep in stock, and how much of it there is (0 or more).

    `minThreshold` is where its low-stock alert begins; null is never. `sku` is unique in the
    workspace, as written.
    """

    name: Line
    quantity: Amount
    min_threshold: Amount | None
    unit: Line
    category: Line
    sku: Line | None = None
    barcode: Line | None = None


class ItemEdit(Wire):
    """What of an item changes; what is left out stays. Its stock is never edited here."""

    name: Line | UnsetType = UNSET
    min_threshold: Amount | UnsetType | None = UNSET
    unit: Line | UnsetType = UNSET
    category: Line | UnsetType = UNSET
    sku: Line | UnsetType | None = UNSET
    barcode: Line | UnsetType | None = UNSET


class NewCount(Wire):
    """The stock as it was counted (0 or more), if need be only at `expectedVersion`."""

    quantity: Amount
    reason: Text
    expected_version: Version | None = None


class NewMovement(Wire):
    """What came in (`delta` above 0) or went out (below 0). Zero is refused.

    `ref` names what caused it, in the caller's own words; `occurredAt` is when it happened, by
    default now.
    """

    delta: Change
    reason: Text
    note: Text | None = None
    ref: Line | None = None
    occurred_at: HappenedAt | None = None

    @property
    def happened_at(self) -> datetime | None:
        """`occurred_at` in UTC: PostgreSQL reads no offset of 16 hours or more."""
        return self.occurred_at and self.occurred_at.astimezone(UTC)


class BatchMovement(NewMovement, kw_only=True):
    """One movement of a batch."""

    item_id: UUID


class NewBatch(Wire):
    """Movements to make together: all or none of them, or each on its own."""

    mode: Literal["all", "each"]
    movements: Annotated[list[BatchMovement], Meta(min_length=1, max_length=BATCH_MOST)]


class Item(Answer):
    """An item and its stock. `version` rises with every change of either."""

    id: UUID
    workspace_id: UUID
    user_id: UUID
    name: str
    quantity: Decimal
    min_threshold: Decimal | None
    unit: str
    category: str
    sku: str | None
    barcode: str | None
    is_low_stock: bool
    status: Literal["ok", "low", "out"]
    version: int
    created_at: Moment
    updated_at: Moment


class Movement(Answer):
    """A row of an item's ledger; `seq` counts the item's rows from 1 without a gap."""

    id: UUID
    item_id: UUID
    user_id: UUID
    previous_quantity: Decimal
    new_quantity: Decimal
    delta: Decimal
    reason: str
    note: str | None
    ref: str | None
    seq: int
    occurred_at: Moment
    created_at: Moment


class MovementProblem(Answer):
    """Why a movement of a batch was refused; `available` is the stock at its turn."""

    code: str
    title: str
    status: int
    available: Decimal | UnsetType = UNSET


class BatchResult(Answer):
    """What came of one movement of a batch, as if sent alone: `movement` or `problem`."""

    status: int
    movement: Movement | UnsetType = UNSET
    problem: MovementProblem | UnsetType = UNSET


class Batch(Answer):
    """What came of a batch, in the order of its movements."""

    results: list[BatchResult]
