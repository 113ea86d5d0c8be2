"""The signing key is replaced under load, and nobody is refused."""

import asyncio

import pytest

from tests.fixtures.figures import Figures
from tests.tokens.conftest import KEY_SECONDS
from tests.tokens.traffic import Traffic

FIVE = pytest.param(5, marks=[pytest.mark.long, pytest.mark.timeout(300)])


@pytest.mark.parametrize("rotations", [2, FIVE])
async def test_keys_are_replaced_and_nobody_notices(
    traffic: Traffic, figures: Figures, rotations: int
) -> None:
    """Reads by every port and through the gateway, refreshes, open and new sockets."""
    async with asyncio.timeout(60 + 10 * KEY_SECONDS * rotations):
        while len(traffic.kids) <= rotations:
            traffic.news.clear()
            await traffic.news.wait()
    assert traffic.refused == []
    figures.tell("keys replaced under load", f"{len(traffic.kids) - 1}")
    figures.tell(
        "answers under rotating keys, no 401 among them", f"{sum(traffic.made.values()):,}"
    )
