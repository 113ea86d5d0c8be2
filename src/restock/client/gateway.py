"""One gateway, one account: everything a client may ask of Restock."""

from types import TracebackType
from typing import Any, Self

from restock.client.feed import Feed
from restock.client.identity import Identity
from restock.client.inbox import Inbox
from restock.client.pacing import Pacer
from restock.client.stock import Inventory
from restock.client.transport import Call, Reply, Transport
from restock.client.vendors import Vendors


class Gateway:
    """`patience`: how many seconds one call may be repeated; `connections`: at most at once;
    `stay_signed_in`: keep the password and sign in again when the session was ended."""

    def __init__(
        self,
        url: str,
        *,
        patience: float = 30.0,
        connections: int = 32,
        pacer: Pacer | None = None,
        stay_signed_in: bool = False,
    ) -> None:
        self.transport = Transport(url, patience=patience, pacer=pacer)
        self.auth = Identity(self.transport, stay_signed_in=stay_signed_in)
        self.inventory = Inventory(self.transport, self.auth)
        self.vendors = Vendors(self.transport, self.auth)
        self.notifications = Inbox(self.transport, self.auth)
        self._connections = connections

    @property
    def url(self) -> str:
        """Where the gateway is, without a slash at the end."""
        return self.transport.url

    async def __aenter__(self) -> Self:
        await self.transport.open(self._connections)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.transport.close()

    async def health(self) -> dict[str, Any]:
        """The readiness of every service. Raises ApiProblem 503 while one is not ready."""
        call = Call(method="GET", path="/health", repeatable=False, paced=False)
        return (await self.transport.send(call)).read(dict[str, Any])

    async def send(self, call: Call) -> Reply:
        """Any call, signed; for what has no method here. Raises as every other."""
        return await self.transport.send(call, self.auth)

    def feed(
        self, *, last_seq: int | None = None, transports: tuple[str, ...] = ("websocket",)
    ) -> Feed:
        """The account's events as they happen; with `last_seq` those after it first."""
        return Feed(
            self.url,
            self.auth,
            last_seq=last_seq,
            transports=transports,
            patience=self.transport.patience,
        )
