"""A crowd of sockets, each of an account of its own, held by Restock or by Node."""

import resource
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID

import asyncpg
import msgspec
import nats
from nats.aio.client import Client

from bench.nodejs import Script, other_node
from bench.processes import Parts, tree
from bench.restock import Restock
from restock.auth.domain import Account
from restock.auth.keys import read_key
from restock.auth.tokens import AccessTokens
from restock.kernel.settings import ServiceSettings
from restock.kernel.wire import encode
from restock.notification.domain import NEW_NOTIFICATION
from restock.notification.pushes import Push, Pushed
from restock.notification.schemas import Notification

OPEN_S = 300.0
HEAR_S = 300.0
SPARE_FILES = 1_000
LIFE = timedelta(hours=2)

Counted = bool  # whether each push raises the count of unread ones, so that the socket hears that


def through_gateway(size: int) -> bool:
    """Whether Envoy may have files enough: a socket takes two of them."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * size + SPARE_FILES <= allowed


class Crowd:
    """The client's process; it ends with the first socket that is closed on it."""

    def __init__(self, tokens: Sequence[str], place: Path) -> None:
        file = place / f"tokens-{uuid.uuid4().hex}.txt"
        file.write_text("".join(f"{token}\n" for token in tokens))
        self._script = Script("crowd.mjs", place / "crowd.log", {"tokens": str(file)})

    async def start(self) -> None:
        await self._script.start()

    async def stop(self) -> None:
        await self._script.stop()

    async def open(self, count: int, url: str) -> None:
        """Have so many sockets open, the new ones at `url`. Raises BenchFailed when one is
        refused."""
        self._script.ask(open=count, url=url)
        await self._script.answer("open", OPEN_S)

    async def expect(self, count: int) -> None:
        """Begin to count events."""
        self._script.ask(expect=count)
        await self._script.answer("expecting", HEAR_S)

    async def heard(self) -> None:
        """Wait until as many have come as were expected."""
        await self._script.answer("heard", HEAR_S)


class Holder(Protocol):
    """A side: the process that holds the sockets is its `part`; `ways` are those it can push."""

    name: str
    part: str
    ways: tuple[Counted, ...]
    crowd: Crowd

    def parts(self) -> Parts: ...

    def url(self, size: int) -> str:
        """Where the crowd connects when it grows to this size."""
        ...

    async def push(self, accounts: Sequence[int], counted: Counted) -> None:
        """Push a notification to each of these accounts, by their number."""
        ...

    async def stop(self) -> None:
        """Close the crowd, and what was started with it."""
        ...


class RestockHolder:
    """Pushes to accounts' sockets as a notification worker does after its commit."""

    name, part = "Restock", "notification"
    ways: tuple[Counted, ...] = (False, True)

    def __init__(self, system: Restock, user_ids: Sequence[UUID], crowd: Crowd) -> None:
        self.crowd = crowd
        self.parts = system.parts
        self._system = system
        self._environment = system.environment("notification")
        self._user_ids = user_ids
        self._seqs: dict[UUID, int] = {}
        self._nats: Client | None = None

    @classmethod
    async def of(cls, system: Restock, user_ids: Sequence[UUID], place: Path) -> "RestockHolder":
        return cls(system, user_ids, Crowd(await _mint(system, user_ids), place))

    def url(self, size: int) -> str:
        return self._system.url if through_gateway(size) else self._system.socket_url

    async def push(self, accounts: Sequence[int], counted: Counted) -> None:
        if self._nats is None:
            self._nats = await nats.connect(
                self._environment["RESTOCK_NATS_URL"],
                user=self._environment["RESTOCK_NOTIFICATION_NATS_USER"],
                password=self._environment["RESTOCK_NOTIFICATION_NATS_PASSWORD"],
            )
        for number in accounts:
            user_id = self._user_ids[number]
            await self._nats.publish(f"push.user.{user_id}", self._next(user_id, counted))
        await self._nats.flush()

    async def stop(self) -> None:
        await self.crowd.stop()
        if self._nats is not None:
            await self._nats.close()
            self._nats = None

    def _next(self, user_id: UUID, counted: Counted) -> bytes:
        seq = self._seqs[user_id] = self._seqs.get(user_id, 0) + 1
        event = Pushed(seq, NEW_NOTIFICATION, msgspec.Raw(encode(_notification(user_id, seq))))
        revision = seq if counted else 0
        return msgspec.json.encode(Push(head=seq, unread=seq, revision=revision, events=[event]))


class NodeHolder:
    """Socket.IO in Node, making its events itself."""

    name, part = "Node socket.io", "node"
    ways: tuple[Counted, ...] = (False,)

    def __init__(self, server: Script, port: int, crowd: Crowd) -> None:
        self.crowd = crowd
        self._port = port
        self._server = server
        self._body = msgspec.to_builtins(
            msgspec.json.decode(encode(_notification(uuid.uuid4(), 1)))
        )

    @classmethod
    async def of(cls, port: int, most: int, place: Path) -> "NodeHolder":
        log = place / "server.log"
        server = Script("server.mjs", log, {"port": port}, node=other_node())
        await server.start()
        await server.answer("ready", 20)
        accounts = [str(uuid.uuid4()) for _ in range(most)]
        return cls(server, port, Crowd(accounts, place))

    def url(self, size: int) -> str:
        return f"http://127.0.0.1:{self._port}"

    def parts(self) -> Parts:
        return {self.part: list(tree(self._server.pid))}

    async def push(self, accounts: Sequence[int], counted: Counted) -> None:
        self._server.ask(emit=list(accounts), name=NEW_NOTIFICATION, body=self._body)

    async def stop(self) -> None:
        await self.crowd.stop()
        await self._server.stop()


def _notification(user_id: UUID, seq: int) -> Notification:
    """One as it is usually heard, some 400 bytes."""
    return Notification(
        id=uuid.uuid4(),
        user_id=user_id,
        type="low_stock",
        message="Low stock alert: Item 123",
        item_id=uuid.uuid4(),
        read=False,
        created_at=datetime.now(UTC),
        seq=seq,
        data={"name": "Item 123", "unit": "kg", "quantity": 5, "minThreshold": 10},
    )


async def _mint(system: Restock, user_ids: Sequence[UUID]) -> list[str]:
    """Access tokens as auth makes them, without 10,000 registrations."""
    url = system.environment("auth")["RESTOCK_AUTH_DATABASE_URL"]
    connection = await asyncpg.connect(url)
    try:
        pem = await connection.fetchval(
            "SELECT private_pem FROM signing_keys WHERE state = 'active'"
        )
    finally:
        await connection.close()
    key, now, settings = read_key(pem), datetime.now(UTC), ServiceSettings()
    maker = AccessTokens(settings.issuer, settings.audience)
    return [
        maker.make(key, _account(user_id, now), uuid.uuid4(), issued_at=now, expires_at=now + LIFE)
        for user_id in user_ids
    ]


def _account(user_id: UUID, now: datetime) -> Account:
    return Account(
        id=user_id,
        workspace_id=user_id,
        workspace_role="owner",
        email=f"{user_id}@example.org",
        email_verified=False,
        name="Bench",
        role="user",
        created_at=now,
        updated_at=now,
    )
