"""Restock, started by `restock up` on a data directory of its own."""

import random
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bench.failures import BenchFailed
from bench.processes import Parts, parts_of
from bench.programs import Program, clean_environment
from restock.cli.addresses import bind_services, plan
from restock.engines.datadir import read_json
from restock.engines.failures import PortTaken
from restock.engines.local import environment_of, read_facts
from restock.engines.names import SUPERUSER, database_of, database_url

READY_S = 120.0
SERVICES = {"auth": 3100, "inventory": 3101, "notification": 3102, "vendor": 3103}
SOCKETS = 3110
LIMITS = ("ADDRESS", "ACCOUNT", "LOGIN")


def limits(rate: int) -> dict[str, str]:
    """The gateway's limits in requests a second; 0 switches them off."""
    return {f"RESTOCK_GATEWAY_RATE_{name}": str(rate) for name in LIMITS}


NO_LIMITS = limits(0)
RAISED_LIMITS = limits(1_000_000)


class Restock:
    """One system. `settings` are all that differs from what `make up` starts."""

    name = "Restock"
    items_path = "/api/inventory/items"

    def __init__(self, directory: Path, settings: Mapping[str, str] = NO_LIMITS) -> None:
        self.directory = directory
        self._settings = dict(settings)
        self._offset = 0
        self._up: Program | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{3000 + self._offset}"

    def url_of(self, service: str) -> str:
        """A service itself, past the gateway."""
        return f"http://127.0.0.1:{SERVICES[service] + self._offset}"

    @property
    def socket_url(self) -> str:
        """Where sockets are served, past the gateway."""
        return f"http://127.0.0.1:{SOCKETS + self._offset}"

    async def start(self) -> float:
        """Seconds until it said `ready`."""
        self._offset = _free_offset()
        self._up = Program(
            "restock up",
            [
                *(sys.executable, "-P", "-m", "restock", "up"),
                *("--data-dir", str(self.directory), "--port-offset", str(self._offset)),
            ],
            self.directory.with_suffix(".log"),
            env=clean_environment(**self._settings),
        )
        began = time.monotonic()
        await self._up.start()
        said = await self._up.line(READY_S)
        took = time.monotonic() - began
        if said != f"ready {self.url}":
            raise BenchFailed(f"`restock up` said {said!r}")
        return took

    async def stop(self) -> None:
        if self._up is not None:
            await self._up.stop()
            self._up = None

    def parts(self) -> Parts:
        """Its processes by service and engine; `up` is the command itself."""
        assert self._up is not None
        return parts_of(self._up.pid, name_of_command, "up")

    def environment(self, service: str) -> dict[str, str]:
        """What a service is told of its engines."""
        return environment_of(self.directory, service)

    def admin_url(self, service: str) -> str:
        """A service's database as superuser."""
        secrets = read_json(self.directory / "secrets.json")
        socket_directory = read_facts(self.directory)["postgres_socket"]
        return database_url(
            SUPERUSER, database_of(service), socket_directory, lambda name: str(secrets[name])
        )


def name_of_command(words: list[str]) -> str | None:
    """The part of Restock that a command line is."""
    program = Path(words[0]).name if words else ""
    if program in ("postgres", "envoy"):
        return program
    if program == "nats-server":
        return "nats"
    found = re.search(r"-m restock run (\w+)", " ".join(words))
    return found.group(1) if found else None


def _free_offset() -> int:
    choice = random.SystemRandom()
    while True:
        offset = choice.randrange(12_000, 29_000, 200)
        with suppress(PortTaken):
            for listening in bind_services(plan({}, offset=offset)).values():
                listening.close()
            return offset
