"""A storm: random `kill -9` of any process while shops work and listen; nothing acknowledged is
lost, nothing happens twice.
"""

import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from restock.kernel.settings import environment
from tests.fixtures.figures import Figures
from tests.fixtures.whole_system import WholeSystem
from tests.journeys.aftermath import all_as_told, ready, replaced
from tests.journeys.conftest import MakeSystem
from tests.journeys.hands import Crew, at_work, open_shops
from tests.journeys.listeners import listening

LONG = 120  # kills
BACKEND = "a PostgreSQL backend"
# sockets of the node client keep the token they began with
SETTINGS = {
    "RESTOCK_TOKEN_MINUTES": "60",
    "RESTOCK_INVENTORY_WORKERS": "2",
    "RESTOCK_NOTIFICATION_WORKERS": "2",
}


@dataclass
class Storm:
    """One system under kills; `hit` counts those that met a living process, by its name."""

    system: WholeSystem
    crew: Crew
    chance: random.Random
    between: int  # acknowledged from one kill to the next, at least
    hit: Counter[str] = field(default_factory=Counter)

    @property
    def kills(self) -> int:
        return self.hit.total()

    def victims(self) -> list[str]:
        return [*self.system.pids(), BACKEND]

    async def strike(self, victim: str, *, calm: bool) -> None:
        """Kill, then wait for some more work done; without `calm` only until it is replaced."""
        struck = await self._kill(victim)
        if not struck:
            return
        self.hit[victim] += 1
        if victim == "up":
            await self._start_again(interrupted=not calm)
        elif calm:
            await ready(self.system)
        elif victim != BACKEND:
            await replaced(self.system, victim, struck)
        if calm:
            await self.crew.more(self.between)

    async def _kill(self, victim: str) -> int:
        """The pid that was killed; 0 when it was not there just now."""
        with suppress(KeyError, ProcessLookupError, psutil.Error):
            if victim != BACKEND:
                pid = self.system.pids()[victim]
                await self.system.kill(victim)
                return pid
            backends = [
                child
                for child in psutil.Process(self.system.pids()["postgres"]).children()
                if "restock_" in " ".join(child.cmdline())
            ]
            if backends:
                chosen = self.chance.choice(backends)
                chosen.kill()
                return chosen.pid
        return 0

    async def _start_again(self, *, interrupted: bool) -> None:
        """Start `up` again; `interrupted` kills that start in its middle, and starts once more."""
        if interrupted:
            await super(WholeSystem, self.system).start()
            await self.system.said(self.chance.choice(("engines ready", "services ready")))
            await self.system.kill("up")
            self.hit["up"] += 1
        await self.system.start()


async def survives(
    system: WholeSystem, journal: Path, figures: Figures, *, plan: list[str] | int, seed: int,
    shops: int,
) -> None:  # fmt: skip
    """`plan` names the victims, or says how many of any kind there are to be."""
    chance = random.Random(seed)
    async with open_shops(system.url, journal, shops=shops) as crew, listening(crew) as ears:
        storm = Storm(system, crew, chance, between=10 * shops)
        async with at_work(crew, hands=2, seed=seed):
            await crew.more(50)
            if isinstance(plan, list):
                for victim in plan:
                    await storm.strike(victim, calm=True)
                assert storm.kills == len(plan)
            else:
                while storm.kills < plan:
                    spared = [victim for victim in storm.victims() if victim not in storm.hit]
                    victim = chance.choice(spared or storm.victims())
                    await storm.strike(victim, calm=chance.random() < 0.7)
                assert set(storm.hit) >= set(storm.victims())
            await ready(system)
            await crew.more(50)
        await all_as_told(system, crew, ears)
    figures.add("kills survived", storm.kills)
    figures.tell(f"killed in {journal.stem}", ", ".join(f"{n} × {w}" for w, n in storm.hit.items()))
    figures.add("requests made under kills", crew.requests)
    figures.add("movements acknowledged under kills", crew.movements)


async def test_nothing_acknowledged_is_lost_in_a_storm(
    make_system: MakeSystem, scratch: Path, figures: Figures
) -> None:
    plan = [BACKEND, "notification-1", "nats", "inventory-0", "postgres"]
    await survives(
        await make_system(**SETTINGS), scratch / "storm.log", figures, plan=plan, seed=1, shops=2
    )


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_nothing_acknowledged_is_lost_in_a_long_storm(
    make_system: MakeSystem, scratch: Path, figures: Figures
) -> None:
    seed = int(environment().get("STORM_SEED") or random.SystemRandom().randrange(10**6))
    figures.tell("seed of the long storm", str(seed))
    await survives(
        await make_system(**SETTINGS), scratch / "long-storm.log", figures,
        plan=LONG, seed=seed, shops=4,
    )  # fmt: skip
