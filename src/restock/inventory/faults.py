"""What inventory refuses, and the stable codes it does so under."""

from restock.kernel.faults import Conflict, Invalid, NotFound, Unavailable


class ItemNotFound(NotFound):
    code = "inventory.item_not_found"
    title = "There is no such item in your workspace"


class InsufficientStock(Conflict):
    """Carries `available`, the stock there is."""

    code = "inventory.insufficient_stock"
    title = "There is less in stock than that"


class QuantityTooLarge(Invalid):
    """Carries `available`, the stock there is."""

    code = "inventory.quantity_too_large"
    title = "A stock stays below 1000000000"


class VersionChanged(Conflict):
    """Carries the item's `version` and its `quantity` at that version."""

    code = "inventory.version_changed"
    title = "The item was changed since you read it: read it again"


class SkuTaken(Conflict):
    code = "inventory.sku_taken"
    title = "Another item of your workspace has this sku"


class BatchRefused(Conflict):
    """Carries `errors`, one for each movement that stands in the way."""

    code = "inventory.batch_refused"
    title = "Nothing was moved: some of these movements are not possible"


class ItemBusy(Unavailable):
    """The item changed again and again between the attempts to change it."""

    code = "inventory.item_busy"
    title = "The item is changing too fast at the moment: try again"
