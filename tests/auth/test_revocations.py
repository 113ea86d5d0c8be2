"""How far the end of a session reaches: who starts later, and while NATS is away."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import time_machine

from restock.engines.nats import NatsEngine
from restock.kernel import revocations
from restock.kernel.identity import Keys, read_jwks
from restock.kernel.ids import new_id
from tests.auth.conftest import Auth, StartAuth
from tests.fixtures.running import RunningService
from tests.fixtures.tokens import token_for
from tests.kernel.test_bus import revoke

ITEMS = "/api/inventory/items"
Start = Callable[[], Awaitable[RunningService]]


@pytest_asyncio.fixture(loop_scope="session")
async def auth(start_auth: StartAuth, nats: NatsEngine) -> Auth:
    return await start_auth(nats=nats)


@pytest_asyncio.fixture(loop_scope="session")
async def start_inventory(auth: Auth, nats: NatsEngine, make_service: Any) -> Start:
    """Starts a service that takes this auth's tokens."""

    async def keys() -> Keys:
        return read_jwks((await auth.ask("GET", "/.well-known/jwks.json")).json)

    return lambda: make_service("inventory", nats=nats, fetch_keys=keys)


async def status(service: RunningService, token: str) -> int:
    return (await service.ask("GET", ITEMS, token=token)).status


async def becomes(wanted: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await wanted():
            await asyncio.sleep(0.02)


async def health(service: RunningService) -> Any:
    return (await service.ask("GET", "/health")).json


async def test_who_starts_later_knows_it(auth: Auth, start_inventory: Start) -> None:
    ada, other = await auth.newcomer(), await auth.again()
    assert (await auth.ask("POST", "/api/auth/logout", token=ada.token)).status == 204

    async def published() -> bool:
        return not await auth.service.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL"
        )

    await becomes(published)
    inventory = await start_inventory()
    assert await status(inventory, ada.token) == 401
    assert await status(inventory, other.token) == 200


async def test_who_starts_with_shorter_lives_knows_what_ended_a_longer_one(
    make_service: Any, nats: NatsEngine
) -> None:
    """Tokens of the setting before, or of another service's, are good as long as they say."""
    session = new_id()
    ended, other = (token_for(session_id=which, lives_s=3600) for which in (session, new_id()))
    await revoke(nats, session)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=40), tick=True):
        service = await make_service("inventory", nats=nats, RESTOCK_TOKEN_MINUTES="1")
        assert await status(service, ended) == 401
        assert await status(service, other) == 200


async def test_while_nats_is_away_it_is_said_and_made_up_for(
    auth: Auth, start_inventory: Start, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Auth itself refuses at once; the others at the token's end, or when NATS is back."""
    monkeypatch.setattr(revocations, "HEARTBEAT_S", 0.3)
    inventory = await start_inventory()
    ada = await auth.newcomer()
    assert await status(inventory, ada.token) == 200
    await nats.stop()

    async def is_degraded() -> bool:
        found = await health(inventory)
        away = {"nats": "away", "revocations": "degraded"}
        return bool(found["status"] == "degraded" and found["checks"].items() >= away.items())

    await becomes(is_degraded)
    assert (await auth.ask("POST", "/api/auth/logout", token=ada.token)).status == 204
    assert not await auth.works(ada.token)
    assert (await auth.refresh(ada.refresh_token)).status == 401
    assert await status(inventory, ada.token) == 200, "this is what degraded means"
    await nats.start()

    async def is_over() -> bool:
        return await status(inventory, ada.token) == 401

    async def is_ready() -> bool:
        return bool((await health(inventory))["status"] == "ready")

    await becomes(is_over)
    await becomes(is_ready)
