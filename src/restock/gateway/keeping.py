"""What is costly to make and asked for by anyone, kept for a moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Kept(Generic[Thing]):
    """A thing that is made by one at a time, and then kept for `seconds`."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._making = asyncio.Lock()
        self._kept: tuple[float, Thing] | None = None

    async def get(self, make: Callable[[], Awaitable[Thing]]) -> Thing:
        """The kept thing, or a new one. What `make` raises is raised, and nothing kept."""
        async with self._making:
            now = self._clock()
            if self._kept is None or now - self._kept[0] >= self._seconds:
                thing = await make()
                self._kept = (self._clock(), thing)
            return self._kept[1]
