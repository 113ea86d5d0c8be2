"""After a disturbance: wait until all is well, then compare everything with what was told."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp

from tests.fixtures.whole_system import WholeSystem
from tests.journeys.hands import Crew
from tests.journeys.ledger_proof import Verdict, prove, urls_of
from tests.journeys.listeners import Ear, misheard
from tests.journeys.whole_proof import feeds_of, prove_whole

RECOVERED_S = 120.0
SETTLED_S = 90.0


async def ready(system: WholeSystem) -> None:
    """Wait until the gateway says that every part is."""
    async with asyncio.timeout(RECOVERED_S), aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientError, OSError):
                async with session.get(f"{system.url}/health") as answer:
                    if (await answer.json())["status"] == "ready":
                        return
            await asyncio.sleep(0.05)


async def replaced(system: WholeSystem, name: str, pid: int) -> None:
    """Wait until another process has taken the place of this one."""
    async with asyncio.timeout(RECOVERED_S):
        while system.pids().get(name, pid) == pid:
            await asyncio.sleep(0.02)


async def proved(system: WholeSystem, *logs: Path) -> Verdict:
    """The verdict of `ledger_proof`, once the last events have found their way: all is equal.

    It is waited for as long as it gets better.
    """
    clock = asyncio.get_running_loop().time
    least, until = 10**9, clock() + SETTLED_S
    while True:
        verdict = await prove(*urls_of(system.root), list(logs))
        if len(verdict.wrong) < least:
            least, until = len(verdict.wrong), clock() + SETTLED_S
        if not verdict.wrong or clock() > until:
            assert verdict.wrong == []
            return verdict
        await asyncio.sleep(0.2)


async def all_as_told(
    system: WholeSystem, crew: Crew, ears: list[Ear], *, journals: Sequence[Path] = ()
) -> None:
    """The databases hold what clients were told, the API says so, and the sockets heard it all.

    `journals` are those of earlier crews of the same system.
    """
    wrong = ["not looked at"]
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLED_S):
            while wrong:  # the last events may still be on their way
                wrong = await prove_whole(system.root, [*journals, crew.journal.path])
                await asyncio.sleep(0.2)
    assert wrong == [], wrong[:10]
    feeds = await feeds_of(system.root)
    for shop in crew.shops:
        head, unread = feeds[shop.user_id]
        assert head > 0
        assert await shop.gateway.notifications.unread_count() == unread
    unheard = await misheard(ears, {user: head for user, (head, _) in feeds.items()})
    assert unheard == [], unheard
