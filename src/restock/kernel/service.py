"""A service as data: what it serves, consumes and needs; and the context it runs in."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from restock.kernel.settings import ServiceSettings

if TYPE_CHECKING:
    from restock.events import Event
    from restock.kernel.bus import Bus
    from restock.kernel.database import Database
    from restock.kernel.identity import TokenVerifier
    from restock.kernel.outbox import Relay


class Run(Protocol):
    """Anything long-lived. `run` returns soon after `stop` is set, having drained."""

    async def run(self, stop: asyncio.Event) -> None: ...


@dataclass(kw_only=True)
class Context:
    """What a running service has at hand.

    `resources` is what its `open` yielded. `stopping` is set when the worker is told to stop,
    before anything has ended: who holds connections open lets go of them then.
    """

    service: "Service"
    settings: Any
    database: "Database"
    bus: "Bus"
    verifier: "TokenVerifier"
    relay: "Relay"
    log: Any
    resources: Any = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


Asgi = Callable[[Any, Any, Any], Any]
Purge = Callable[[Any], Awaitable[int]]


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service's card: everything the kernel needs to run it.

    `open` opens what the service itself needs (an HTTP session, a thread pool), for as long as it
    runs. `mount` may wrap the HTTP application (Socket.IO does). `runs` are its own long-lived
    things. `extra_ports` are further loopback ports on which a worker serves the same
    application. `websocket` is the protocol uvicorn serves them by, its name or its class.
    A service without `nats` neither publishes nor consumes, and verifies no tokens.
    Each of `purges` deletes some of what nobody can ask for again, at most
    `database.PURGED_AT_ONCE` rows of a Tx, and says how many.
    `health` replaces the kernel's own answer to GET /health: `status` "unready" is a 503.
    """

    name: str
    port: int
    package: str
    settings: type[ServiceSettings] = ServiceSettings
    routes: Sequence[Any] = ()
    consumers: "Mapping[type[Event], Callable[..., Any]]" = field(default_factory=dict)
    publishes: "Sequence[type[Event]]" = ()
    open: Callable[[Context], AbstractAsyncContextManager[Any]] | None = None
    mount: Callable[[Context, Asgi], Asgi] | None = None
    runs: Callable[[Context], list[Run]] | None = None
    extra_ports: Callable[[Any], list[int]] | None = None
    websocket: Any = "websockets-sansio"
    purges: Sequence[Purge] = ()
    database: bool = True
    nats: bool = True
    health: Callable[[Context], Awaitable[dict[str, Any]]] | None = None
