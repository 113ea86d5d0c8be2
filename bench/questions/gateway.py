"""What the gateway costs: through it with all its filters on, against bare Envoy on the same
routes, and against the service itself.

The limits are raised to a height that nobody reaches instead of switched off, so that their
filters run too. For the processor time both Envoys are asked at the same time: it varies twofold
with the machine from second to second, so that runs one after the other compare two machines.
"""

import asyncio

from bench.bare_envoy import BareEnvoy
from bench.contest import Contest, Side
from bench.figures import Line, Spread, at_most, ratios
from bench.meter import Load
from bench.restock import RAISED_LIMITS
from bench.stage import Stage, wrk_side

THROUGH, DIRECT, BARE = "through the gateway", "direct to the service", "bare Envoy"
ENVOY_THREADS = 2
ROUNDS = 7


async def ask(stage: Stage) -> list[Line]:
    """Processor time of Envoy for one read, and reads a second."""
    restock = await stage.another_restock(RAISED_LIMITS)
    tenant = await stage.tenant(restock)
    port = int(restock.url_of("inventory").rpartition(":")[2])
    bare = BareEnvoy(stage.place, port, threads=ENVOY_THREADS)
    stage.keep(bare)
    await bare.start()

    class Beside:
        """Restock with the bare Envoy in front of the service."""

        name, items_path, url = BARE, restock.items_path, bare.url

        def parts(self) -> dict[str, list[int]]:
            return {**restock.parts(), "bare": bare.parts()["envoy"]}

    through = wrk_side(restock, tenant, "read", name=THROUGH)
    direct = wrk_side(restock, tenant, "read", name=DIRECT, url=restock.url_of("inventory"))
    beside = wrk_side(Beside(), tenant, "read", name=BARE)
    contest = await stage.hold("gateway", [through, direct, beside])
    together = await _together(stage, [through, beside])
    await bare.stop()
    await restock.stop()
    return [_cost(together), _rate(contest, DIRECT), _rate(contest, BARE)]


async def _together(stage: Stage, sides: list[Side]) -> Contest:
    """Rounds of all sides at once, warm already."""
    loads: dict[str, list[Load]] = {side.name: [] for side in sides}
    for _ in range(max(ROUNDS, stage.effort.rounds)):
        for load in await asyncio.gather(*(side.drive(stage.effort.seconds) for side in sides)):
            loads[load.side].append(load)
            stage.record("gateway-together", load)
    return Contest(loads)


def _cost(contest: Contest) -> Line:
    ours = [1e3 * ms for ms in contest.cpu_of(THROUGH, "envoy")]
    bare = [1e3 * ms for ms in contest.cpu_of(BARE, "bare")]
    return Line(
        question="gateway",
        what="cost of the gateway, CPU of Envoy",
        unit="µs/request",
        ours=Spread.of(ours),
        against=BARE,
        other=Spread.of(bare),
        ratio=ratios(ours, bare),
        goal=at_most(1.3),
    )


def _rate(contest: Contest, against: str) -> Line:
    return contest.line("gateway", f"{THROUGH}, read one item", THROUGH, against)
