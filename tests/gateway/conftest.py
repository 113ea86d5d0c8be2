"""An Envoy shared by the tests that only ask it things; the others start their own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.processes import GatewayProcess, gateway_process
from tests.gateway.stubs import Front, front

ORIGIN = "https://app.example"


@pytest_asyncio.fixture(scope="session")
async def shared_front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    directory = tmp_path_factory.mktemp("envoy")
    async with front(directory, workers=3, origins=(ORIGIN,)) as it:
        yield it


@pytest.fixture
def edge(shared_front: Front) -> Any:
    """The shared Envoy, its stubs fresh."""
    for stub in (*shared_front.services.values(), *shared_front.workers):
        stub.seen.clear()
        stub.behave = None
    return shared_front


@pytest_asyncio.fixture(scope="session")
async def shared_process(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[GatewayProcess]:
    async with gateway_process(tmp_path_factory.mktemp("process")) as it:
        yield it


@pytest_asyncio.fixture
async def process(shared_process: GatewayProcess) -> GatewayProcess:
    """A running gateway process whose services are all ready again."""
    shared_process.documents.clear()
    for name, stub in shared_process.stubs.items():
        shared_process.health[name] = {"status": "ready", "checks": {}}
        if not stub.running:
            await stub.start()
    return shared_process
