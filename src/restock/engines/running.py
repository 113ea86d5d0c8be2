"""An engine's process, kept running by a supervisor of its own."""

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from restock.engines.datadir import log_end
from restock.engines.failures import EngineError
from restock.kernel.supervisor import Child, Records, Supervisor

POLL_S = 0.01
LOOK_EVERY_S = 1.0


class Engine(ABC):
    """Start, ready, stop; started again when it crashes."""

    name: str

    def __init__(self, log_path: Path | None, records: Records | None, log: Any = None) -> None:
        self.log_path = log_path
        self._records = records
        self._log = log
        self._stop = asyncio.Event()
        self._supervisor: Supervisor | None = None
        self._running: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._supervisor.pid(self.name) if self._supervisor is not None else None

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """Ends when the engine was stopped, or can't be kept running."""
        return self._running

    @abstractmethod
    async def ready(self) -> bool:
        """Whether it answers now."""

    async def look(self) -> None:
        """Asked every second while it runs: end what will never be well again by itself."""
        return

    async def launch(self, child: Child) -> None:
        """Start the process and wait until it is ready.

        Raises EngineError when it ends before that, or has none; then nothing is left running.
        """
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def exited(code: int) -> None:
            if not ended.done():
                ended.set_result(f"exit code {code}")

        def failed(error: OSError) -> None:
            if not ended.done():
                ended.set_result(str(error) or repr(error))

        self._stop = asyncio.Event()
        self._supervisor = Supervisor(
            [replace(child, on_exited=exited, on_failed=failed)], self._log, records=self._records
        )
        self._running = asyncio.create_task(self._supervisor.run(self._stop), name=self.name)
        try:
            while not await self.ready():
                await asyncio.wait(
                    [ended, self._running],  # type: ignore[type-var]
                    timeout=POLL_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if ended.done() or self._running.done():
                    how = ended.result() if ended.done() else "given up"
                    raise EngineError(f"{self.name} didn't start ({how}){self._told_in_log()}")
        except BaseException:
            await self.stop()
            raise
        self._looking = asyncio.create_task(self._look_on(), name=f"{self.name}, looked at")

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def stop(self) -> None:
        """End it. Does nothing when it isn't running."""
        if self._looking is not None:
            self._looking.cancel()
        self._stop.set()
        running, self._running = self._running, None
        if running is not None:
            await running

    def _send(self, sign: signal.Signals) -> None:
        """Signal the process, if there is one."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sign)

    def _told_in_log(self) -> str:
        if self.log_path is None:
            return ""
        return f"; its log is {self.log_path} and ends with\n{log_end(self.log_path)}"
