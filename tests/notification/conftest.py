"""The notification service, and somebody to notify."""

import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from restock.engines.datadir import DataDir
from restock.engines.nats import NatsEngine
from restock.engines.streams import bring_streams
from restock.notification.settings import SOCKET_PORT
from restock.system import load
from tests.fixtures.ports import free_port
from tests.fixtures.running import RunningService, running_service
from tests.journeys.node_client import Browser, browser
from tests.notification.happenings import Account, Publisher, account


@pytest.fixture
def port_offset() -> str:
    """One that puts the worker's own port where nobody listens."""
    return str(free_port() - SOCKET_PORT)


@pytest.fixture
def ada(token_for: Callable[..., str]) -> Account:
    return account(token_for)


@pytest.fixture
def bob(token_for: Callable[..., str]) -> Account:
    return account(token_for)


@pytest_asyncio.fixture(loop_scope="session")
async def inbox(make_service):
    """The service without NATS: its database and its HTTP."""
    return await make_service("notification")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lasting_nats(scratch) -> AsyncIterator[NatsEngine]:
    """NATS for all tests with `live`; a second service would take its events away."""
    directory = DataDir.claim(Path(tempfile.mkdtemp(prefix="nats-", dir=scratch)))
    engine = NatsEngine(directory, port=free_port())
    await engine.start()
    await bring_streams(engine.operator_env(), within_s=30)
    yield engine
    await engine.stop()
    directory.release()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def live(postgres, lasting_nats) -> AsyncIterator[RunningService]:
    """The service with everything that runs in it."""
    offset = str(free_port() - SOCKET_PORT)
    async with running_service(
        load("notification"), postgres, nats=lasting_nats, RESTOCK_PORT_OFFSET=offset
    ) as service:
        yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def publisher(lasting_nats) -> AsyncIterator[Publisher]:
    async with Publisher.of(lasting_nats) as publisher:
        yield publisher


@pytest_asyncio.fixture(loop_scope="session")
async def node() -> AsyncIterator[Browser]:
    async with browser() as started:
        yield started
