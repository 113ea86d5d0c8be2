"""Programs we start: their environment, and the words they say on standard output."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.failures import BenchFailed

STOP_S = 60.0


def clean_environment(**changes: str) -> dict[str, str]:
    """Ours without settings of Restock, and `changes`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESTOCK_")}
    return kept | changes


class Program:
    """A process of ours. What it says on standard error goes to `log`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self._argv = argv
        self._log = log
        self._env = clean_environment() if env is None else env
        self._cwd = cwd
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                env=self._env,
                cwd=self._cwd,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=1 << 20,
            )

    async def line(self, within_s: float) -> str:
        """The next line it says. Raises BenchFailed when it ends or stays silent."""
        stdout = self._running().stdout
        assert stdout is not None
        try:
            async with asyncio.timeout(within_s):
                said = await stdout.readline()
        except TimeoutError:
            raise BenchFailed(f"{self.name} said nothing for {within_s:g} s") from None
        if not said:
            raise BenchFailed(f"{self.name} ended; its log ends with\n{self._log_end()}")
        return said.decode().rstrip("\n")

    async def line_with(self, words: str, within_s: float) -> str:
        """The next line that begins with `words`."""
        while not (said := await self.line(within_s)).startswith(words):
            pass
        return said

    def tell(self, text: str) -> None:
        """Write a line to its standard input."""
        stdin = self._running().stdin
        assert stdin is not None
        stdin.write(text.encode() + b"\n")

    async def rest(self, within_s: float) -> str:
        """Close its standard input and return what it still says until its end."""
        process = self._running()
        try:
            async with asyncio.timeout(within_s):
                said, _ = await process.communicate(b"")
        except TimeoutError:
            raise BenchFailed(f"{self.name} did not end within {within_s:g} s") from None
        if process.returncode:
            raise BenchFailed(f"{self.name} failed:\n{said.decode()}{self._log_end()}")
        return said.decode()

    async def stop(self) -> None:
        """SIGTERM, later SIGKILL. Does nothing when it isn't running."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                process.send_signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await process.communicate()
                    return

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("start it first")
        return self._process

    def _log_end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
