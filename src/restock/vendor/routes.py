"""Vendor over HTTP. Each route declares, parses, calls one operation and renders."""

from uuid import UUID

from restock.kernel.database import Tx
from restock.kernel.identity import Principal
from restock.kernel.paging import Page
from restock.kernel.reply import Reply
from restock.kernel.web import get, patch, post
from restock.vendor import operations
from restock.vendor.faults import (
    EditForbidden,
    InventoryAway,
    ItemNotFound,
    NotTheVendorsPeople,
    RequestAlreadyOpen,
    RequestInvalid,
    RequestNotFound,
    StepOutOfOrder,
    VendorEmailTaken,
    VendorInactive,
    VendorNotFound,
)
from restock.vendor.items import ItemReader
from restock.vendor.operations import Wanted
from restock.vendor.schemas import (
    ContactRequest,
    NewRequest,
    NewStep,
    NewVendor,
    Vendor,
    VendorEdit,
)


@post(
    "/api/vendors",
    answers=201,
    faults=(RequestInvalid, VendorEmailTaken),
    summary="Register a vendor, owned by your workspace",
)
async def register_vendor(who: Principal, tx: Tx, data: NewVendor) -> Vendor:
    return await operations.register_vendor(tx, who, data)


@get("/api/vendors", single=True, summary="List active vendors, best rated first")
async def list_vendors(
    tx: Tx,
    page: Page,
    category: str | None = None,
    city: str | None = None,
    search: str | None = None,
) -> Reply[list[Vendor]]:
    return _vendors(page, await operations.list_vendors(tx, page, Wanted(category, city, search)))


@get(
    "/api/vendors/category/{category:str}",
    single=True,
    summary="List active vendors of one category, best rated first",
)
async def list_vendors_of_category(tx: Tx, page: Page, category: str) -> Reply[list[Vendor]]:
    return _vendors(page, await operations.list_vendors(tx, page, Wanted(category)))


@get(
    "/api/vendors/requests",
    single=True,
    summary="List the requests your workspace has sent, newest first",
)
async def list_sent_requests(who: Principal, tx: Tx, page: Page) -> Reply[list[ContactRequest]]:
    return _requests(page, await operations.list_sent_requests(tx, who, page))


@get(
    "/api/vendors/{vendor_id:uuid}",
    faults=(VendorNotFound,),
    single=True,
    summary="Read a vendor",
)
async def get_vendor(tx: Tx, vendor_id: UUID) -> Vendor:
    return await operations.get_vendor(tx, vendor_id)


@patch(
    "/api/vendors/{vendor_id:uuid}",
    faults=(RequestInvalid, VendorNotFound, EditForbidden, VendorEmailTaken),
    summary="Change a vendor: its people its contact fields, an admin isActive",
)
async def change_vendor(who: Principal, tx: Tx, vendor_id: UUID, data: VendorEdit) -> Vendor:
    return await operations.change_vendor(tx, who, vendor_id, data)


@post(
    "/api/vendors/{vendor_id:uuid}/contact",
    answers=201,
    faults=(
        RequestInvalid,
        VendorNotFound,
        ItemNotFound,
        VendorInactive,
        RequestAlreadyOpen,
        InventoryAway,
    ),
    summary="Ask a vendor to refill one of your items",
)
async def contact_vendor(
    who: Principal, tx: Tx, resources: ItemReader, vendor_id: UUID, data: NewRequest
) -> ContactRequest:
    return await operations.contact_vendor(tx, who, resources, vendor_id, data)


@get(
    "/api/vendors/{vendor_id:uuid}/requests",
    faults=(VendorNotFound, NotTheVendorsPeople),
    single=True,
    summary="List what your vendor was asked, newest first",
)
async def list_vendor_requests(
    who: Principal, tx: Tx, page: Page, vendor_id: UUID
) -> Reply[list[ContactRequest]]:
    return _requests(page, await operations.list_vendor_requests(tx, who, vendor_id, page))


@patch(
    "/api/vendors/requests/{request_id:uuid}/status",
    faults=(RequestNotFound, NotTheVendorsPeople, StepOutOfOrder),
    summary="Take a request to your vendor one step further",
)
async def change_request_status(
    who: Principal, tx: Tx, request_id: UUID, data: NewStep
) -> ContactRequest:
    return await operations.change_request_status(tx, who, request_id, data)


def _vendors(page: Page, rows: list[Vendor]) -> Reply[list[Vendor]]:
    return page.reply(rows, after=lambda last: (str(last.rating), str(last.id)))


def _requests(page: Page, rows: list[ContactRequest]) -> Reply[list[ContactRequest]]:
    return page.reply(rows, after=lambda last: (str(last.id),))


ROUTES = (
    register_vendor,
    list_vendors,
    list_vendors_of_category,
    list_sent_requests,
    get_vendor,
    change_vendor,
    contact_vendor,
    list_vendor_requests,
    change_request_status,
)
