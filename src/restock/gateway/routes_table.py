"""What may be reached through the gateway, as data. Anything not listed here is 404.

Order matters: the first entry whose path fits is taken, so the exact ones stand above the tree
they are in, and what is asked for most stands first. A path that ends in a slash fits none, but
for the sockets'. Services mount the full public path; nothing is rewritten.
"""

from dataclasses import dataclass
from enum import Enum


class Service(Enum):
    """Who answers behind the gateway; the value is the name of its cluster in Envoy."""

    AUTH = "auth"
    INVENTORY = "inventory"
    VENDOR = "vendor"
    NOTIFICATION = "notification"
    GATEWAY = "gateway"
    SOCKETS = "sockets"


class Entry(Enum):
    """Who may come in: `PUBLIC` anyone, `TOKEN` only who brings a valid access token.

    `SOCKET` is the Socket.IO path: its token travels in the CONNECT packet, which only the
    notification service reads, so the gateway checks the Origin there instead.
    """

    PUBLIC = "public"
    TOKEN = "token"  # noqa: S105 (the word, not a secret)
    SOCKET = "socket"


class Limit(Enum):
    """Which bucket besides the address's own: `LOGIN` is the narrow one against guessing."""

    ORDINARY = "ordinary"
    LOGIN = "login"


class Repeat(Enum):
    """What Envoy may send to a service a second time after it perhaps arrived once.

    `READS`: GET and HEAD. `KEYED`: these, and POST or PATCH with an Idempotency-Key, since the
    service gives their first answer again. `NOTHING`: where a 503 is the answer, not a failure.
    Whatever never left the gateway may always be sent again.
    """

    NOTHING = "nothing"
    READS = "reads"
    KEYED = "keyed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One public path. `tree` takes everything below it too, on whole path segments."""

    path: str
    service: Service
    entry: Entry = Entry.TOKEN
    limit: Limit = Limit.ORDINARY
    repeat: Repeat = Repeat.READS
    tree: bool = False


ROUTES: tuple[Route, ...] = (
    Route(path="/api/inventory", service=Service.INVENTORY, repeat=Repeat.KEYED, tree=True),
    Route(path="/api/vendors", service=Service.VENDOR, repeat=Repeat.KEYED, tree=True),
    Route(
        path="/api/notifications",
        service=Service.NOTIFICATION,
        repeat=Repeat.KEYED,
        tree=True,
    ),
    Route(path="/api/auth/login", service=Service.AUTH, entry=Entry.PUBLIC, limit=Limit.LOGIN),
    Route(path="/api/auth/register", service=Service.AUTH, entry=Entry.PUBLIC, limit=Limit.LOGIN),
    Route(path="/api/auth/refresh", service=Service.AUTH, entry=Entry.PUBLIC),
    Route(path="/api/auth", service=Service.AUTH, tree=True),
    Route(path="/.well-known/jwks.json", service=Service.AUTH, entry=Entry.PUBLIC),
    Route(path="/socket.io", service=Service.SOCKETS, entry=Entry.SOCKET, tree=True),
    Route(
        path="/health",
        service=Service.GATEWAY,
        entry=Entry.PUBLIC,
        repeat=Repeat.NOTHING,
    ),
    Route(path="/docs", service=Service.GATEWAY, entry=Entry.PUBLIC, tree=True),
    Route(path="/openapi.json", service=Service.GATEWAY, entry=Entry.PUBLIC),
    Route(path="/events.html", service=Service.GATEWAY, entry=Entry.PUBLIC),
)
