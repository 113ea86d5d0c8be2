"""Where in its feed a client goes on: pure rules over what its CONNECT brought.

The standard client (socket.io-client from 4.6) sends back two things it was given: the `pid` of
a CONNECT answer and, as `offset`, the last trailing string of an event. Our offset is the event's
`seq`; our pid holds the position at the first connect, for a client that has heard nothing yet.
Neither is a secret and neither gives access: the feed is always that of the token's account. The
pid names the account only because one client may come back as another, with an offset that
belongs to the feed before. Then offsets of the new feed are marked when the one that came along
was not, and the other way round: the client keeps one, and whose it is shows.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

HIGHEST = 2**63 - 1
MARK = "b"
_PID = re.compile(r"(?P<position>[0-9]{1,18})\.(?P<account>[0-9a-f]{12})(?P<mark>b?)")
_OFFSET = re.compile(r"(?P<seq>[0-9]{1,18})(?P<mark>b?)")


class BadPosition(ValueError):
    """`lastSeq` is not a whole number from 0."""


@dataclass(frozen=True, slots=True)
class Start:
    """The last `seq` a client has, the pid to answer with, and what follows the `seq` in the
    offset each event ends in; None when they end in none.
    """

    position: int
    pid: str | None
    mark: str | None


def start(auth: Mapping[str, Any], user_id: UUID, head: int) -> Start:
    """Where a client that connects now begins; `head` is its feed's last `seq`.

    Raises BadPosition for a `lastSeq` that is none. What is wrong in pid or offset is ignored:
    the client's program didn't write them.
    """
    if "lastSeq" in auth:
        return Start(_last_seq(auth["lastSeq"], head), None, mark=None)
    heard = _match(_OFFSET, auth.get("offset"))
    known = _match(_PID, auth.get("pid"))
    if known is None or known["account"] != _account(user_id):
        mark = MARK if heard is not None and heard["mark"] == "" else ""
        return Start(head, f"{head}.{_account(user_id)}{mark}", mark)
    begun = min(int(known["position"]), head)
    own = heard is not None and heard["mark"] == known["mark"]
    position = int(heard["seq"]) if heard is not None and own else begun
    return Start(position if begun <= position <= head else begun, known[0], known["mark"])


def _match(pattern: re.Pattern[str], value: Any) -> re.Match[str] | None:
    return pattern.fullmatch(value) if isinstance(value, str) else None


def _last_seq(value: Any, head: int) -> int:
    if value is None:
        return head
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST:
        raise BadPosition()
    return min(value, head)


def _account(user_id: UUID) -> str:
    return hashlib.sha256(user_id.bytes).hexdigest()[:12]
