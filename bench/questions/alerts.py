"""From a change sent until its alert is on the socket, at rest and among 150 changes a second.

Ours has by then kept the alert, so that nobody can miss it; the other side fires and forgets.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.effort import CHANGES_A_SECOND
from bench.failures import BenchFailed
from bench.figures import Line, Spread, at_most, ratios
from bench.nodejs import Script
from bench.peers import OURS, PLAIN, TUNED
from bench.stage import Stage
from bench.tenants import System, Tenant

WARM_UP = 10
SERIES_S = 600.0
ALERTED = 200  # items that fall low in turn; the others bear the load
IDLE, BUSY = "at rest", f"at {CHANGES_A_SECOND} changes/s"

Heard = dict[str, float]


async def ask(stage: Stage) -> list[Line]:
    """The median and the 99th percentile of a series, against the other side's."""
    series: dict[tuple[str, str], list[Heard]] = {}
    for _ in range(stage.effort.rounds):
        for state in (IDLE, BUSY):
            for system in await stage.systems():
                heard = await _series(stage, system, state)
                stage.record("alerts", {"side": system.name, "state": state, **heard})
                series.setdefault((state, system.name), []).append(heard)
    return [
        _line(series, state, figure, against)
        for state in (IDLE, BUSY)
        for against in (TUNED, PLAIN)
        if against == TUNED or (state, against) in series
        for figure in ("p50", "p99")
    ]


async def _series(stage: Stage, system: System, state: str) -> Heard:
    tenant = await stage.tenant(system)
    options = await _options(system, tenant)
    alerted = {
        "account": tenant.user_id,
        "items": tenant.items[:ALERTED],
        "samples": stage.effort.samples,
        "warmUp": WARM_UP,
    }
    async with _background(stage, tenant, options, state):
        script = Script("alerts.mjs", stage.place / "alerts.log", options | alerted)
        stage.keep(script)
        await script.start()
        heard: Heard = await script.answer("p50", SERIES_S)
        await script.stop()
    if heard["lost"]:
        raise BenchFailed(f"{system.name} lost {heard['lost']} alerts")
    return heard


@asynccontextmanager
async def _background(
    stage: Stage, tenant: Tenant, options: dict[str, Any], state: str
) -> AsyncIterator[None]:
    if state == IDLE:
        yield
        return
    options = options | {"items": tenant.items[ALERTED:], "rate": CHANGES_A_SECOND}
    changes = Script("changes.mjs", stage.place / "changes.log", options)
    stage.keep(changes)
    await changes.start()
    await changes.answer("begun", 10)
    yield
    said = json.loads(await changes.rest(10))
    if said["failed"]:
        raise BenchFailed(f"{said['failed']} of {said['sent']} changes failed")


async def _options(system: System, tenant: Tenant) -> dict[str, Any]:
    return {
        "url": system.url,
        "base": system.items_path,
        "token": await tenant.token(),
        "keyed": system.name == OURS,
    }


def _line(
    series: dict[tuple[str, str], list[Heard]], state: str, figure: str, against: str
) -> Line:
    ours = [heard[figure] for heard in series[state, OURS]]
    others = [heard[figure] for heard in series.get((state, against), [])]
    bound = 0.7 if figure == "p50" else 1.0
    return Line(
        question="alerts",
        what=f"change sent → alert heard, {state}",
        unit=f"ms, {figure}",
        ours=Spread.of(ours),
        against=against,
        other=Spread.of(others) if others else None,
        ratio=ratios(ours, others) if others else None,
        goal=at_most(bound) if against == TUNED else None,
    )
