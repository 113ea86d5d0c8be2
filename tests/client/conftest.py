import pytest_asyncio

from restock.client import Gateway
from tests.client.stub_gateway import serve_stub


@pytest_asyncio.fixture
async def stub():
    async with serve_stub() as running:
        yield running


@pytest_asyncio.fixture
async def gateway(stub):
    async with Gateway(stub.url, patience=10) as opened:
        await opened.auth.register(email="ada@example.org", name="Ada", password="ten letters")
        yield opened
