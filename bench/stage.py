"""What the questions are asked of: systems, started when first needed, and their accounts."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from bench import nestjs, wrk
from bench.contest import Contest, Side, hold
from bench.effort import ITEMS, Effort
from bench.meter import Load
from bench.nestjs import NestJs
from bench.restock import NO_LIMITS, Restock
from bench.shelves import Shelves, fill
from bench.tenants import System, Tenant, open_account

MOVES = 10  # rows in the ledger of each numbered item


class Stoppable(Protocol):
    async def stop(self) -> None: ...


class Stage:
    """Owns whatever runs; `strike` ends it all. `runs` keeps every figure for the JSON."""

    def __init__(self, effort: Effort, peer: Path | None) -> None:
        self.effort = effort
        self.peer = peer
        self.runs: dict[str, list[dict[str, Any]]] = {}
        self.versions: dict[str, str] = {}  # of what the other side is made of
        # the account that runs PostgreSQL must be able to pass
        self.place = Path(tempfile.mkdtemp(prefix="restock-bench-"))
        self.place.chmod(0o711)
        self._running = AsyncExitStack()
        self._restock: Restock | None = None
        self._peers: list[NestJs] | None = None
        self._tenants: dict[tuple[str, int], Tenant] = {}
        self._shelves: dict[str, Shelves] = {}
        self._numbers = 0

    async def restock(self) -> Restock:
        """The system most questions are asked of."""
        if self._restock is None:
            self._restock = await self.another_restock()
        return self._restock

    async def another_restock(self, settings: dict[str, str] = NO_LIMITS) -> Restock:
        """One more, fresh; stopped with the others unless before."""
        system = Restock(self.file("restock"), settings)
        self.keep(system)
        await system.start()
        return system

    async def peers(self) -> list[NestJs]:
        """The other side: tuned, and plain as well in a full run; none when it wasn't named."""
        if self._peers is None:
            self._peers = []
            if self.peer is not None:
                copy = await nestjs.prepare(self.peer)
                for tuned in (True, False) if self.effort.plain_peer else (True,):
                    system = NestJs(copy, self.file("nestjs"), tuned=tuned)
                    self.keep(system)
                    await system.start()
                    self._peers.append(system)
                self.versions |= self._peers[0].versions()
        return self._peers

    async def systems(self) -> list[Restock | NestJs]:
        """Both sides."""
        return [await self.restock(), *await self.peers()]

    async def tenant(self, system: System, items: int = ITEMS) -> Tenant:
        """An account of the system with so many items."""
        known = (system.url, items)
        if known not in self._tenants:
            self._tenants[known] = await open_account(system, items, self.place)
        return self._tenants[known]

    async def shelves(self, system: Restock, tenant: Tenant, count: int = ITEMS) -> Shelves:
        """Numbered items of the tenant, put into the tables by SQL."""
        if tenant.email not in self._shelves:
            self._shelves[tenant.email] = await fill(system, tenant, count, MOVES)
        return self._shelves[tenant.email]

    def keep(self, started: Stoppable) -> None:
        """Have it stopped at the end."""
        self._running.push_async_callback(started.stop)

    def file(self, name: str) -> Path:
        """A path of its own."""
        self._numbers += 1
        return self.place / f"{name}-{self._numbers}"

    async def hold(
        self, question: str, sides: Sequence[Side], effort: Effort | None = None
    ) -> Contest:
        """A contest, its runs kept."""
        contest = await hold(sides, effort or self.effort)
        for loads in contest.loads.values():
            for load in loads:
                self.record(question, load)
        return contest

    def record(self, question: str, run: Load | dict[str, Any]) -> None:
        found = asdict(run) if isinstance(run, Load) else run
        self.runs.setdefault(question, []).append(found | {"at": round(time.time(), 1)})

    async def rest(self) -> None:
        """End whatever runs, so that what comes next has the machine to itself."""
        await self._running.aclose()
        self._restock = self._peers = None
        self._tenants.clear()
        self._shelves.clear()

    async def strike(self) -> None:
        await self.rest()
        shutil.rmtree(self.place, ignore_errors=True)


def wrk_side(
    system: System,
    tenant: Tenant,
    script: str,
    settings: dict[str, str] | None = None,
    *,
    name: str = "",
    url: str = "",
) -> Side:
    """A side that is wrk's load on a system, on behalf of a tenant."""

    async def drive(seconds: int) -> Load:
        token = await tenant.token()
        about = {
            "TOKEN": token,
            "ITEM_BASE": system.items_path,
            "ITEMS": str(tenant.items_file),
        }
        return await wrk.drive(
            name or system.name,
            url or system.url,
            script,
            about | (settings or {}),
            parts=system.parts,
            seconds=seconds,
        )

    return Side(name or system.name, drive)
