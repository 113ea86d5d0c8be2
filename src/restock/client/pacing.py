"""How fast: no faster than the gateway lets this account, and not much slower.

The gateway fills a bucket of tokens at a steady rate and refuses (429) when it is empty. Between
two refusals the bucket gained as many tokens as were spent, so what was accepted between them,
divided by the time, *is* the allowed rate. The pace is set to that and then grows slowly, to
notice when more is allowed; a refusal costs nothing but the refused request, since tokens gather
while everybody waits.
"""

import asyncio
from collections.abc import Callable

GROWTH = 0.005  # of the pace, a second; as much more each 10 s that nothing is refused
FLOOR = 1.0  # requests a second: slower than this nobody is asked to go
SHORTEST_LOOK = 0.5  # seconds between refusals that tell a rate; less is chance
CATCHING_UP = 0.5  # seconds of turns that may be taken at once when they weren't taken in time
STEEPEST_CUT = 0.5  # a pause of the whole system must not pass for a low limit


class Pacer:
    """Gives turns. Unlimited until the first refusals tell what is allowed."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._rate: float | None = None  # requests a second
        self._rate_since = 0.0
        self._next_turn = 0.0
        self._closed_until = 0.0
        self._accepted = 0
        self._refused_at: float | None = None

    @property
    def rate(self) -> float | None:
        """The pace in requests a second, None while nothing has limited it."""
        return self._rate

    async def turn(self) -> None:
        """Wait until the next request may be sent."""
        wait = self.reserve()
        while wait > 0:
            await asyncio.sleep(wait)
            wait = self.reserve()

    def reserve(self) -> float:
        """Take a turn (0.0), or say how many seconds from now to ask again."""
        now = self._clock()
        if now < self._closed_until:
            return self._closed_until - now
        if self._rate is None:
            return 0.0
        self._grow(now)
        if now < self._next_turn:
            return self._next_turn - now
        self._next_turn = max(self._next_turn, now - CATCHING_UP) + 1.0 / self._rate
        return 0.0

    def accepted(self) -> None:
        """A request got past the limit, whatever its answer."""
        self._accepted += 1

    def refused(self, retry_after: float) -> None:
        """A request met the limit: nobody goes for `retry_after` seconds."""
        now = self._clock()
        if now < self._closed_until:
            return  # one of several in flight at the same refusal
        if self._refused_at is not None and now - self._refused_at >= SHORTEST_LOOK:
            allowed = self._accepted / (now - self._refused_at)
            if self._rate is not None:
                allowed = max(allowed, self._rate * STEEPEST_CUT)
            self._rate = max(allowed, FLOOR)
            self._rate_since = now
        self._accepted = 0
        self._refused_at = now
        self._closed_until = now + retry_after
        self._next_turn = self._closed_until - CATCHING_UP

    def _grow(self, now: float) -> None:
        """Each whole second since the last look raises the pace."""
        steps = int(now - self._rate_since)
        if steps > 0 and self._rate is not None and self._refused_at is not None:
            quiet = (now - self._refused_at) / 10
            self._rate *= (1 + GROWTH * (1 + quiet)) ** min(steps, 10)
            self._rate_since += steps
