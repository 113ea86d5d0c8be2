"""What a happening means to whom: the words of each notification. Pure."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from restock.events.inventory import ItemFellLow, ItemRanOut, ItemRecovered
from restock.events.vendor import RequestFulfilled, RequestOpened, RequestResponded

NEW_NOTIFICATION = "new_notification"
VENDOR_CONTACT_REQUEST = "vendor_contact_request"


class Kind(StrEnum):
    """A notification's `type`."""

    LOW_STOCK = "low_stock"
    OUT_OF_STOCK = "out_of_stock"
    BACK_IN_STOCK = "back_in_stock"
    VENDOR_REQUEST = "vendor_request"
    REQUEST_RESPONDED = "request_responded"
    REQUEST_FULFILLED = "request_fulfilled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification to be: listed in the account's inbox, unread until it is read."""

    user_id: UUID
    event_id: UUID
    kind: Kind
    message: str
    item_id: UUID | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A socket event to be: sequenced in the account's feed like a notice, in no list."""

    user_id: UUID
    event_id: UUID
    name: str
    data: dict[str, Any]


Entry = Notice | Announcement
StockEvent = ItemFellLow | ItemRanOut | ItemRecovered
RequestStepped = RequestResponded | RequestFulfilled

_OF_STOCK: dict[type[StockEvent], tuple[Kind, str]] = {
    ItemFellLow: (Kind.LOW_STOCK, "Low stock alert: {}"),
    ItemRanOut: (Kind.OUT_OF_STOCK, "Out of stock: {}"),
    ItemRecovered: (Kind.BACK_IN_STOCK, "Back in stock: {}"),
}
_OF_STEP: dict[type[RequestStepped], tuple[Kind, str]] = {
    RequestResponded: (Kind.REQUEST_RESPONDED, "{} responded to your request for {}"),
    RequestFulfilled: (Kind.REQUEST_FULFILLED, "{} fulfilled your request for {}"),
}


def of_stock(event_id: UUID, event: StockEvent) -> list[Entry]:
    """An item crossed its threshold or ran out: its owner hears of it."""
    kind, words = _OF_STOCK[type(event)]
    return [
        Notice(
            user_id=event.user_id,
            event_id=event_id,
            kind=kind,
            message=words.format(event.name),
            item_id=event.item_id,
            data={
                "workspaceId": event.workspace_id,
                "name": event.name,
                "unit": event.unit,
                "quantity": event.quantity,
                "minThreshold": event.min_threshold,
                "version": event.seq,
            },
        )
    ]


def of_opened(event_id: UUID, event: RequestOpened) -> list[Entry]:
    """A vendor was contacted: each of its people gets a notification and the request itself."""
    entries: list[Entry] = []
    message = f"New contact request from {event.client_name} for {_plain(event.quantity)} units"
    for user_id in dict.fromkeys(event.user_ids):
        entries.append(
            Notice(
                user_id=user_id,
                event_id=event_id,
                kind=Kind.VENDOR_REQUEST,
                message=message,
                item_id=event.item_id,
                data=_about(event),
            )
        )
        entries.append(
            Announcement(
                user_id=user_id,
                event_id=event_id,
                name=VENDOR_CONTACT_REQUEST,
                data=_request(event),
            )
        )
    return entries


def of_step(event_id: UUID, event: RequestStepped) -> list[Entry]:
    """A vendor took a request one step further: its buyer hears of it."""
    kind, words = _OF_STEP[type(event)]
    return [
        Notice(
            user_id=event.user_id,
            event_id=event_id,
            kind=kind,
            message=words.format(event.vendor_name, event.item.name),
            item_id=event.item_id,
            data=_about(event),
        )
    ]


def _about(event: RequestOpened | RequestStepped) -> dict[str, Any]:
    return {
        "requestId": event.id,
        "vendorId": event.vendor_id,
        "vendorName": event.vendor_name,
        "clientName": event.client_name,
        "item": event.item,
        "quantity": event.quantity,
        "status": event.status,
    }


def _request(event: RequestOpened) -> dict[str, Any]:
    return {
        "id": event.id,
        "vendorId": event.vendor_id,
        "itemId": event.item_id,
        "userId": event.user_id,
        "workspaceId": event.workspace_id,
        "quantity": event.quantity,
        "message": event.message,
        "status": event.status,
        "createdAt": event.created_at,
        "item": event.item,
        "history": event.history,
        "vendor": {"id": event.vendor_id, "name": event.vendor_name},
        "vendorName": event.vendor_name,
        "clientName": event.client_name,
    }


def _plain(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"
