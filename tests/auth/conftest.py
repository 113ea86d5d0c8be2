"""A running auth service that trusts the keys it made itself, and people who use it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from restock.auth.hashing import Hashing
from restock.engines.postgres import PostgresEngine
from restock.kernel.identity import Keys, read_jwks
from tests.auth.held import Held
from tests.fixtures.running import Answered, RunningService
from tests.fixtures.tokens import PUBLIC_KEYS

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class SignedIn:
    """What a client holds after it has signed in."""

    id: str
    workspace_id: str
    email: str
    token: str
    refresh_token: str


class Auth:
    """The service under test. `owner` is a connection with every right on its tables."""

    def __init__(self, service: RunningService, owner: Any) -> None:
        self.service = service
        self.owner = owner
        self.ask = service.ask

    async def register(self, email: str, **different: Any) -> Answered:
        body = {"email": email, "name": "Ada", "password": PASSWORD} | different
        return await self.ask("POST", "/api/auth/register", json=body)

    async def login(self, email: str, password: str = PASSWORD, **headers: str) -> Answered:
        body = {"email": email, "password": password}
        return await self.ask("POST", "/api/auth/login", json=body, headers=headers)

    async def refresh(self, refresh_token: str, **headers: str) -> Answered:
        body = {"refreshToken": refresh_token}
        return await self.ask("POST", "/api/auth/refresh", json=body, headers=headers)

    async def works(self, token: str) -> bool:
        """Whether an access token is accepted."""
        answer = await self.ask("GET", "/api/auth/verify", token=token)
        assert answer.status in (200, 401)
        return answer.status == 200

    async def newcomer(self, email: str = "ada@example.org") -> SignedIn:
        return signed_in(await self.register(email), status=201)

    async def again(self, email: str = "ada@example.org") -> SignedIn:
        return signed_in(await self.login(email))

    async def events(self, subject: str) -> list[dict[str, Any]]:
        """The data of the events of this subject on their way out, oldest first."""
        rows = await self.service.fetch(
            "SELECT data FROM outbox WHERE subject = $1 ORDER BY id", subject
        )
        return [row["data"] for row in rows]


def signed_in(answer: Answered, status: int = 200) -> SignedIn:
    assert answer.status == status, answer.body
    return SignedIn(
        id=answer.json["user"]["id"],
        workspace_id=answer.json["user"]["workspaceId"],
        email=answer.json["user"]["email"],
        token=answer.json["token"],
        refresh_token=answer.json["refreshToken"],
    )


StartAuth = Callable[..., Awaitable[Auth]]


@pytest_asyncio.fixture(loop_scope="session")
async def start_auth(
    make_service: Callable[..., Awaitable[RunningService]], postgres: PostgresEngine
) -> AsyncIterator[StartAuth]:
    """`await start_auth(setting="value")`."""
    owners = []

    async def start(**options: Any) -> Auth:
        async def own_keys() -> Keys:
            answer = await service.ask("GET", "/.well-known/jwks.json")
            return read_jwks(answer.json) | PUBLIC_KEYS

        service = await make_service("auth", fetch_keys=own_keys, **options)
        url = postgres.owner_url("auth", database=service.database_name)
        owner = await asyncpg.connect(url)
        owners.append(owner)
        return Auth(service, owner)

    yield start
    for owner in owners:
        await owner.close()


@pytest_asyncio.fixture(loop_scope="session")
async def auth(start_auth: StartAuth) -> Auth:
    """The service with its default settings."""
    return await start_auth()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Held]]:
    """From the moment it is called, hashing lasts until the `gate` it gives is set."""
    works = []

    def hold_hashing() -> Held:
        works.append(Held())
        monkeypatch.setattr(Hashing, "hash", works[-1])
        return works[-1]

    yield hold_hashing
    for work in works:
        work.gate.set()
