"""Movements a second: in batches of 100, against our own single ones."""

from bench.figures import Line, Spread, at_least, ratios
from bench.stage import Stage, wrk_side

SIZE = 100
BATCHED, SINGLE = "batches of 100", "single movements"
PATH = "/api/inventory/movements:batch"


async def ask(stage: Stage) -> list[Line]:
    """Both from as many clients, each request under a key of its own."""
    restock = await stage.restock()
    tenant = await stage.tenant(restock)
    settings = {"BATCH": str(SIZE), "BATCH_PATH": PATH}
    contest = await stage.hold(
        "batch",
        [
            wrk_side(restock, tenant, "batch", settings, name=BATCHED),
            wrk_side(restock, tenant, "move", name=SINGLE),
        ],
    )
    batched = [rate * SIZE for rate in contest.rates(BATCHED)]
    per_movement = [load.cpu_ms / SIZE for load in contest.loads[BATCHED]]
    return [
        Line(
            question="batch",
            what="movements in batches of 100",
            unit="movements/s",
            ours=Spread.of(batched),
            cpu=Spread.of(per_movement),
            against=SINGLE,
            other=Spread.of(contest.rates(SINGLE)),
            other_cpu=contest.cpu(SINGLE),
            ratio=ratios(batched, contest.rates(SINGLE)),
            goal=at_least(10.0),
        )
    ]
