"""Engine.IO 4 and Socket.IO 5 on the wire, as far as we speak them: text, namespace "/".

https://socket.io/docs/v4/engine-io-protocol/ and https://socket.io/docs/v4/socket-io-protocol/.
A *packet* of Engine.IO begins with one digit; those of kind MESSAGE hold one of Socket.IO, which
begins with its own.
"""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

VERSION = "4"
OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = "0", "1", "2", "3", "4", "5", "6"
PROBE = "probe"
SEPARATOR = "\x1e"  # between the packets of one body, when polling

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR = "0", "1", "2", "3", "4"
MAIN = "/"
RESERVED = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)

_MESSAGE = re.compile(
    r"(?P<kind>[0-3])(?:(?P<namespace>/[^,]*)(?:,|\Z))?(?P<id>[0-9]{1,15})?(?P<data>.*)", re.DOTALL
)


class BadPacket(ValueError):
    """What a client said isn't Socket.IO, or nothing a client may say."""


@dataclass(frozen=True, slots=True)
class Message:
    """One packet of Socket.IO; `id` is the acknowledgement the client waits for, if it does.

    `data` is None or a dict in a CONNECT, a list that begins with the event's name in an EVENT,
    a list in an ACK, None in a DISCONNECT.
    """

    kind: str
    namespace: str
    id: str | None
    data: Any


def read_message(text: str) -> Message:
    """A Socket.IO packet of a client. Raises BadPacket."""
    found = _MESSAGE.fullmatch(text)
    if found is None:
        raise BadPacket("unknown kind")
    kind, namespace, number, data = found.groups()
    message = Message(
        kind, (namespace or MAIN).partition("?")[0], number, _decode(data) if data else None
    )
    if not _is_valid(message):
        raise BadPacket("not what this kind holds")
    return message


def opening(
    sid: str, *, upgrades: list[str], interval_s: float, timeout_s: float, most: int
) -> bytes:
    """The first packet of a session."""
    about = {
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": round(interval_s * 1000),
        "pingTimeout": round(timeout_s * 1000),
        "maxPayload": most,
    }
    return OPEN.encode() + msgspec.json.encode(about)


def connected(sid: str, pid: str | None) -> bytes:
    """The answer to a CONNECT, for `Link.send`."""
    about = {"sid": sid} if pid is None else {"sid": sid, "pid": pid}
    return b"0" + msgspec.json.encode(about)


def refusal(namespace: str, message: str, code: str | None = None) -> bytes:
    """The answer to a CONNECT that is refused, for `Link.send`."""
    about: dict[str, Any] = {"message": message}
    if code is not None:
        about["data"] = {"code": code}
    where = "" if namespace == MAIN else namespace + ","
    return CONNECT_ERROR.encode() + where.encode() + msgspec.json.encode(about)


def acknowledgement(number: str, said: Any) -> bytes:
    """The answer to an event that waits for one, for `Link.send`."""
    return ACK.encode() + number.encode() + msgspec.json.encode([] if said is None else [said])


def _decode(data: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadPacket("not JSON") from error


def _is_valid(message: Message) -> bool:
    data = message.data
    match message.kind:
        case "0":
            return message.id is None and (data is None or isinstance(data, dict))
        case "1":
            return message.id is None and data is None
        case "2":
            return (
                isinstance(data, list)
                and bool(data)
                and isinstance(data[0], str)
                and data[0] not in RESERVED
            )
        case _:
            return message.id is not None and isinstance(data, list)
