"""The language between services: one frozen struct per event, one module per owner.

An event says what happened, in the past tense; its class name is its subject
(`ItemFellLow` = ``inventory.item.fell_low``). On the bus it travels in a CloudEvents 1.0
envelope, camelCase. Producers send exactly the declared fields; consumers ignore fields they do
not know, so fields may be added. A breaking change is a new subject ending in ``.v2``.
"""

from datetime import datetime
from typing import Annotated, ClassVar, TypeVar

import msgspec

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Parent of every event. `subject` is the NATS subject and the CloudEvents type."""

    subject: ClassVar[str]


E = TypeVar("E", bound=Event)


def encode(event: Event) -> bytes:
    """The event's ``data`` as JSON; quantities as plain numbers."""
    return _encoder.encode(event)


def decode(data: bytes | msgspec.Raw, kind: type[E]) -> E:
    """Read ``data`` of one kind. Unknown fields are ignored.

    Raises msgspec.DecodeError when a declared field is missing or of another type.
    """
    return msgspec.json.decode(data, type=kind)


_encoder = msgspec.json.Encoder(decimal_format="number")
