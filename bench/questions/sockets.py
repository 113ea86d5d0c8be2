"""Idle sockets: what one takes of the memory of the process that holds it, and how many pushes that
process makes in a second of processor time, against Socket.IO 4.8 in Node.

Each round has fresh processes on both sides: what was freed is not given back at once. Ours are
connected through the gateway and hear pushes by way of NATS, each account its own; Node makes its
events itself. What Envoy takes is in the notes.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from restock.engines.ports import free_port

from bench.crowd import Crowd, Pusher, mint, notification
from bench.figures import Goal, Line, Spread, at_least, at_most, ratios
from bench.meter import Meter
from bench.nodejs import Script
from bench.processes import Parts, resident_bytes
from bench.stage import Stage

FIRST = 50  # sockets that have everything loaded before the first look
SETTLE_S = 2
KIB = 1024
OURS, NODE = "Restock", "Node socket.io"
EMIT, EMIT_COUNTED = "a notification", "a notification and the count"

Push = Callable[[int], Awaitable[None]]


@dataclass
class Figures:
    """By crowd: KiB a socket and pushes a CPU-second, a value a round."""

    kib: dict[int, list[float]] = field(default_factory=dict)
    envoy_kib: dict[int, list[float]] = field(default_factory=dict)
    pushes: dict[tuple[int, str], list[float]] = field(default_factory=dict)


async def ask(stage: Stage) -> list[Line]:
    """Memory and pushes at each size of the crowd."""
    await stage.rest()
    ours, node = Figures(), Figures()
    for _ in range(stage.effort.rounds):
        await _restock_round(stage, ours)
        await _node_round(stage, node)
    lines = []
    for crowd in stage.effort.crowds:
        lines += [
            _line(f"memory of a socket, {crowd:,} idle", "KiB", ours.kib[crowd],
                  node.kib[crowd], at_most(1.5),
                  note=f"Envoy: {Spread.of(ours.envoy_kib[crowd]).median:.1f} KiB more"),
            _line(f"pushes, {crowd:,} sockets", "a CPU-second", ours.pushes[crowd, EMIT],
                  node.pushes[crowd, EMIT], at_least(1.0)),
            _line(f"pushes with the new count, {crowd:,} sockets", "a CPU-second",
                  ours.pushes[crowd, EMIT_COUNTED], node.pushes[crowd, EMIT], None,
                  note="two packets each, Node one"),
        ]  # fmt: skip
    return lines


async def _restock_round(stage: Stage, figures: Figures) -> None:
    restock = await stage.another_restock()
    user_ids = [uuid.uuid4() for _ in range(max(stage.effort.crowds))]
    crowd = Crowd(restock.url, await mint(restock, user_ids), stage.place)
    stage.keep(crowd)
    await crowd.start()

    async def measure(size: int, before: Parts) -> None:
        pusher = Pusher(restock, user_ids[:size])
        for what, counted in ((EMIT, False), (EMIT_COUNTED, True)):
            async def push(count: int, counted: bool = counted) -> None:
                await pusher.push(count, counted=counted)

            await _pushes(stage, figures, crowd, (size, what), restock.parts, "notification", push)

    await _grow(stage, figures, crowd, OURS, restock.parts, "notification", measure)
    await crowd.stop()
    await restock.stop()
