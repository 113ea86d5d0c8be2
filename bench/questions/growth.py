"""Growth: the same requests to accounts of 1 k, 100 k and 1 M items, each with ten rows of ledger
an item and as many notifications, in systems of their own.

What is compared is the median time of an answer.
"""

from dataclasses import replace

from bench.contest import Contest
from bench.figures import Line, Spread, at_most, ratios
from bench.restock import Restock
from bench.shelves import Shelves
from bench.stage import Stage, wrk_side
from bench.tenants import Tenant

OPERATIONS = {
    "read": ("read one item", {}),
    "get": ("list 50 items", {"GET_PATH": f"{Restock.items_path}?limit=50"}),
    "change": ("change quantity", {}),
    "get low": ("low-stock list", {"GET_PATH": f"{Restock.items_path}/low-stock?limit=50"}),
    "get inbox": ("inbox page", {"GET_PATH": "/api/notifications?limit=50"}),
}


async def ask(stage: Stage) -> list[Line]:
    """For each operation the largest system, and those between, against the smallest."""
    await stage.rest()
    systems: list[tuple[str, Restock, Tenant, Shelves]] = []
    for size in stage.effort.sizes:
        system = await stage.another_restock()
        tenant = await stage.tenant(system, 0)
        shelves = await stage.shelves(system, tenant, size)
        systems.append((_words(size), system, tenant, shelves))
    rounds, seconds = stage.effort.growth
    effort = replace(stage.effort, rounds=rounds, seconds=seconds)
    smallest, *others = (name for name, *_ in systems)
    lines = []
    for script, (what, settings) in OPERATIONS.items():
        sides = [
            wrk_side(system, tenant, script.split()[0], shelves.settings | settings, name=name)
            for name, system, tenant, shelves in systems
        ]
        contest = await stage.hold("growth", sides, effort)
        lines += [_line(contest, what, name, smallest) for name in others]
    await stage.rest()
    return lines


def _line(contest: Contest, what: str, name: str, smallest: str) -> Line:
    ours, first = ([load.p50 or 0.0 for load in contest.loads[side]] for side in (name, smallest))
    return Line(
        question="growth",
        what=f"{what}, {name} items",
        unit="ms, p50",
        ours=Spread.of(ours),
        cpu=contest.cpu(name),
        against=f"{smallest} items",
        other=Spread.of(first),
        other_cpu=contest.cpu(smallest),
        ratio=ratios(ours, first),
        goal=at_most(1.3),
    )


def _words(size: int) -> str:
    return f"{size // 1_000_000} M" if size >= 1_000_000 else f"{size // 1_000} k"
