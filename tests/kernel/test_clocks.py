"""A clock that jumps: the service's against PostgreSQL's, forwards, backwards and back.

What a jump of PostgreSQL's own does to rows is tested where they are: `test_clock` of inventory,
notification and vendor.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine

from restock.engines.nats import NatsEngine
from restock.kernel import runner
from restock.kernel.ids import new_id
from restock.kernel.revocations import Revocations
from restock.kernel.runner import Housekeeping
from tests.conftest import MakeService
from tests.fixtures.clock import JUMPS
from tests.fixtures.tokens import token_for
from tests.kernel.test_bus import revoke


def jumped(by: timedelta) -> Any:
    """The clock of this process, and of nobody else, is off during the block."""
    return time_machine.travel(datetime.now(UTC) + by, tick=True)


@JUMPS
async def test_a_token_is_judged_by_the_clock_and_good_again(
    make_service: MakeService, jump: timedelta
) -> None:
    service = await make_service("inventory")
    token = token_for()
    for _ in range(2):
        assert (await service.ask("GET", "/api/inventory/items", token=token)).status == 200
        with jumped(jump):
            there = token_for(user_id=new_id())
            assert (await service.ask("GET", "/api/inventory/items", token=there)).status == 200
            found = await service.ask("GET", "/api/inventory/items", token=token)
            # one that was read before is known until its end; one from the future is not begun
            assert found.status == (401 if jump > timedelta() else 200)
        again = await service.ask("GET", "/api/inventory/items", token=there)
        assert again.status == (401 if jump < timedelta() else 200)


def test_a_session_that_was_ended_stays_ended_over_any_jump() -> None:
    """Its token is good again when the clock is back: then it must still be known."""
    known = Revocations()
    session, during = uuid4(), uuid4()
    known.add(session, datetime.now(UTC) + timedelta(minutes=15))
    for jump in (timedelta(days=40), timedelta(days=-40)):
        with jumped(jump):
            known.add(during, datetime.now(UTC) + timedelta(minutes=15))
            known.add(uuid4(), datetime.now(UTC) + timedelta(minutes=15))
            assert known.is_revoked(session)
    assert known.is_revoked(session)
    assert known.is_revoked(during)


class Clocked:
    """PostgreSQL's clock as the housekeeping reads it."""

    def __init__(self) -> None:
        self.off = timedelta()

    async def now(self) -> datetime:
        return datetime.now(UTC) + self.off


async def test_housekeeping_deletes_nothing_while_a_clock_has_just_jumped(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it deletes is gone for good; so a clock must have kept pace since the last look."""
    service = await make_service("inventory")
    clock, purged = Clocked(), []

    async def purge(_tx: Any) -> int:
        purged.append(clock.off)
        return 0

    keeping = Housekeeping(service.context.database, [purge])
    monkeypatch.setattr(service.context.database, "now", clock.now)
    await keeping.look(asyncio.Event())
    assert not purged  # what the clock was before is not known yet
    await keeping.look(asyncio.Event())
    assert len(purged) == 1
    for off in (timedelta(days=40), timedelta(), timedelta(days=-40), timedelta()):
        clock.off = off
        await keeping.look(asyncio.Event())
        assert len(purged) == 1
    await keeping.look(asyncio.Event())
    assert len(purged) == 2


async def test_housekeeping_comes_soon_to_who_does_not_live_long(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look comes soon, and then one an hour: after a jump too."""
    service = await make_service("inventory")
    clock, stop, paused = Clocked(), asyncio.Event(), []

    async def purge(_tx: Any) -> int:
        paused.append("purge")
        return 0

    async def pause(_stop: asyncio.Event, seconds: float) -> None:
        paused.append(f"{seconds:.0f} s")
        if len(paused) == 3:
            clock.off = timedelta(days=40)
        if len(paused) == 6:
            stop.set()

    monkeypatch.setattr(service.context.database, "now", clock.now)
    monkeypatch.setattr(runner, "pause", pause)
    await Housekeeping(service.context.database, [purge]).run(stop)
    assert paused == ["600 s", "purge", "3600 s", "3600 s", "purge", "3600 s"]


async def test_housekeeping_reads_the_clock_that_its_deletions_go_by(
    make_service: MakeService,
) -> None:
    service = await make_service("inventory")
    with jumped(timedelta(days=40)):
        read = await service.context.database.now()
    assert abs(read - datetime.now(UTC)) < timedelta(minutes=5)


async def test_who_started_under_a_wrong_clock_knows_ended_sessions_when_it_is_right(
    make_service: MakeService, nats: NatsEngine
) -> None:
    """The stream is read from a moment on; that of a clock far ahead is after all it holds."""
    session = new_id()
    await revoke(nats, session)
    with jumped(timedelta(days=1)):
        service = await make_service("inventory", nats=nats)
    token = token_for(session_id=session)
    async with asyncio.timeout(20):
        while (await service.ask("GET", "/api/inventory/items", token=token)).status != 401:
            await asyncio.sleep(0.02)
    assert (await service.ask("GET", "/api/inventory/items", token=token_for())).status == 200


@JUMPS
async def test_a_refresh_token_outlives_a_clock_that_was_wrong(
    make_service: MakeService, jump: timedelta
) -> None:
    """Where the session seems over it is refused, and nothing is ended for good by that."""
    auth = await make_service("auth")
    account = {"email": f"{uuid4().hex}@example.org", "name": "Ada", "password": "ten letters"}
    signed = await auth.ask("POST", "/api/auth/register", json=account)
    assert signed.status == 201
    refresh = signed.json["refreshToken"]
    for off in (jump, timedelta()):
        with jumped(off):
            body = {"refreshToken": refresh}
            answer = await auth.ask("POST", "/api/auth/refresh", json=body)
            if off > timedelta(days=30):  # longer than a session may rest
                assert answer.status == 401
                continue
            assert answer.status == 200
            refresh = answer.json["refreshToken"]
    assert answer.json["expiresIn"] == 900
