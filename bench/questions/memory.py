"""Resident memory of everything, after load: five services and three engines, against the other
side's five processes and its PostgreSQL.

A page that several processes share counts once; where each of them counts it, as `ps` does, the
figure is in the note.
"""

import asyncio

from bench.effort import LISTED
from bench.figures import Line, Spread, at_most, ratios
from bench.peers import OURS, PLAIN, TUNED
from bench.processes import proportional_bytes, resident_bytes
from bench.stage import Stage, wrk_side

MIB = 1024 * 1024
SETTLE_S = 2


async def ask(stage: Stage) -> list[Line]:
    """Each round: the same load on each side, then a look at its memory."""
    shared: dict[str, list[float]] = {}
    plain: dict[str, list[float]] = {}
    for _ in range(stage.effort.looks):
        for system in await stage.systems():
            keyed = "1" if system.name == OURS else "0"
            tenant, lister = await stage.tenant(system), await stage.tenant(system, LISTED)
            for side in (
                wrk_side(system, tenant, "read"),
                wrk_side(system, tenant, "change", {"KEYED": keyed}),
                wrk_side(system, lister, "get", {"GET_PATH": system.items_path}),
            ):
                await side.drive(stage.effort.warm_up)
            await asyncio.sleep(SETTLE_S)
            parts = {
                name: (proportional_bytes(pids) / MIB, resident_bytes(pids) / MIB)
                for name, pids in system.parts().items()
            }
            stage.record("memory", {"side": system.name, "mib": parts})
            shared.setdefault(system.name, []).append(sum(pss for pss, _ in parts.values()))
            plain.setdefault(system.name, []).append(sum(rss for _, rss in parts.values()))
    return [
        _line(shared, plain, against)
        for against in (TUNED, PLAIN)
        if against == TUNED or against in shared
    ]


def _line(shared: dict[str, list[float]], plain: dict[str, list[float]], against: str) -> Line:
    there = against in shared
    note = f"as `ps` counts: {Spread.of(plain[OURS]).median:.0f} MiB"
    if there:
        rss = ratios(plain[OURS], plain[against]).median
        note += f" against {Spread.of(plain[against]).median:.0f}, {rss:.2f} ×"
    return Line(
        question="memory",
        what="memory of everything, after load",
        unit="MiB",
        ours=Spread.of(shared[OURS]),
        against=against,
        other=Spread.of(shared[against]) if there else None,
        ratio=ratios(shared[OURS], shared[against]) if there else None,
        goal=at_most(0.8) if against == TUNED else None,
        note=note,
    )
