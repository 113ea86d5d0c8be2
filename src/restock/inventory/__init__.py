"""Inventory: what workspaces keep in stock, and each change of it for good.

owns       items with their stock and thresholds, the ledger, the state of low-stock alerts
serves     /api/inventory
asks       nobody
publishes  inventory.item.created|changed|archived, inventory.item.fell_low|ran_out|recovered
consumes   nothing

Beside the files every service has: rounds.py, in which changes of stock are written together.
`store` is a package here: items, changes, ledger, batches, and the parts their statements share.
"""

from restock.events.inventory import (
    ItemArchived,
    ItemChanged,
    ItemCreated,
    ItemFellLow,
    ItemRanOut,
    ItemRecovered,
)
from restock.inventory.rounds import open_rounds
from restock.inventory.routes import ROUTES
from restock.kernel.service import Service

SERVICE = Service(
    name="inventory",
    port=3101,
    package="restock.inventory",
    routes=ROUTES,
    open=open_rounds,
    publishes=(ItemCreated, ItemChanged, ItemArchived, ItemFellLow, ItemRanOut, ItemRecovered),
)
