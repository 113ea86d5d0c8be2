"""The signing key is replaced under load, and nobody is refused."""

import asyncio

import pytest

from tests.fixtures.figures import Figures
from tests.tokens.conftest import KEY_SECONDS
from tests.tokens.people import People

FIVE = pytest.param(5, marks=[pytest.mark.long, pytest.mark.timeout(300)])


@pytest.mark.parametrize("rotations", [2, FIVE])
async def test_keys_are_replaced_and_nobody_notices(
    people: People, figures: Figures, rotations: int
) -> None:
    """Reads by every port and through the gateway, refreshes, open and new sockets."""
    async with asyncio.timeout(60 + 10 * KEY_SECONDS * rotations):
        while len(people.kids) <= rotations:
            people.news.clear()
            await people.news.wait()
    assert people.refused == []
    figures.tell("keys replaced under load", f"{len(people.kids) - 1}")
    figures.tell("answers under rotating keys, no 401 among them", f"{sum(people.made.values()):,}")
