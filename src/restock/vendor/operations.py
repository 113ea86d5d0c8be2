"""What vendor does: the directory, and the requests that buyers send to its vendors."""

from dataclasses import dataclass
from uuid import UUID

from msgspec import UNSET, structs

from restock.events.vendor import (
    RequestedItem,
    RequestFulfilled,
    RequestOpened,
    RequestResponded,
    RequestStep,
    VendorChanged,
    VendorRegistered,
)
from restock.kernel import outbox
from restock.kernel.database import Tx
from restock.kernel.faults import FieldError
from restock.kernel.identity import Principal
from restock.kernel.paging import BadCursor, Page
from restock.kernel.tenants import Tenant
from restock.vendor import domain, store
from restock.vendor.domain import Status
from restock.vendor.faults import (
    EditForbidden,
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
from restock.vendor.schemas import (
    ContactRequest,
    NewRequest,
    NewStep,
    NewVendor,
    Vendor,
    VendorEdit,
)

_EVENT_OF = {
    Status.PENDING: RequestOpened,
    Status.RESPONDED: RequestResponded,
    Status.FULFILLED: RequestFulfilled,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which vendors are looked for: by whole category and city, by part of a word."""

    category: str | None = None
    city: str | None = None
    search: str | None = None


async def register_vendor(tx: Tx, who: Principal, new: NewVendor) -> Vendor:
    """Enter a vendor, owned by the caller's workspace. Raises RequestInvalid, VendorEmailTaken."""
    _check_category(new.category)
    vendor = await store.add_vendor(tx, who.workspace_id, who.user_id, new)
    if vendor is None:
        raise VendorEmailTaken()
    event = VendorRegistered(
        vendor_id=vendor.id,
        workspace_id=vendor.workspace_id,
        name=vendor.name,
        user_ids=await store.people_of(tx, vendor.workspace_id),
        seq=1,
    )
    await outbox.put(tx, event, workspace_id=vendor.workspace_id)
    return vendor


async def list_vendors(tx: Tx, page: Page, wanted: Wanted) -> list[Vendor]:
    """Active vendors, best rated first; one more than the page has where there are more."""
    after = None
    if page.cursor is not None:
        try:
            after = domain.position_at(page.cursor)
        except domain.PositionRefused as refusal:
            raise BadCursor() from refusal
    return await store.list_vendors(
        tx,
        # an empty filter is a search field nobody has typed into yet
        category=wanted.category or None,
        city=wanted.city or None,
        search=wanted.search or None,
        after=after,
        limit=page.limit,
    )


async def get_vendor(tx: Tx, vendor_id: UUID) -> Vendor:
    """A vendor, active or not. Raises VendorNotFound."""
    vendor = await store.find_vendor(tx, vendor_id)
    if vendor is None:
        raise VendorNotFound()
    return vendor


async def change_vendor(tx: Tx, who: Principal, vendor_id: UUID, edit: VendorEdit) -> Vendor:
    """Change contact fields (its people) or activity (an admin).

    Raises RequestInvalid, for an empty edit too, VendorNotFound, EditForbidden, VendorEmailTaken.
    """
    changes = {name: value for name, value in structs.asdict(edit).items() if value is not UNSET}
    if not changes:
        raise RequestInvalid(errors=[FieldError("", "Expected a field to change")])
    if edit.category is not UNSET:
        _check_category(edit.category)
    vendor = await get_vendor(tx, vendor_id)
    try:
        domain.check_edit(
            owner=vendor.workspace_id,
            workspace=who.workspace_id,
            role=who.role,
            contact_fields=bool(changes.keys() - {"is_active"}),
            activity="is_active" in changes,
        )
    except domain.EditRefused as refusal:
        raise EditForbidden(str(refusal)) from refusal
    if who.role == "admin":
        tx.tenant = Tenant(vendor.workspace_id)
    try:
        vendor, seq = await store.change_vendor(tx, vendor.workspace_id, vendor.id, changes)
    except store.EmailExists:
        raise VendorEmailTaken() from None
    if seq is not None:
        event = VendorChanged(
            vendor_id=vendor.id,
            workspace_id=vendor.workspace_id,
            name=vendor.name,
            is_active=vendor.is_active,
            user_ids=await store.people_of(tx, vendor.workspace_id),
            seq=seq,
        )
        await outbox.put(tx, event, workspace_id=vendor.workspace_id)
    return vendor


async def contact_vendor(
    tx: Tx, who: Principal, items: ItemReader, vendor_id: UUID, new: NewRequest
) -> ContactRequest:
    """Ask a vendor to refill one of the caller's items.

    Raises RequestInvalid for a quantity that isn't above 0, ItemNotFound, InventoryAway,
    VendorNotFound, VendorInactive, RequestAlreadyOpen.
    """
    try:
        domain.check_quantity(new.quantity)
    except domain.QuantityRefused as refusal:
        raise RequestInvalid(errors=[FieldError("/quantity", str(refusal))]) from refusal
    # before this operation's first statement: no connection is taken to wait for inventory
    item = await items.snapshot(who.token, new.item_id)
    request_id = None
    while request_id is None:
        request_id = await store.open_request(
            tx,
            vendor_id=vendor_id,
            buyer_workspace_id=who.workspace_id,
            buyer_user_id=who.user_id,
            client_name=who.name,
            new=new,
            item=item,
        )
        if request_id is None:
            await _look_for_obstacle(tx, who, vendor_id, new.item_id)
    opened = await store.request_of_buyer(tx, who.workspace_id, request_id)
    await _announce(tx, opened)
    return opened.request


async def list_vendor_requests(
    tx: Tx, who: Principal, vendor_id: UUID, page: Page
) -> list[ContactRequest]:
    """What a vendor was asked, for its own people. Raises VendorNotFound, NotTheVendorsPeople."""
    vendor = await get_vendor(tx, vendor_id)
    if vendor.workspace_id != who.workspace_id:
        raise NotTheVendorsPeople()
    return await store.requests_to(
        tx, who.workspace_id, vendor_id, after=_request_at(page), limit=page.limit
    )


async def list_sent_requests(tx: Tx, who: Principal, page: Page) -> list[ContactRequest]:
    """What the caller's workspace has sent."""
    return await store.requests_by(tx, who.workspace_id, after=_request_at(page), limit=page.limit)


async def change_request_status(
    tx: Tx, who: Principal, request_id: UUID, step: NewStep
) -> ContactRequest:
    """Take a request one step further, for the vendor's people.

    Raises RequestNotFound, NotTheVendorsPeople for the buyer, StepOutOfOrder.
    """
    current = await store.lock_request(tx, who.workspace_id, request_id)
    if current is None:
        if await store.is_sent_by(tx, who.workspace_id, request_id):
            raise NotTheVendorsPeople()
        raise RequestNotFound()
    try:
        reached = domain.advance(current, Status(step.status))
    except domain.StepRefused as refusal:
        raise StepOutOfOrder(str(refusal), current=current.value) from refusal
    await store.take_step(tx, who.workspace_id, request_id, reached, who.user_id)
    stepped = await store.request_of_vendor(tx, who.workspace_id, request_id)
    await _announce(tx, stepped)
    return stepped.request


def _check_category(category: str) -> None:
    try:
        domain.check_category(category)
    except domain.CategoryRefused as refusal:
        raise RequestInvalid(errors=[FieldError("/category", str(refusal))]) from refusal


async def _look_for_obstacle(tx: Tx, who: Principal, vendor_id: UUID, item_id: UUID) -> None:
    """Raise why no request could be opened.

    Where nothing stands in the way any more others were at work between the two statements: the
    vendor was made active, or what was open is fulfilled.
    """
    vendor = await get_vendor(tx, vendor_id)
    if not vendor.is_active:
        raise VendorInactive()
    open_request_id = await store.find_open_request(
        tx, vendor.workspace_id, vendor_id, who.workspace_id, item_id
    )
    if open_request_id is not None:
        raise RequestAlreadyOpen(openRequestId=open_request_id)


async def _announce(tx: Tx, stored: store.StoredRequest) -> None:
    """Tell of a request's latest step. The envelope names the buyer's workspace, as the event."""
    request = stored.request
    vendor = request.vendor
    event = _EVENT_OF[Status(request.status)](
        id=request.id,
        vendor_id=request.vendor_id,
        item_id=request.item_id,
        user_id=request.user_id,
        workspace_id=request.workspace_id,
        quantity=request.quantity,
        message=request.message,
        status=request.status,
        created_at=request.created_at,
        item=RequestedItem(name=request.item.name, unit=request.item.unit, sku=request.item.sku),
        history=[
            RequestStep(status=step.status, at=step.at, user_id=step.user_id)
            for step in request.history
        ],
        vendor_name=vendor.name,
        client_name=stored.client_name,
        user_ids=await store.people_of(tx, vendor.workspace_id),
        seq=len(request.history),
    )
    await outbox.put(tx, event, workspace_id=request.workspace_id)


def _request_at(page: Page) -> UUID | None:
    if page.cursor is None:
        return None
    try:
        return domain.request_at(page.cursor)
    except domain.PositionRefused as refusal:
        raise BadCursor() from refusal
