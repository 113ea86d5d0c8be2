"""Sides in turn: each round every side once, so that whatever drifts drifts for all of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.effort import Effort
from bench.figures import Goal, Line, Spread, ratios
from bench.meter import Load

Drive = Callable[[int], Awaitable[Load]]  # takes seconds


@dataclass(frozen=True, slots=True)
class Side:
    """A name, and how it is driven."""

    name: str
    drive: Drive


@dataclass(frozen=True, slots=True)
class Contest:
    """The runs of each side, in the order of the rounds."""

    loads: dict[str, list[Load]]

    def rates(self, side: str) -> list[float]:
        return [load.rate for load in self.loads[side]]

    def cpu(self, side: str) -> Spread:
        return Spread.of(load.cpu_ms for load in self.loads[side])

    def cpu_of(self, side: str, *parts: str) -> list[float]:
        return [load.cpu_ms_of(*parts) for load in self.loads[side]]

    def line(
        self,
        question: str,
        what: str,
        ours: str,
        against: str,
        *,
        goal: Goal | None = None,
        unit: str = "requests/s",
        note: str = "",
    ) -> Line:
        """Requests a second of two sides."""
        there = against in self.loads
        return Line(
            question=question,
            what=what,
            unit=unit,
            ours=Spread.of(self.rates(ours)),
            cpu=self.cpu(ours),
            against=against,
            other=Spread.of(self.rates(against)) if there else None,
            other_cpu=self.cpu(against) if there else None,
            ratio=ratios(self.rates(ours), self.rates(against)) if there else None,
            goal=goal,
            note=note,
        )


async def hold(sides: Sequence[Side], effort: Effort) -> Contest:
    """Warm each side up, then run them in turn; every other round the other way around."""
    loads: dict[str, list[Load]] = {side.name: [] for side in sides}
    for side in sides:
        await side.drive(effort.warm_up)
    for number in range(effort.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            loads[side.name].append(await side.drive(effort.seconds))
    return Contest(loads)
