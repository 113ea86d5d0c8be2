"""Slow work that a test begins and ends when it likes."""

import asyncio
import threading


class Held:
    """Stands in for the hashing of a password: it lasts until `gate` is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()
        self._begun = threading.Semaphore(0)

    def __call__(self, _password: str) -> str:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        self._begun.release()
        self.gate.wait(30)
        with self._lock:
            self._running -= 1
        return "hash"

    async def begun(self) -> None:
        """Wait until one more has begun."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=30)
