"""One whole system for all of these, whose signing key is replaced every few seconds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from restock.client import Gateway
from restock.engines.local import environment_of
from tests.fixtures.ports import free_offset
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running
from tests.tokens.forgeries import Genuine
from tests.tokens.people import PASSWORD, People

WORKERS = 2
PEOPLE = 3
KEY_SECONDS = 3
SETTINGS = NO_LIMITS | {
    **{
        f"RESTOCK_{service}_WORKERS": str(WORKERS)
        for service in ("AUTH", "INVENTORY", "NOTIFICATION", "VENDOR")
    },
    "RESTOCK_AUTH_KEYS_DAYS": str(KEY_SECONDS / 86_400),
    # three times what the gateway takes to read it
    "RESTOCK_AUTH_KEYS_AHEAD_SECONDS": str(KEY_SECONDS),
    "RESTOCK_AUTH_KEYS_RELOAD_SECONDS": "0",
    "RESTOCK_GATEWAY_KEYS_SECONDS": "1",
    # some use their first token for as long as all of this takes
    "RESTOCK_TOKEN_MINUTES": "60",
}


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def system(scratch: Path) -> AsyncIterator[WholeSystem]:
    started = WholeSystem(scratch / "tokens", free_offset(), SETTINGS)
    async with running(started):
        yield started


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def http(system: WholeSystem) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def genuine(system: WholeSystem) -> Genuine:
    """Somebody's good token, and the private key that signed it, out of auth's database."""
    auth = await asyncpg.connect(environment_of(system.root, "auth")["RESTOCK_AUTH_DATABASE_URL"])
    async with Gateway(system.url) as gateway:
        email = f"{uuid4().hex}@example.org"
        await gateway.auth.register(email=email, name="Ada", password=PASSWORD)
        while True:  # its key may be retired between the two
            signed = await gateway.auth.refresh()
            made = Genuine(signed.token, ec.generate_private_key(ec.SECP256R1()))
            pem = await auth.fetchval(
                "SELECT private_pem FROM signing_keys WHERE kid = $1", made.kid
            )
            if pem is not None:
                break
    await auth.close()
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Genuine(signed.token, key)


@pytest_asyncio.fixture(scope="package", loop_scope="session", autouse=True)
async def people(system: WholeSystem, http: aiohttp.ClientSession) -> AsyncIterator[People]:
    """People who use the system all the while; if one of them fails, so does what asks for it."""
    made = People(system, http, WORKERS)
    running = [asyncio.create_task(made.run()) for _ in range(PEOPLE)]
    yield made
    for person in running:
        person.cancel()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(how, asyncio.CancelledError) for how in ended), ended
