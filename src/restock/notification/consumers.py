"""What notification hears from the other services: one function per subject."""

from collections.abc import Callable, Mapping
from typing import Any

from restock.events import Event
from restock.events.envelope import Envelope
from restock.events.inventory import ItemFellLow, ItemRanOut, ItemRecovered
from restock.events.vendor import (
    RequestFulfilled,
    RequestOpened,
    RequestResponded,
    VendorRegistered,
)
from restock.kernel.database import Tx
from restock.notification import domain, operations
from restock.notification.sockets import SocketService


async def item_fell_low(
    tx: Tx, envelope: Envelope, event: ItemFellLow, resources: SocketService
) -> None:
    await operations.tell(tx, resources.pushes, domain.of_stock(envelope.id, event))


async def item_ran_out(
    tx: Tx, envelope: Envelope, event: ItemRanOut, resources: SocketService
) -> None:
    await operations.tell(tx, resources.pushes, domain.of_stock(envelope.id, event))


async def item_recovered(
    tx: Tx, envelope: Envelope, event: ItemRecovered, resources: SocketService
) -> None:
    await operations.tell(tx, resources.pushes, domain.of_stock(envelope.id, event))


async def request_opened(
    tx: Tx, envelope: Envelope, event: RequestOpened, resources: SocketService
) -> None:
    await operations.tell(tx, resources.pushes, domain.of_opened(envelope.id, event))


async def request_responded(
    tx: Tx, envelope: Envelope, event: RequestResponded, resources: SocketService
) -> None:
    await operations.tell(tx, resources.pushes, domain.of_step(envelope.id, event))


async def request_fulfilled(
    tx: Tx, envelope: Envelope, event: RequestFulfilled, resources: SocketService
) -> None:
    await operations.tell(tx, resources.pushes, domain.of_step(envelope.id, event))


async def vendor_registered(
    tx: Tx, _envelope: Envelope, event: VendorRegistered, resources: SocketService
) -> None:
    await operations.join_vendor(tx, resources.pushes, event.vendor_id, event.user_ids)


CONSUMERS: Mapping[type[Event], Callable[..., Any]] = {
    ItemFellLow: item_fell_low,
    ItemRanOut: item_ran_out,
    ItemRecovered: item_recovered,
    RequestOpened: request_opened,
    RequestResponded: request_responded,
    RequestFulfilled: request_fulfilled,
    VendorRegistered: vendor_registered,
}
