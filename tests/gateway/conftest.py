"""An Envoy shared by the tests that only ask it things; the others start their own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.stubs import Front, front

ORIGIN = "https://app.example"


@pytest_asyncio.fixture(scope="session")
async def shared_front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    directory = tmp_path_factory.mktemp("envoy")
    async with front(directory, workers=3, origins=(ORIGIN,), headers_timeout=1) as it:
        yield it


@pytest.fixture
def edge(shared_front: Front) -> Any:
    """The shared Envoy, its stubs fresh."""
    for stub in (*shared_front.services.values(), *shared_front.workers):
        stub.seen.clear()
        stub.behave = None
    return shared_front
