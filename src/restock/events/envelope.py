"""The CloudEvents 1.0 envelope (structured JSON) in which every event travels.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from datetime import datetime
from uuid import UUID

import msgspec

from restock.events import Moment


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event on the bus.

    `id` is the outbox row's id and the `Nats-Msg-Id`; `type` is the subject; `data` is the event
    as raw JSON, read by the struct of that subject. `workspaceid` and `traceparent` are extension
    attributes, lower case as the specification asks.
    """

    specversion: str
    id: UUID
    source: str
    type: str
    time: Moment
    datacontenttype: str
    data: msgspec.Raw
    workspaceid: UUID | None = None
    traceparent: str | None = None

    @property
    def subject(self) -> str:
        return self.type

    @property
    def workspace_id(self) -> UUID | None:
        return self.workspaceid

    @property
    def occurred_at(self) -> datetime:
        return self.time


def wrap(
    *,
    event_id: UUID,
    subject: str,
    occurred_at: datetime,
    data: str | bytes,
    workspace_id: UUID | None,
    traceparent: str | None,
) -> bytes:
    """The envelope as JSON. `data` is the event's JSON, taken as it is."""
    return _encoder.encode(
        Envelope(
            specversion="1.0",
            id=event_id,
            source="/" + subject.split(".", 1)[0],
            type=subject,
            time=occurred_at,
            datacontenttype="application/json",
            data=msgspec.Raw(data if isinstance(data, bytes) else data.encode()),
            workspaceid=workspace_id,
            traceparent=traceparent,
        )
    )


def unwrap(message: bytes) -> Envelope:
    """Read an envelope. Raises msgspec.DecodeError for what isn't one."""
    return _decoder.decode(message)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)
