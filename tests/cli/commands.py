"""`restock` run as a process of its own, and what it left or did not leave."""

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

from restock.engines.processes import Mark, Records
from restock.kernel.settings import environment

RESTOCK = (sys.executable, "-P", "-m", "restock")
# before a command: as a script starts it with `&`, with SIGINT ignored (POSIX, 2.11 of the shell)
IN_BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")


def clean_environment(**changes: str) -> dict[str, str]:
    """Ours without settings of Restock, and `changes`."""
    kept = {name: value for name, value in environment().items() if "RESTOCK" not in name}
    return kept | changes


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


async def ran(*words: str, **changes: str) -> Ran:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        *RESTOCK,
        *words,
        env=clean_environment(**changes),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Ran(process.returncode or 0, out.decode(), err.decode())


@dataclass
class Up:
    """A `restock up` of the test's own, started `by` a command, with further `words`."""

    root: Path
    offset: int
    settings: dict[str, str] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    seen: dict[str, Mark] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    _reading: "list[asyncio.Task[None]]" = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{3000 + self.offset}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        """Start it; `ready` waits for its line."""
        self.out, self.err = [], []
        self.process = await asyncio.create_subprocess_exec(
            *self.by,
            *RESTOCK,
            "up",
            "--data-dir",
            str(self.root),
            "--port-offset",
            str(self.offset),
            *self.words,
            env=clean_environment(**self.settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = [
            asyncio.create_task(_collect(self.process.stdout, self.out)),
            asyncio.create_task(_collect(self.process.stderr, self.err)),
        ]

    async def ready(self) -> None:
        """Wait for the line on standard output; fails with what it said if it ends instead."""
        while not self.out:
            if self._reading[0].done():
                raise AssertionError("".join(self.err))
            await asyncio.sleep(0.01)
        self.note_processes()

    async def said(self, words: str) -> None:
        """Wait until standard error has held the words."""
        while not any(words in line for line in self.err):
            if self._reading[1].done():
                raise AssertionError("".join(self.err))
            await asyncio.sleep(0.005)

    def note_processes(self) -> dict[str, Mark]:
        """The processes it runs now, by name; remembered for `left`."""
        places = [Records(self.root / "run"), Records(self.root / "envoy")]
        now = {
            name: known
            for records in places
            for name in records.names()
            if (known := records.find(name))
        }
        self.seen |= {f"{name} {known.pid}": known for name, known in now.items()}
        return now

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        assert self.process is not None
        code = await self.process.wait()
        await asyncio.gather(*self._reading)
        return code


async def _collect(stream: asyncio.StreamReader | None, lines: list[str]) -> None:
    assert stream is not None
    async for line in stream:
        lines.append(line.decode())
