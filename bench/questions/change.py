"""Change a quantity: any of 1,000 items, far from its threshold.

Ours writes the ledger, keeps the Idempotency-Key and commits once; the other side saves twice,
unguarded, and knows no keys.
"""

from bench.figures import Line, Spread, at_least
from bench.peers import OURS, against_peers
from bench.stage import Stage, wrk_side

UNKEYED = "Restock without a key"


async def ask(stage: Stage) -> list[Line]:
    """Requests a second against the other side, and ours without a key."""
    restock = await stage.restock()
    tenant = await stage.tenant(restock)
    sides = [
        wrk_side(restock, tenant, "change"),
        wrk_side(restock, tenant, "change", {"KEYED": "0"}, name=UNKEYED),
    ]
    sides += [
        wrk_side(peer, await stage.tenant(peer), "change", {"KEYED": "0"})
        for peer in await stage.peers()
    ]
    contest = await stage.hold("change", sides)
    unkeyed = Spread.of(contest.rates(UNKEYED)).median / Spread.of(contest.rates(OURS)).median
    lines = against_peers(contest, "change", "change quantity", at_least(4.0))
    return [
        *lines,
        contest.line(
            "change",
            "change quantity, without an Idempotency-Key",
            UNKEYED,
            OURS,
            note=f"what the key costs: {1 - 1 / unkeyed:.0%} of the rate",
        ),
    ]
