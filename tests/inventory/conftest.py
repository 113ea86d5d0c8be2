"""One inventory service for all of these tests: each works in workspaces of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from restock.system import load
from tests.fixtures.running import running_service
from tests.inventory.stockroom import Account, Stockroom, account
from tests.inventory.together import Gate


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def room(postgres) -> AsyncIterator[Stockroom]:
    async with running_service(load("inventory"), postgres) as service:
        yield Stockroom(service)


@pytest.fixture
def ada() -> Account:
    return account()


@pytest.fixture
def eve() -> Account:
    """Somebody of another workspace."""
    return account()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)
