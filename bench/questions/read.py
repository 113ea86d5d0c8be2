"""Read one item: any of 1,000, through the gateway."""

from bench.figures import Line, at_least
from bench.peers import against_peers
from bench.stage import Stage, wrk_side


async def ask(stage: Stage) -> list[Line]:
    """Requests a second against the other side."""
    systems = await stage.systems()
    sides = [wrk_side(system, await stage.tenant(system), "read") for system in systems]
    contest = await stage.hold("read", sides)
    return against_peers(contest, "read", "read one item", at_least(3.0))
