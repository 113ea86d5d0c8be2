"""An inventory service with nothing in stock."""

import pytest
import pytest_asyncio

from tests.inventory.stockroom import Account, Stockroom, account


@pytest_asyncio.fixture(loop_scope="session")
async def room(make_service) -> Stockroom:
    return Stockroom(await make_service("inventory"))


@pytest.fixture
def ada() -> Account:
    return account()


@pytest.fixture
def eve() -> Account:
    """Somebody of another workspace."""
    return account()
