"""Read one item, against pgbench running the very same SELECT in the same database: prepared, as
our driver has it, and, to compare, parsed and planned each time.
"""

from bench import pgbench
from bench.contest import Side
from bench.effort import ITEMS
from bench.figures import Line, at_least
from bench.meter import Load
from bench.questions.change_limit import LIMIT, OURS, item_of
from bench.stage import Stage, wrk_side
from restock.inventory.store import items

BEFORE = f"\\set number random(1, {ITEMS})\n"
UNPREPARED = "pgbench, unprepared"


async def ask(stage: Stage) -> list[Line]:
    """Reads a second against the same statement's."""
    restock = await stage.restock()
    tenant = await stage.tenant(restock, 0)
    shelves = await stage.shelves(restock, tenant)
    url = restock.environment("inventory")["RESTOCK_INVENTORY_DATABASE_URL"]
    types = await pgbench.parameter_types(url, items._GET)
    file = stage.file("read.pgbench")
    file.write_text(pgbench.script(items._GET, types, [":workspace", item_of(":number")], BEFORE))
    variables = {"workspace": tenant.workspace_id}

    def limit(name: str, mode: str) -> Side:
        async def drive(seconds: int) -> Load:
            return await pgbench.drive(
                name, url, file, variables, parts=restock.parts, seconds=seconds, mode=mode
            )

        return Side(name, drive)

    sides = [
        wrk_side(restock, tenant, "read", shelves.settings),
        limit(LIMIT, "prepared"),
        limit(UNPREPARED, "extended"),
    ]
    contest = await stage.hold("read-limit", sides)
    return [
        contest.line("read-limit", "read one item", OURS, LIMIT, goal=at_least(0.25)),
        contest.line("read-limit", "read one item", OURS, UNPREPARED),
    ]
