"""Processor time and memory of process trees, read from /proc."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
KIB = 1024

Parts = Mapping[str, list[int]]  # process ids of each part of a system
Naming = Callable[[list[str]], str | None]  # a part's name from a command line


def tree(root: int) -> dict[int, int]:
    """The process and its living descendants, each with its parent; parents come first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = {root: 0}
    for pid in (todo := [root]):
        for child in children.get(pid, []):
            found[child] = pid
            todo.append(child)
    return found


def parts_of(root: int, name: Naming, root_name: str) -> dict[str, list[int]]:
    """The tree by parts: a process belongs to the part its command line names, or its parent's."""
    named = {0: root_name}
    parts: dict[str, list[int]] = {}
    for pid, parent in tree(root).items():
        named[pid] = name(_command(pid)) or named[parent]
        parts.setdefault(named[pid], []).append(pid)
    return parts


def processor_seconds(pids: Iterable[int]) -> float:
    """Seconds of processor time of the processes, and of those children they have outlived."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICK


def resident_bytes(pids: Iterable[int]) -> int:
    """Resident memory; a page that several share counts for each of them."""
    return sum(_memory(pid, "Rss") for pid in pids)


def proportional_bytes(pids: Iterable[int]) -> int:
    """Resident memory; a page that several share counts once, divided among them."""
    return sum(_memory(pid, "Pss") for pid in pids)


def machine_seconds() -> float:
    """Busy seconds of all processors since the start, what a host took from us included."""
    with open("/proc/stat") as file:
        values = [int(value) for value in file.readline().split()[1:9]]
    return (sum(values) - values[3] - values[4]) / TICK


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, state first; empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def _memory(pid: int, key: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith(f"{key}:")), 0)
