"""Which processes were started on a data directory, written down by pid and start time.

After a `kill -9` of their parent the next start finds them here. A pid alone could by then be
somebody else's; together with the start time it is the same process or none. And a record says in
which directory it was written: a copy of that directory has nobody's processes.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

Steps = Sequence[tuple[signal.Signals, float]]

GENTLE: Steps = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 10.0))
POSTGRES: Steps = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 10.0))
POLL_S = 0.01
PR_SET_PDEATHSIG = 1
ENGINES = ("nats", "postgres")  # ended after all others, in this order


@dataclass(frozen=True)
class Mark:
    """One process, for good: its pid and when it began (in ticks since a given boot)."""

    pid: int
    began: str


def mark(pid: int) -> Mark | None:
    """The mark of a living process; None when there is none (a zombie is not living)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Mark(pid, _began(process))
    except (psutil.Error, OSError):
        return None


def alive(known: Mark) -> bool:
    """Whether that very process still runs."""
    return mark(known.pid) == known


def end(marks: Iterable[Mark], steps: Steps = GENTLE) -> None:
    """End the processes, gently at first. Returns when they are gone, or nothing helps.

    They need not be children of ours. One that nobody collects (a zombie) counts as gone.
    """
    living = [known for known in marks if alive(known)]
    for sign, timeout_s in steps:
        if not living:
            return
        for known in living:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(known.pid, sign)
        until = time.monotonic() + timeout_s
        while (living := [known for known in living if alive(known)]) and time.monotonic() < until:
            time.sleep(POLL_S)


def end_with_parent(parent: int) -> None:
    """Have this process sent SIGTERM when `parent`, which started it, dies without saying so."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGTERM)


class Records:
    """The processes of one data directory, a file each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def note(self, name: str, pid: int) -> None:
        """Write down a process that was just started."""
        known = mark(pid)
        if known is None:
            return
        path = self._directory / f"{name}.json"
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        record = {"pid": known.pid, "began": known.began, "place": self._place()}
        fresh.write_text(json.dumps(record))
        fresh.replace(path)

    def forget(self, name: str) -> None:
        """It has ended."""
        (self._directory / f"{name}.json").unlink(missing_ok=True)

    def find(self, name: str) -> Mark | None:
        """The process of that name, when it still runs."""
        try:
            written = json.loads((self._directory / f"{name}.json").read_text())
            known, place = Mark(int(written["pid"]), str(written["began"])), written["place"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if place == self._place() and alive(known) else None

    def _place(self) -> str:
        """This very directory, whatever its name."""
        found = self._directory.stat()
        return f"{found.st_dev}:{found.st_ino}"

    def names(self) -> list[str]:
        """Every process written down, the engines last."""
        found = sorted(path.stem for path in self._directory.glob("*.json"))
        others = [name for name in found if name not in ENGINES]
        return others + [name for name in ENGINES if name in found]

    def end_leftover(self, name: str) -> None:
        """End what an earlier owner left under that name."""
        known = self.find(name)
        if known is not None:
            end([known], POSTGRES if name == "postgres" else GENTLE)
        self.forget(name)

    def end_all(self) -> list[str]:
        """End every leftover, the engines last. Their names are returned."""
        names = self.names()
        left = {name: known for name in names if (known := self.find(name)) is not None}
        end(known for name, known in left.items() if name not in ENGINES)
        for name in names:
            self.end_leftover(name)
        return list(left)


def _began(process: psutil.Process) -> str:
    """When it began; on Linux by the kernel's own count, which no clock change moves."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        if not psutil.pid_exists(process.pid) or os.path.isdir("/proc/self"):
            raise
        return f"{process.create_time():.2f}"
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"
