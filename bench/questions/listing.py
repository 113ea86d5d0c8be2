"""List 50 items: an account that has 50, the whole of them in one answer on both sides."""

from bench.effort import LISTED
from bench.figures import Line, at_least
from bench.peers import against_peers
from bench.stage import Stage, wrk_side


async def ask(stage: Stage) -> list[Line]:
    """Requests a second against the other side."""
    sides = []
    for system in await stage.systems():
        tenant = await stage.tenant(system, LISTED)
        # the default page of ours is 50
        sides.append(wrk_side(system, tenant, "get", {"GET_PATH": system.items_path}))
    contest = await stage.hold("list", sides)
    return against_peers(contest, "list", f"list {LISTED} items", at_least(3.0))
