"""Change a quantity, against pgbench running the very same statement in the same database.

The statement is taken from the store when it is run; pgbench has as many connections as ours has
clients, on the Unix socket and under the role of the service.
"""

import uuid

from bench import pgbench
from bench.contest import Side
from bench.effort import ITEMS
from bench.figures import Line, at_least
from bench.meter import Load
from bench.shelves import LOW_EACH, PATTERN
from bench.stage import Stage, wrk_side
from restock.inventory.store import changes

OURS, LIMIT = "Restock", "pgbench"
BEFORE = f"""\
\\set number 1 + random(0, {ITEMS // LOW_EACH - 1}) * {LOW_EACH} + random(0, {LOW_EACH - 2})
\\set quantity random(1000, 9999)
\\set key random(1, 9000000000000000000)
"""


def item_of(number: str) -> str:
    """SQL for the id of a numbered item."""
    return f"'{PATTERN.partition('%')[0]}' || lpad({number}::text, 12, '0')"


async def ask(stage: Stage) -> list[Line]:
    """Changes a second against the same statement's."""
    restock = await stage.restock()
    tenant = await stage.tenant(restock, 0)
    shelves = await stage.shelves(restock, tenant)
    url = restock.environment("inventory")["RESTOCK_INVENTORY_DATABASE_URL"]
    sql = changes.COUNT.one
    values = [
        ":workspace", item_of(":number"), ":quantity", None, ":account", ":reason", None, None,
        None, ":key", ":hash", ":trace",
    ]  # fmt: skip
    file = stage.file("change.pgbench")
    file.write_text(pgbench.script(sql, await pgbench.parameter_types(url, sql), values, BEFORE))
    variables = {
        "workspace": tenant.workspace_id,
        "account": tenant.user_id,
        "reason": "benchmark",
        "trace": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01",
        "hash": f"\\x{uuid.uuid4().hex * 2}",
    }

    async def limit(seconds: int) -> Load:
        return await pgbench.drive(
            LIMIT, url, file, variables, parts=restock.parts, seconds=seconds
        )

    sides = [wrk_side(restock, tenant, "change", shelves.settings), Side(LIMIT, limit)]
    contest = await stage.hold("change-limit", sides)
    return [contest.line("change-limit", "change quantity", OURS, LIMIT, goal=at_least(0.7))]
