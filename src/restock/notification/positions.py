"""Where in its feed a client goes on: pure rules over what its CONNECT brought.

The standard client (socket.io-client from 4.6) sends back two things it was given: the `pid` of
a CONNECT answer and, as `offset`, the last trailing string of an event. Our offset is the event's
`seq`; our pid holds the position at the first connect, for a client that has heard nothing yet.
Neither is a secret and neither gives access: the feed is always that of the token's account. The
pid names the account only because one client may come back as another, with an offset that
belongs to the feed before.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

HIGHEST = 2**63 - 1
_PID = re.compile(r"(?P<position>\d{1,18})\.(?P<account>[0-9a-f]{12})(\.(?P<foreign>\d{1,18}))?")
_OFFSET = re.compile(r"\d{1,18}")


class BadPosition(ValueError):
    """`lastSeq` is not a whole number from 0."""


@dataclass(frozen=True, slots=True)
class Start:
    """The last `seq` a client has, the pid to answer with, whether events end in their offset."""

    position: int
    pid: str | None
    offsets: bool


def start(auth: Mapping[str, Any], user_id: UUID, head: int) -> Start:
    """Where a client that connects now begins; `head` is its feed's last `seq`.

    Raises BadPosition for a `lastSeq` that is none. What is wrong in pid or offset is ignored:
    the client's program didn't write them.
    """
    if "lastSeq" in auth:
        return Start(_last_seq(auth["lastSeq"], head), None, offsets=False)
    pid, offset = auth.get("pid"), auth.get("offset")
    heard = offset if isinstance(offset, str) and _OFFSET.fullmatch(offset) else None
    known = _PID.fullmatch(pid) if isinstance(pid, str) else None
    if known is None or known["account"] != _account(user_id):
        foreign = f".{heard}" if heard is not None else ""
        return Start(head, f"{head}.{_account(user_id)}{foreign}", offsets=True)
    begun = min(int(known["position"]), head)
    if heard is None or heard == known["foreign"] or not begun <= int(heard) <= head:
        return Start(begun, pid, offsets=True)
    return Start(int(heard), pid, offsets=True)


def _last_seq(value: Any, head: int) -> int:
    if value is None:
        return head
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST:
        raise BadPosition()
    return min(value, head)


def _account(user_id: UUID) -> str:
    return hashlib.sha256(user_id.bytes).hexdigest()[:12]
