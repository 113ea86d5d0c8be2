"""Slow work that a test begins and ends when it likes."""

import asyncio


class Held:
    """Stands in for the hashing of a password: it lasts until `gate` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.most = 0
        self._running = 0
        self._begun = asyncio.Semaphore(0)

    async def __call__(self, _password: str) -> str:
        self._running += 1
        self.most = max(self.most, self._running)
        self._begun.release()
        async with asyncio.timeout(30):
            await self.gate.wait()
        self._running -= 1
        return "hash"

    async def begun(self) -> None:
        """Wait until one more has begun."""
        async with asyncio.timeout(30):
            await self._begun.acquire()
