"""Figures: medians with their spread, goals, and the lines of the report."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of what the rounds gave, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Raises ValueError when there are none."""
        found = sorted(values)
        if not found:
            raise ValueError("nothing was measured")
        return cls(statistics.median(found), found[0], found[-1])


def ratios(ours: Sequence[float], others: Sequence[float]) -> Spread:
    """Ours to the other side's, round by round: what disturbs a round disturbs both in it."""
    return Spread.of(a / b for a, b in zip(ours, others, strict=True))


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio, or our own figure where there is no other side, should come to."""

    bound: float
    at_least: bool
    unit: str = "×"

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"


def at_least(bound: float) -> Goal:
    return Goal(bound, at_least=True)


def at_most(bound: float, unit: str = "×") -> Goal:
    return Goal(bound, at_least=False, unit=unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the report: our figure, the other side's, and their ratio.

    `cpu` and `other_cpu` are milliseconds of processor time for one request, of each side's whole
    process tree, engines included.
    """

    question: str
    what: str
    unit: str
    ours: Spread
    against: str = ""
    other: Spread | None = None
    ratio: Spread | None = None
    goal: Goal | None = None
    cpu: Spread | None = None
    other_cpu: Spread | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """None where nothing is asked for, or its other side was not there."""
        if self.goal is None:
            return None
        judged = self.ratio if self.against else self.ours
        return None if judged is None else self.goal.reached(judged.median)
