"""A crowd of sockets, each of an account of its own, and what is pushed to them."""

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import nats

from bench.nodejs import Script
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
AT_ONCE = 200  # pushes between two flushes
LIFE = timedelta(hours=2)


class Crowd:
    """The client's process; it ends with the first socket that is closed on it."""

    def __init__(self, url: str, tokens: Sequence[str], place: Path) -> None:
        file = place / f"tokens-{uuid.uuid4().hex}.txt"
        file.write_text("".join(f"{token}\n" for token in tokens))
        self._script = Script(
            "crowd.mjs", place / "crowd.log", {"url": url, "tokens": str(file)}
        )

    async def start(self) -> None:
        await self._script.start()

    async def stop(self) -> None:
        await self._script.stop()

    async def open(self, count: int) -> None:
        """Have so many sockets open. Raises BenchFailed when one is refused."""
        self._script.ask(open=count)
        await self._script.answer(OPEN_S)

    async def expect(self, count: int) -> None:
        """Begin to count events."""
        self._script.ask(expect=count)
        await self._script.answer(HEAR_S)

    async def heard(self) -> None:
        """Wait until as many have come as were expected."""
        await self._script.answer(HEAR_S)


def notification(user_id: UUID, seq: int) -> Notification:
    """One as it is usually heard, some 400 bytes."""
    item = uuid.uuid4()
    return Notification(
        id=uuid.uuid4(),
        user_id=user_id,
        type="low_stock",
        message="Low stock alert: Item 123",
        item_id=item,
        read=False,
        created_at=datetime.now(UTC),
        seq=seq,
        data={"name": "Item 123", "unit": "kg", "quantity": 5, "minThreshold": 10},
    )


async def mint(system: Restock, user_ids: Sequence[UUID]) -> list[str]:
    """Access tokens as auth makes them, without 10,000 registrations."""
    url = system.environment("auth")["RESTOCK_AUTH_DATABASE_URL"]
    connection = await asyncpg.connect(url)
    try:
        pem = await connection.fetchval(
            "SELECT private_pem FROM signing_keys WHERE state = 'active'"
        )
    finally:
        await connection.close()
    key, now = read_key(pem), datetime.now(UTC)
    makers = AccessTokens(ServiceSettings().issuer, ServiceSettings().audience)
    return [
        makers.make(
            key, _account(user_id, now), uuid.uuid4(), issued_at=now, expires_at=now + LIFE
        )
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


class Pusher:
    """Pushes to accounts' sockets as a notification worker does after its commit."""

    def __init__(self, system: Restock, user_ids: Sequence[UUID]) -> None:
        self._environment = system.environment("notification")
        self._user_ids = user_ids
        self._seqs: dict[UUID, int] = {}

    async def push(self, count: int, *, counted: bool) -> None:
        """Push so many notifications, each to any one account; with `counted` each raises the
        account's count of unread ones, as it usually does, so its socket hears that too."""
        client = await nats.connect(
            self._environment["RESTOCK_NATS_URL"],
            user=self._environment["RESTOCK_NOTIFICATION_NATS_USER"],
            password=self._environment["RESTOCK_NOTIFICATION_NATS_PASSWORD"],
        )
        try:
            for number in range(count):
                user_id = random.choice(self._user_ids)
                seq = self._seqs[user_id] = self._seqs.get(user_id, 0) + 1
                data = encode(notification(user_id, seq))
                push = Push(
                    head=seq,
                    unread=seq,
                    revision=seq if counted else 0,
                    events=[Pushed(seq, NEW_NOTIFICATION, msgspec.Raw(data))],
                )
                await client.publish(f"push.user.{user_id}", msgspec.json.encode(push))
                if number % AT_ONCE == 0:
                    await client.flush()
            await client.flush()
        finally:
            await client.close()
