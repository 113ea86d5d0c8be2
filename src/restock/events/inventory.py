"""What happens in inventory: items come, change and go; their stock crosses its thresholds.

`seq` is the item's `version` after the change. Events of one item may arrive in any order; the
greater `seq` is the later one.
"""

from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from restock.events import Event


class _ItemEvent(Event):
    item_id: UUID
    workspace_id: UUID
    user_id: UUID
    name: str
    unit: str
    quantity: Decimal
    min_threshold: Decimal | None
    seq: int


class ItemCreated(_ItemEvent):
    """An item was written down, with its first stock."""

    subject: ClassVar[str] = "inventory.item.created"

    category: str
    sku: str | None


class ItemChanged(_ItemEvent):
    """An item's description or threshold was edited; never its quantity."""

    subject: ClassVar[str] = "inventory.item.changed"

    category: str
    sku: str | None


class ItemArchived(_ItemEvent):
    """An item was deleted by its owner: it is in no list any more, its ledger remains."""

    subject: ClassVar[str] = "inventory.item.archived"

    category: str
    sku: str | None


class ItemFellLow(_ItemEvent):
    """The stock went from above to at or below `min_threshold`."""

    subject: ClassVar[str] = "inventory.item.fell_low"


class ItemRanOut(_ItemEvent):
    """The stock went from above 0 to 0."""

    subject: ClassVar[str] = "inventory.item.ran_out"


class ItemRecovered(_ItemEvent):
    """The stock is above `min_threshold` again (above 0 where there is none)."""

    subject: ClassVar[str] = "inventory.item.recovered"
