"""What a stretch of work cost: processor time by part, and what else the machine did meanwhile."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.processes import Parts, machine_seconds, processor_seconds, tree

Look = Callable[[], Parts]


@dataclass(frozen=True, slots=True)
class Cost:
    """`cpu` is seconds by part. `elsewhere` is the share (0 to 1) of the machine that neither the
    systems under measurement nor the load took: the noise of a run."""

    seconds: float
    cpu: dict[str, float]
    elsewhere: float
    load_average: float

    @property
    def total(self) -> float:
        return sum(self.cpu.values())


class Meter:
    """Started when it is made. What began or ended since counts for its part."""

    def __init__(self, parts: Look) -> None:
        self._parts = parts
        self._cpu = self._by_part()
        self._ours, self._machine = self._everything()
        self._began = time.monotonic()

    def read(self) -> Cost:
        """The cost since the start."""
        seconds = time.monotonic() - self._began
        now = self._by_part()
        ours, machine = self._everything()
        others = max(0.0, (machine - self._machine) - (ours - self._ours))
        return Cost(
            seconds,
            {name: round(now[name] - before, 3) for name, before in self._cpu.items()},
            others / seconds / (os.cpu_count() or 1),
            os.getloadavg()[0],
        )

    def _by_part(self) -> dict[str, float]:
        return {name: processor_seconds(pids) for name, pids in self._parts().items()}

    def _everything(self) -> tuple[float, float]:
        """All that is ours, this process and its load generators included; and the machine."""
        return processor_seconds(tree(os.getpid())), machine_seconds()


@dataclass(frozen=True, slots=True)
class Load:
    """One run under load. `p50` and `p99` are milliseconds; None where they are not known."""

    side: str
    requests: int
    rate: float
    cost: Cost
    p50: float | None = None
    p99: float | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of processor time for one request, of all parts."""
        return 1e3 * self.cost.total / self.requests

    def cpu_ms_of(self, *parts: str) -> float:
        return 1e3 * sum(self.cost.cpu.get(part, 0.0) for part in parts) / self.requests
