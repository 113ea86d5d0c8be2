"""Ports that may be used, and a clear refusal of those that can't."""

import pytest

from restock.engines.failures import PortTaken
from restock.engines.ports import free_port, listen, require_free, usable


@pytest.mark.parametrize("port", [1, 3000, 32767, 61000, 65535])
def test_usable(port: int) -> None:
    assert usable(port)


@pytest.mark.parametrize("port", [0, -1, 32768, 45000, 60999, 65536])
def test_not_usable(port: int) -> None:
    assert not usable(port)


def test_a_taken_port_is_refused_by_number() -> None:
    port = free_port()
    assert usable(port)
    with listen("127.0.0.1", port), pytest.raises(PortTaken, match=str(port)):
        require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", free_port())
