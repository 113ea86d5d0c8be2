"""The event contract as an AsyncAPI 3.0 document: what travels on NATS, and on the sockets.

Everything in it is read off the code: the event types and who publishes and consumes them, and
the structs that notification sends and hears.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from restock.events import Event
from restock.kernel.service import Service
from restock.system import NATS_PORT

VERSION = "1.0.0"
SCHEMAS = "#/components/schemas/"
MESSAGES = "#/components/messages/"

ABOUT = """What Restock's services tell each other, and what clients hear on an open socket.

Events travel in CloudEvents 1.0 envelopes (structured JSON) on NATS JetStream. `Nats-Msg-Id`, the
envelope's `id` and the producer's outbox row are one. Delivery is at least once, and no order is
promised: each event carries its row's `seq`, of which the greater is the later. Fields are only
ever added; a breaking change is a new subject ending in `.v2`."""

SOCKET_ABOUT = """Socket.IO v4 at `/socket.io`, namespace `/`, by websocket or polling; connect with
`{auth: {token}}`. `new_notification` and `vendor_contact_request` end in one more argument, the
offset, which `socket.io-client` 4.6 and later sends back by itself when it reconnects; a client
that passes `auth.lastSeq` gets none and is replayed from there."""

ENVELOPE: dict[str, Any] = {
    "title": "Envelope",
    "description": "CloudEvents 1.0; `data` is the event.",
    "type": "object",
    "required": ["specversion", "id", "source", "type", "time", "datacontenttype", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid"},
        "source": {"type": "string", "description": "`/` and the service that published it."},
        "type": {"type": "string", "description": "The subject."},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "workspaceid": {"type": "string", "format": "uuid"},
        "traceparent": {"type": "string"},
        "data": {"type": "object"},
    },
}


def event_document(
    services: Sequence[Service],
    *,
    sent: Mapping[str, type],
    heard: Mapping[str, tuple[type, type]],
) -> dict[str, Any]:
    """The whole document.

    `sent` are the socket events clients receive; `heard` what they may send, each with the shape
    of its acknowledgement.
    """
    events = sorted({kind for service in services for kind in service.publishes}, key=_subject)
    channels = {kind.subject: _event_channel(kind) for kind in events}
    answers = {f"{name}.answer": shape for name, (_, shape) in heard.items()}
    spoken = {**sent, **{name: shape for name, (shape, _) in heard.items()}, **answers}
    channels["socket"] = _socket_channel(spoken)
    messages = {kind.subject: _event_message(kind) for kind in events}
    messages |= {name: _socket_message(name, shape) for name, shape in spoken.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Restock events", "version": VERSION, "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": f"127.0.0.1:{NATS_PORT}",
                "protocol": "nats",
                "description": "JetStream.",
            },
            "gateway": {
                "host": "127.0.0.1:3000",
                "pathname": "/socket.io",
                "protocol": "ws",
                "description": SOCKET_ABOUT,
            },
        },
        "channels": channels,
        "operations": _event_operations(services) | _socket_operations(sent, heard),
        "components": {"messages": messages, "schemas": _schemas({*events, *spoken.values()})},
    }


def _subject(kind: type[Event]) -> str:
    return kind.subject


def _event_channel(kind: type[Event]) -> dict[str, Any]:
    return {
        "address": kind.subject,
        "servers": [{"$ref": "#/servers/nats"}],
        "messages": {kind.__name__: {"$ref": MESSAGES + kind.subject}},
    }


def _event_message(kind: type[Event]) -> dict[str, Any]:
    return {
        "name": kind.__name__,
        "title": kind.subject,
        "summary": _first_sentence(kind),
        "contentType": "application/cloudevents+json",
        "payload": {
            "allOf": [
                {"$ref": SCHEMAS + "Envelope"},
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": kind.subject},
                        "data": {"$ref": SCHEMAS + kind.__name__},
                    },
                },
            ]
        },
    }


def _event_operations(services: Iterable[Service]) -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for service in services:
        for action, kinds in (("send", service.publishes), ("receive", service.consumers)):
            for kind in sorted(kinds, key=_subject):
                operations[f"{service.name}.{action}.{kind.subject}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{kind.subject}"},
                    "tags": [{"name": service.name}],
                }
    return operations


def _socket_channel(names: Iterable[str]) -> dict[str, Any]:
    return {
        "address": "/",
        "servers": [{"$ref": "#/servers/gateway"}],
        "messages": {name: {"$ref": MESSAGES + name} for name in names},
    }


def _socket_message(name: str, shape: type) -> dict[str, Any]:
    return {
        "name": name,
        "summary": _first_sentence(shape),
        "payload": {"$ref": SCHEMAS + shape.__name__},
    }


def _socket_operations(
    sent: Mapping[str, type], heard: Mapping[str, tuple[type, type]]
) -> dict[str, Any]:
    channel = {"$ref": "#/channels/socket"}
    tags = [{"name": "notification"}]
    operations: dict[str, Any] = {}
    for action, names in (("send", sent), ("receive", heard)):
        for name in names:
            operations[f"notification.{action}.{name}"] = {
                "action": action,
                "channel": channel,
                "tags": tags,
                "messages": [{"$ref": f"#/channels/socket/messages/{name}"}],
            }
    for name in heard:
        operations[f"notification.receive.{name}"]["reply"] = {
            "channel": channel,
            "messages": [{"$ref": f"#/channels/socket/messages/{name}.answer"}],
        }
    return operations


def _schemas(shapes: Iterable[type]) -> dict[str, Any]:
    ordered = sorted(shapes, key=lambda shape: shape.__name__)
    _, made = msgspec.json.schema_components(ordered, ref_template=SCHEMAS + "{name}")
    plain: dict[str, Any] = _plain(made)
    return {"Envelope": ENVELOPE} | dict(sorted(plain.items()))


def _plain(schema: Any) -> Any:
    """As it is on the wire: Decimals are written as numbers; descriptions lose their indent."""
    if isinstance(schema, dict):
        if schema.get("format") == "decimal":
            return {"type": "number"}
        return {
            name: inspect.cleandoc(part) if name == "description" and isinstance(part, str)
            else _plain(part)
            for name, part in schema.items()
        }  # fmt: skip
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    return schema


def _first_sentence(shape: type) -> str:
    text = " ".join((inspect.getdoc(shape) or shape.__name__).split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".") + "."
