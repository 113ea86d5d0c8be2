"""`restock up --host 0.0.0.0`: what it opens, what it says of that, and when."""

from pathlib import Path

from tests.cli.commands import Up
from tests.fixtures.own_network import inside, listening
from tests.fixtures.ports import free_offset

EVERYWHERE = "0.0.0.0"  # noqa: S104


async def test_only_the_gateway_is_opened_and_it_is_said_before(scratch: Path) -> None:
    system = Up(scratch / "open", free_offset(), by=inside(), words=("--host", EVERYWHERE))
    public = (EVERYWHERE, 3000 + system.offset)
    await system.start()
    try:
        await system.said(f"{public[0]}:{public[1]}")
        assert public not in listening(system.pid)
        await system.ready()
        said = "".join(system.err)
        assert "open to others:\n" in said
        assert "there is no TLS: passwords and tokens can be read on their way" in said
        there = listening(system.pid)
        assert public in there
        assert {place for place, _ in there - {public}} == {"127.0.0.1"}
    finally:
        if system.process is not None and system.process.returncode is None:
            system.process.terminate()
            assert await system.ended() == 0
