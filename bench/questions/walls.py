"""What the second wall between tenants costs: row-level security, against the same tables without.

It is paid in PostgreSQL, by a few microseconds of a request; whole requests differ by more from run
to run. So the figure is what PostgreSQL's processor time is more, as a share of the whole request.
Where the next request on a connection is another account's, PostgreSQL is told so: reads of many
accounts are set against reads of one where there is no wall and nothing to tell. Changes aren't
asked: what their log, its checkpoints and a commit's company take varies by ten times as much
(decision 0020 has their statement's figure).
"""

import asyncio
from collections.abc import Sequence

import asyncpg

from bench import wrk
from bench.contest import Contest, Side
from bench.figures import Line, Spread, at_most
from bench.meter import Load
from bench.restock import Restock
from bench.stage import Stage, wrk_side
from bench.tenants import Tenant, open_account
from restock.engines.names import SERVICES

ACCOUNTS = 64
AT_ONCE = 4
WALLED, OPEN, MANY = "Restock", "without the wall", f"Restock, {ACCOUNTS} accounts in turn"
_WALLS = "SELECT oid::regclass::text FROM pg_class WHERE relrowsecurity"


async def ask(stage: Stage) -> list[Line]:
    """The wall's share of reads by one account, and by one after the other."""
    walled, bare = await stage.restock(), await stage.another_restock()
    await _take_down(bare)
    own, their = await stage.tenant(walled), await stage.tenant(bare)
    crowd = await _crowd(stage, walled)
    contest = await stage.hold(
        "walls",
        [
            wrk_side(walled, own, "read", name=WALLED),
            wrk_side(bare, their, "read", name=OPEN),
            _many(stage, walled, crowd),
        ],
    )
    await bare.stop()
    return [
        _share("a read", contest, WALLED),
        _share(f"a read, {ACCOUNTS} accounts in turn", contest, MANY),
    ]


def _share(what: str, contest: Contest, side: str) -> Line:
    ours, bare = contest.cpu_of(side, "postgres"), contest.cpu_of(OPEN, "postgres")
    whole = contest.cpu(OPEN).median
    dearer = [1e3 * (a - b) for a, b in zip(ours, bare, strict=True)]
    return Line(
        question="walls",
        what=f"the wall's share of {what}",
        unit="% of CPU",
        ours=Spread.of(more / whole / 10 for more in dearer),
        goal=at_most(5, "%"),
        cpu=contest.cpu(side),
        other_cpu=contest.cpu(OPEN),
        note=f"{Spread.of(dearer).median:.1f} µs of PostgreSQL's, of {1e3 * whole:.0f}",
    )


async def _take_down(system: Restock) -> None:
    for service in SERVICES:
        connection = await asyncpg.connect(system.admin_url(service))
        try:
            for (table,) in await connection.fetch(_WALLS):
                await connection.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        finally:
            await connection.close()


async def _crowd(stage: Stage, system: Restock) -> list[Tenant]:
    """Accounts of one item each."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> Tenant:
        async with places:
            return await open_account(system, 1, stage.place)

    return await asyncio.gather(*(one() for _ in range(ACCOUNTS)))


def _many(stage: Stage, system: Restock, crowd: Sequence[Tenant]) -> Side:
    file = stage.file("accounts")

    async def drive(seconds: int) -> Load:
        lines = [f"{await tenant.token()} {tenant.items[0]}\n" for tenant in crowd]
        file.write_text("".join(lines))
        settings = {"ACCOUNTS": str(file), "ITEM_BASE": system.items_path}
        return await wrk.drive(
            MANY, system.url, "accounts", settings, parts=system.parts, seconds=seconds
        )

    return Side(MANY, drive)
