"""The other side: a NestJS system that brings a `run.sh`, plain or tuned.

The directory that is named may be read-only: it is copied, and built once for each state of it.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from bench.failures import BenchFailed
from bench.nodejs import npm, path_with_node
from bench.processes import Parts, tree
from bench.programs import Program
from restock.engines.failures import PortTaken
from restock.engines.ports import free_port, require_free

READY_S = 120.0
PORTS = (3000, 3100, 3101, 3102, 3103)
LEFT_OUT = ("node_modules", "dist")


class NestJs:
    """One running copy of it, with a PostgreSQL of its own, which its `run.sh` chooses (PG_BIN
    in the environment says otherwise)."""

    items_path = "/api/inventory"

    def __init__(self, copy: Path, directory: Path, *, tuned: bool) -> None:
        self.name = f"NestJS {'tuned' if tuned else 'plain'}"
        self.directory = directory
        self._copy = copy
        self._tuned = tuned
        self._base = 0
        self._run: Program | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{3000 + self._base}"

    async def start(self) -> None:
        self.directory.mkdir(mode=0o755)
        self._base = _free_base()
        self._run = Program(
            f"run.sh of {self.name}",
            ["bash", str(self._copy / "run.sh")],
            self.directory / "run.log",
            env=path_with_node()
            | {
                "PORT_BASE": str(self._base),
                "PG_PORT": str(free_port()),
                "RUN_DIR": str(self.directory),
                "TUNED": "1" if self._tuned else "",
            },
        )
        await self._run.start()
        await self._run.line_with("base URL", READY_S)

    async def stop(self) -> None:
        if self._run is not None:
            await self._run.stop()
            self._run = None

    def parts(self) -> Parts:
        """Its processes by the names that `run.sh` wrote down."""
        named = (line.split() for line in (self.directory / "pids").read_text().splitlines())
        return {name: list(tree(int(pid))) for name, pid in named}

    def versions(self) -> dict[str, str]:
        """What it is made of."""
        package = self._copy / "node_modules" / "@nestjs" / "core" / "package.json"
        postgres = self.directory / "pg" / "data" / "PG_VERSION"
        return {
            "@nestjs/core": json.loads(package.read_text())["version"],
            "its PostgreSQL": postgres.read_text().strip() if postgres.is_file() else "",
        }


async def prepare(peer: Path) -> Path:
    """A copy of the peer with its packages installed and built. Raises BenchFailed."""
    if not (peer / "run.sh").is_file():
        raise BenchFailed(f"{peer} is not the other side: there is no run.sh in it")
    place = Path(tempfile.gettempdir()) / f"restock-bench-{os.geteuid()}"
    place.mkdir(mode=0o711, exist_ok=True)
    if place.stat().st_uid != os.geteuid():
        raise BenchFailed(f"{place} belongs to somebody else")
    copy = place / f"peer-{_digest(peer)}"
    if not (copy / "dist").is_dir():
        shutil.rmtree(copy, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(dir=place)) / "peer"
        shutil.copytree(peer, fresh, ignore=shutil.ignore_patterns(*LEFT_OUT))
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        await npm("ci", "--include=dev", "--no-fund", "--no-audit", cwd=fresh)
        await npm("run", "build", cwd=fresh)
        fresh.rename(copy)
        fresh.parent.rmdir()
    return copy


def _digest(peer: Path) -> str:
    """What its files are, so that a changed peer is built anew."""
    found = hashlib.sha256()
    for path in sorted(peer.rglob("*")):
        if path.is_file() and not set(LEFT_OUT) & set(path.relative_to(peer).parts):
            found.update(f"{path.relative_to(peer)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _free_base() -> int:
    """A number to add to its ports, so that all of them are free."""
    while True:
        base = free_port() - PORTS[0]
        try:
            for port in PORTS:
                if base + port >= 32768:
                    raise PortTaken
                require_free("127.0.0.1", base + port)
        except PortTaken:
            continue
        return base
