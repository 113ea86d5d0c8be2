"""What anyone may ask for is made once for all who ask."""

import asyncio

import msgspec
import pytest

from restock.gateway import reference
from restock.gateway.keeping import Kept
from restock.gateway.readiness import Services
from restock.gateway.settings import SERVICE_PORTS, Settings


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Counted:
    """Gives 1, 2, 3, …, each after everyone else had a turn."""

    def __init__(self) -> None:
        self.times = 0

    async def make(self) -> int:
        self.times += 1
        made = self.times
        await asyncio.sleep(0)
        return made


async def test_it_is_made_once_for_all_who_wait() -> None:
    kept, counted = Kept[int](2.0, Clock()), Counted()
    assert await asyncio.gather(*(kept.get(counted.make) for _ in range(20))) == [1] * 20


async def test_it_is_made_anew_when_its_time_is_over() -> None:
    clock = Clock()
    kept, counted = Kept[int](2.0, clock), Counted()
    found = []
    for after in (0.0, 1.5, 0.5, 1.9, 0.1):
        clock.now += after
        found.append(await kept.get(counted.make))
    assert found == [1, 1, 2, 2, 3]


async def test_a_failure_is_not_kept() -> None:
    kept, counted = Kept[int](2.0, Clock()), Counted()

    async def fails() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        await kept.get(fails)
    assert await kept.get(counted.make) == 1


async def test_both_documents_ask_each_service_once() -> None:
    asked: list[str] = []

    class Answering(Services):
        async def get(self, address: tuple[str, int], path: str) -> object:
            asked.append(path)
            return {"paths": {f"/{address[1]}": {}}}

    session: object = None
    services = Answering(session, Settings(), Kept(2.0, Clock()))  # type: ignore[arg-type]
    found = await asyncio.gather(*(reference.current(services) for _ in range(10)))
    assert sorted(asked) == sorted(f"/openapi/{name}.json" for name in SERVICE_PORTS)
    assert msgspec.json.decode(found[0].newer)["openapi"] == "3.1.0"
    assert msgspec.json.decode(found[9].older)["openapi"] == "3.0.3"
