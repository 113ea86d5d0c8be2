"""Idle sockets: what one takes of the memory of the process that holds it, and how many pushes that
process makes in a second of processor time, against Socket.IO 4.8 in Node.

Each round has fresh processes on both sides: what was freed is not given back at once. Ours are
connected through the gateway and hear pushes by way of NATS, each account its own; Node makes its
events itself. What Envoy takes is in the notes.
"""

import asyncio
import random
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.crowd import Counted, Crowd, Holder, NodeHolder, RestockHolder, through_gateway
from bench.figures import Goal, Line, Spread, at_least, at_most, ratios
from bench.meter import Meter
from bench.processes import resident_bytes
from bench.stage import Stage
from restock.engines.ports import free_port

FIRST = 50  # sockets that have everything loaded before the first look
SETTLE_S = 2
WAVE = 500  # pushes
KIB = 1024
PAST = "the last of them past the gateway: one process may not have files enough here"


@dataclass
class Figures:
    """Of one side, by size of the crowd: a value a round."""

    kib: Mapping[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    envoy_kib: Mapping[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    pushes: Mapping[tuple[int, Counted], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )


async def ask(stage: Stage) -> list[Line]:
    """Memory and pushes at each size of the crowd."""
    await stage.rest()
    most = max(stage.effort.crowds)
    ours, node = Figures(), Figures()
    for _ in range(stage.effort.looks):
        restock = await stage.another_restock()
        user_ids = [uuid.uuid4() for _ in range(most)]
        await _round(stage, await RestockHolder.of(restock, user_ids, stage.place), ours)
        await restock.stop()
        await _round(stage, await NodeHolder.of(free_port(), most, stage.place), node)
    return [line for size in stage.effort.crowds for line in _lines(size, ours, node)]


async def _round(stage: Stage, holder: Holder, figures: Figures) -> None:
    stage.keep(holder)
    crowd: Crowd = holder.crowd
    await crowd.start()
    await crowd.open(FIRST, holder.url(FIRST))
    await asyncio.sleep(SETTLE_S)
    first = _memory(holder)
    for size in stage.effort.crowds:
        await crowd.open(size, holder.url(size))
        await asyncio.sleep(SETTLE_S)
        more = {part: kib - first[part] for part, kib in _memory(holder).items()}
        figures.kib[size].append(more[holder.part] / (size - FIRST))
        figures.envoy_kib[size].append(more.get("envoy", 0.0) / (size - FIRST))
        for counted in holder.ways:
            rate = await _pushes(stage, holder, size, counted)
            figures.pushes[size, counted].append(rate)
            about = {"side": holder.name, "crowd": size, "counted": counted}
            stage.record("sockets", about | {"kib": more, "pushes_a_cpu_second": rate})
    await holder.stop()


async def _pushes(stage: Stage, holder: Holder, size: int, counted: Counted) -> float:
    """Pushes in one second of processor time of the process that holds the sockets.

    They come in waves, each socket at most once in one: two that wait for the same socket would
    leave it together, which is cheaper, and rare where sockets are idle.
    """
    waves = max(1, stage.effort.pushes // WAVE)
    meter = Meter(holder.parts)
    for _ in range(waves):
        accounts = random.sample(range(size), min(size, WAVE))
        await holder.crowd.expect(len(accounts))
        await holder.push(accounts, counted)
        await holder.crowd.heard()
    return waves * min(size, WAVE) / meter.read().cpu[holder.part]


def _memory(holder: Holder) -> dict[str, float]:
    return {part: resident_bytes(pids) / KIB for part, pids in holder.parts().items()}


def _lines(size: int, ours: Figures, node: Figures) -> list[Line]:
    envoy = Spread.of(ours.envoy_kib[size]).median
    emitted = node.pushes[size, False]
    return [
        _line(
            f"memory of a socket, {size:,} idle",
            "KiB",
            (ours.kib[size], node.kib[size]),
            at_most(1.5),
            f"in Envoy {envoy:.1f} KiB more" if through_gateway(size) else PAST,
        ),
        _line(
            f"pushes to {size:,} sockets",
            "a CPU-second",
            (ours.pushes[size, False], emitted),
            at_least(1.0),
        ),
        _line(
            f"pushes to {size:,} sockets, each with the new count",
            "a CPU-second",
            (ours.pushes[size, True], emitted),
            note="two packets a push, Node one",
        ),
    ]


def _line(
    what: str,
    unit: str,
    figures: tuple[list[float], list[float]],
    goal: Goal | None = None,
    note: str = "",
) -> Line:
    ours, others = figures
    return Line(
        question="sockets",
        what=what,
        unit=unit,
        ours=Spread.of(ours),
        against="Node socket.io",
        other=Spread.of(others),
        ratio=ratios(ours, others),
        goal=goal,
        note=note,
    )
