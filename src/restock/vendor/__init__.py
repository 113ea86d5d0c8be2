"""Vendor: the directory of vendors, and the requests that buyers send to them.

owns       vendors, their people, contact requests and every step these took
serves     /api/vendors
asks       inventory for the item a request is about, with the caller's own token
publishes  vendor.vendor.registered|changed, vendor.request.opened|responded|fulfilled
consumes   nothing

Beside the files every service has: items.py, the question to inventory.
"""

from restock.events.vendor import (
    RequestFulfilled,
    RequestOpened,
    RequestResponded,
    VendorChanged,
    VendorRegistered,
)
from restock.kernel.service import Service
from restock.vendor.items import open_items
from restock.vendor.routes import ROUTES
from restock.vendor.settings import Settings

SERVICE = Service(
    name="vendor",
    port=3103,
    package="restock.vendor",
    settings=Settings,
    routes=ROUTES,
    publishes=(VendorRegistered, VendorChanged, RequestOpened, RequestResponded, RequestFulfilled),
    open=open_items,
)
