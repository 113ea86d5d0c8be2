"""`/api/vendors`: the directory, and the requests between a workspace and its vendors."""

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from restock.client.paging import PAGE_SIZE, pages
from restock.client.shapes import ContactRequest, Vendor
from restock.client.transport import Call, Reply, TokenSource, Transport, new_key

ROOT = "/api/vendors"


class Vendors:
    """The vendor service as the signed-in account sees it. Refusals are raised as ApiProblem."""

    def __init__(self, transport: Transport, tokens: TokenSource) -> None:
        self._transport = transport
        self._tokens = tokens

    async def register_vendor(
        self,
        *,
        name: str,
        email: str,
        phone: str,
        category: str,
        address: str,
        city: str,
        key: str | None = None,
    ) -> Vendor:
        """Enter a vendor that this workspace owns. 409 when the e-mail is taken."""
        body = {
            "name": name,
            "email": email,
            "phone": phone,
            "category": category,
            "address": address,
            "city": city,
        }
        return (await self._change("POST", "", body, key)).read(Vendor)

    def vendors(
        self,
        *,
        category: str | None = None,
        city: str | None = None,
        search: str | None = None,
        limit: int = PAGE_SIZE,
    ) -> AsyncIterator[Vendor]:
        """Active vendors, best rated first."""
        params = {"category": category, "city": city, "search": search, "limit": limit}
        return self._list("", params, Vendor)

    def vendors_of_category(self, category: str) -> AsyncIterator[Vendor]:
        """Active vendors of one category, which may not contain a slash."""
        return self._list(f"/category/{category}", {"limit": PAGE_SIZE}, Vendor)

    async def vendor(self, vendor_id: UUID) -> Vendor:
        """One vendor, active or not."""
        call = Call(method="GET", path=f"{ROOT}/{vendor_id}")
        return (await self._transport.send(call, self._tokens)).read(Vendor)

    async def change_vendor(
        self, vendor_id: UUID, *, key: str | None = None, **fields: str | bool
    ) -> Vendor:
        """Change contact fields by their names on the wire; `isActive` as an admin only."""
        return (await self._change("PATCH", f"/{vendor_id}", fields, key)).read(Vendor)

    async def contact(
        self,
        vendor_id: UUID,
        *,
        item_id: UUID,
        quantity: Decimal | int,
        message: str,
        key: str | None = None,
    ) -> ContactRequest:
        """Ask a vendor to refill an item. 409 `vendor.request_open` while one is open."""
        body = {"itemId": item_id, "quantity": quantity, "message": message}
        return (await self._change("POST", f"/{vendor_id}/contact", body, key)).read(ContactRequest)

    def received_requests(self, vendor_id: UUID) -> AsyncIterator[ContactRequest]:
        """What a vendor of this workspace was asked, newest first. 403 for others."""
        return self._list(f"/{vendor_id}/requests", {"limit": PAGE_SIZE}, ContactRequest)

    def sent_requests(self) -> AsyncIterator[ContactRequest]:
        """What this workspace has asked, newest first."""
        return self._list("/requests", {"limit": PAGE_SIZE}, ContactRequest)

    async def set_status(
        self, request_id: UUID, status: str, *, key: str | None = None
    ) -> ContactRequest:
        """Take a request one step further: "responded", then "fulfilled"."""
        path = f"/requests/{request_id}/status"
        return (await self._change("PATCH", path, {"status": status}, key)).read(ContactRequest)

    def _list(self, path: str, params: Mapping[str, Any], kind: type) -> AsyncIterator[Any]:
        call = Call(method="GET", path=ROOT + path, params=params)
        return pages(self._transport, self._tokens, call, kind)

    async def _change(self, method: str, path: str, body: Any, key: str | None) -> Reply:
        call = Call(method=method, path=ROOT + path, body=body, key=key or new_key())
        return await self._transport.send(call, self._tokens)
