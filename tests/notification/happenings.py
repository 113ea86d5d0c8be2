"""Events as inventory and vendor publish them, and the two ways they reach the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import nats as nats_client

from restock.events import Event, encode
from restock.events.envelope import Envelope, unwrap, wrap
from restock.events.inventory import ItemFellLow, ItemRanOut, ItemRecovered
from restock.events.vendor import (
    RequestedItem,
    RequestFulfilled,
    RequestOpened,
    RequestResponded,
    RequestStep,
    VendorRegistered,
)
from restock.kernel.ids import new_id
from restock.notification.consumers import CONSUMERS


@dataclass(frozen=True)
class Account:
    """Somebody with a token."""

    token: str
    user_id: UUID = field(default_factory=new_id)
    workspace_id: UUID = field(default_factory=new_id)
    session_id: UUID = field(default_factory=new_id)


def account(token_for: Any, **claims: Any) -> Account:
    user_id = claims.pop("user_id", None) or new_id()
    workspace_id, session_id = new_id(), new_id()
    token = token_for(user_id=user_id, workspace_id=workspace_id, session_id=session_id, **claims)
    return Account(token, user_id, workspace_id, session_id)


def stock_event(
    kind: type[ItemFellLow | ItemRanOut | ItemRecovered],
    user_id: UUID,
    *,
    name: str = "Flour",
    item_id: UUID | None = None,
    seq: int = 2,
) -> Event:
    return kind(
        item_id=item_id or new_id(),
        workspace_id=new_id(),
        user_id=user_id,
        name=name,
        unit="kg",
        quantity=Decimal("4.5"),
        min_threshold=Decimal(5),
        seq=seq,
    )


def fell_low(user_id: UUID, **more: Any) -> Event:
    return stock_event(ItemFellLow, user_id, **more)


def request_event(
    kind: type[RequestOpened | RequestResponded | RequestFulfilled],
    *,
    buyer: UUID,
    people: list[UUID],
    message: str = "As soon as you can",
) -> Event:
    status = {RequestResponded: "responded", RequestFulfilled: "fulfilled"}.get(kind, "pending")
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return kind(
        id=new_id(),
        vendor_id=new_id(),
        item_id=new_id(),
        user_id=buyer,
        workspace_id=new_id(),
        quantity=Decimal(25),
        message=message,
        status=status,
        created_at=moment,
        item=RequestedItem(name="Flour", unit="kg", sku=None),
        history=[RequestStep(status="pending", at=moment, user_id=buyer)],
        vendor_name="Mill & Sons",
        client_name="Ada",
        user_ids=people,
        seq=1,
    )


def vendor_registered(people: list[UUID], vendor_id: UUID | None = None) -> Event:
    fields: dict[str, Any] = {
        "vendor_id": vendor_id or new_id(),
        "workspace_id": new_id(),
        "name": "Mill & Sons",
        "user_ids": people,
        "seq": 1,
    }
    declared = VendorRegistered.__struct_fields__
    return VendorRegistered(**{name: fields[name] for name in declared})


def envelope_of(event: Event, event_id: UUID | None = None) -> bytes:
    return wrap(
        event_id=event_id or new_id(),
        subject=event.subject,
        occurred_at=datetime.now(UTC),
        data=encode(event),
        workspace_id=None,
        traceparent=None,
    )


async def happen(service: Any, event: Event) -> Envelope:
    """Have the service's consumer handle an event in a transaction, as the bus would."""
    envelope = unwrap(envelope_of(event))
    async with service.context.database.tx() as tx:
        await CONSUMERS[type(event)](tx, envelope, event, service.context.resources)
    return envelope


class Publisher:
    """Publishes as the owner of each subject does."""

    def __init__(self, nats: Any) -> None:
        self._nats = nats
        self._clients: dict[str, Any] = {}

    async def publish(self, event: Event, *, event_id: UUID | None = None, again: int = 0) -> UUID:
        """Into the stream; `again` further copies that JetStream doesn't recognise as such."""
        event_id = event_id or new_id()
        owner = event.subject.split(".", 1)[0]
        client = await self._client(owner)
        for copy in range(1 + again):
            await client.jetstream().publish(
                event.subject,
                envelope_of(event, event_id),
                headers={"Nats-Msg-Id": f"{event_id}-{copy}"},
            )
        return event_id

    @classmethod
    @asynccontextmanager
    async def of(cls, nats: Any) -> AsyncIterator["Publisher"]:
        """One that is there for the block."""
        publisher = cls(nats)
        yield publisher
        for client in publisher._clients.values():
            await client.close()

    async def _client(self, owner: str) -> Any:
        if owner not in self._clients:
            credential = self._nats.credential(owner)
            self._clients[owner] = await nats_client.connect(
                self._nats.url,
                user=credential.user,
                password=credential.password,
                inbox_prefix=f"_INBOX_{owner}".encode(),
            )
        return self._clients[owner]
