"""The notification service, and somebody to notify."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from restock.engines.ports import free_port
from restock.notification.settings import SOCKET_PORT
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


@pytest_asyncio.fixture(loop_scope="session")
async def publisher(nats) -> AsyncIterator[Publisher]:
    publisher = Publisher(nats)
    yield publisher
    await publisher.close()


@pytest_asyncio.fixture(loop_scope="session")
async def live(make_service, nats, port_offset):
    """The service with everything that runs in it."""
    return await make_service("notification", nats=nats, RESTOCK_PORT_OFFSET=port_offset)


@pytest_asyncio.fixture(loop_scope="session")
async def node() -> AsyncIterator[Browser]:
    async with browser() as started:
        yield started
