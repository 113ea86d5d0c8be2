"""The process that hashes: it comes after everything else, may die, and is never left behind."""

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from argon2 import PasswordHasher

from restock.auth import hasher, hashing
from restock.auth.faults import HashingAway
from restock.auth.hasher import PARAMETERS
from restock.auth.hashing import LAST, LATE, TRIES, Hashing, Place
from restock.engines.processes import mark

PASSWORD = "correct horse battery"
STORED = PasswordHasher.from_parameters(PARAMETERS).hash(PASSWORD)
WORKER = f"""
import asyncio, sys, uvloop
from restock.auth import hashing

hashing.LAST = hashing.LATE  # however busy this machine is

async def main():
    process = hashing.Hashing(threads=2)
    while True:
        await asyncio.gather(*(process.hash({PASSWORD!r}) for _ in range(4)))
        print("hashed", flush=True)
        await asyncio.sleep(float(sys.argv[1]))

uvloop.run(main())
"""


@pytest_asyncio.fixture
async def process(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hashing]:
    # other tests may keep this machine busy
    monkeypatch.setattr(hashing, "LAST", replace(LAST, patience_s=LATE.patience_s))
    opened = Hashing(threads=2)
    yield opened
    await opened.close()
    assert children() == []


def children(pid: int | None = None) -> list[int]:
    """The processes that hash for this one."""
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):  # or a zombie
            if "hasher.py" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


def child() -> int:
    (pid,) = children()
    return pid


def told(pid: int, name: str) -> bytes:
    """What the kernel tells of a process; nothing where it doesn't."""
    path = Path(f"/proc/{pid}/{name}")
    return path.read_bytes() if path.exists() else b""


async def met(condition: object, timeout_s: float = 30) -> None:
    """Wait until what is called gives something true."""
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("busy", [False, True])
async def test_all_of_it_comes_after_everything_else(
    process: Hashing, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    """Each of its threads, and where processors are shared out among sessions, its session."""
    place = LATE if busy else LAST
    monkeypatch.setattr(hashing, "LAST", replace(place, patience_s=10))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    await asyncio.gather(*(process.hash(PASSWORD) for _ in range(4)))
    session = ([], [b"nice", str(place.niceness).encode()])
    await met(lambda: told(child(), "autogroup").split()[1:] in session)
    await met(lambda: len(psutil.Process(child()).threads()) == 2)
    threads = [thread.id for thread in psutil.Process(child()).threads()]
    niceness = min(own + place.niceness, 19)
    assert {os.getpriority(os.PRIO_PROCESS, each) for each in threads} == {niceness}
    if sys.platform == "linux":
        policy = os.SCHED_IDLE if place.idle else os.SCHED_OTHER
        assert {os.sched_getscheduler(each) for each in threads} == {policy}
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


async def test_on_a_busy_machine_it_gets_its_share(
    process: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last in the queue may never have his turn, so the next one stands further ahead."""
    began: list[Place] = []
    started = hashing._started

    async def watched(threads: int, place: Place) -> hashing._Process:
        began.append(place)
        return await started(threads, place)

    monkeypatch.setattr(hashing, "_started", watched)
    monkeypatch.setattr(hashing, "START_EVERY_S", 3600)
    assert await process.verify(STORED, PASSWORD)
    assert process._process is not None
    process._process.place = replace(LAST, patience_s=0.2)
    os.kill(child(), signal.SIGSTOP)
    answers = await asyncio.gather(*(process.verify(STORED, word) for word in (PASSWORD, "guess")))
    assert answers == [True, False]
    assert await process.verify(STORED, PASSWORD)
    assert [place.idle for place in began] == [True, False], "at once, and it stays"
    process._busy_until = process._next_start = 0.1  # all that is long ago
    assert await process.verify(STORED, PASSWORD)
    assert [place.idle for place in began] == [True, False, True]
    assert LAST.patience_s < 1 < LATE.patience_s


def test_where_it_may_not_come_last_it_is_nice_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    told: list[int] = []
    monkeypatch.setattr(os, "sched_setscheduler", refused, raising=False)
    monkeypatch.setattr(os, "nice", told.append)
    hasher.step_back(LAST.niceness, idle=True)
    assert told == [LAST.niceness]


def test_who_may_not_step_back_yet_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start theirs together, and Linux lets few do so at once that aren't root's."""
    tries = [BlockingIOError(), BlockingIOError(), None]
    session = StringIO()

    def opened(path: str, _mode: str) -> StringIO:
        assert path == "/proc/self/autogroup"
        if error := tries.pop(0):
            raise error
        return session

    monkeypatch.setattr(hasher, "open", opened, raising=False)
    monkeypatch.setattr(session, "close", lambda: None)
    monkeypatch.setattr(hasher, "SESSION_PAUSE_S", 0)
    hasher.step_back_as_session(10)
    assert session.getvalue() == "10"
    assert tries == []


async def test_nobody_reads_secrets_off_it(
    process: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, own[1]))  # as the command does
    monkeypatch.setenv("RESTOCK_AUTH_DATABASE_URL", "postgresql://canary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    stored = await process.hash(PASSWORD)
    for words in (told(child(), "environ"), told(child(), "cmdline")):
        for secret in (b"canary", PASSWORD.encode(), stored.encode()):
            assert secret not in words
    assert psutil.Process(child()).num_fds() == 3
    assert resource.prlimit(child(), resource.RLIMIT_CORE)[0] == 0
    resource.setrlimit(resource.RLIMIT_CORE, own)


async def test_one_that_is_killed_costs_nobody_an_answer(process: Hashing) -> None:
    right = [asyncio.create_task(process.verify(STORED, PASSWORD)) for _ in range(10)]
    wrong = [asyncio.create_task(process.verify(STORED, "a guess")) for _ in range(10)]
    hashes = [asyncio.create_task(process.hash(PASSWORD)) for _ in range(2)]
    killed = set()
    for _ in range(2):
        await met(lambda: set(children()) - killed)
        await asyncio.sleep(0.05)
        (victim,) = set(children()) - killed
        killed.add(victim)
        os.kill(victim, signal.SIGKILL)
    assert await asyncio.gather(*right) == [True] * 10
    assert await asyncio.gather(*wrong) == [False] * 10
    for made in await asyncio.gather(*hashes):
        assert await process.verify(made, PASSWORD)
    assert child() not in killed


async def test_one_without_memory_calls_no_password_wrong() -> None:
    """It isn't a guess that failed; another one looks again."""
    process = Hashing(threads=1)
    try:
        await process.hash(PASSWORD)
        starved = child()
        await met(
            lambda: psutil.Process(starved).num_threads() == 1
        )  # and its memory is given back
        most = psutil.Process(starved).memory_info().data + 2**22  # a hash takes 19 MiB
        resource.prlimit(starved, resource.RLIMIT_DATA, (most, most))
        assert await process.verify(STORED, PASSWORD)
        assert child() != starved
    finally:
        await process.close()


async def test_one_that_always_dies_is_given_up(
    process: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each caller is told, and it isn't started as often as the processor can."""
    begun = []
    started = hashing._started

    async def watched(threads: int, place: Place) -> hashing._Process:
        begun.append(time.monotonic())
        return await started(threads, place)

    monkeypatch.setattr(hashing, "_started", watched)
    monkeypatch.setattr(hashing, "START_EVERY_S", 0.1)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(HashingAway):
        await process.verify(STORED, PASSWORD)
    assert len(begun) == TRIES
    begun.clear()
    asked = (process.verify(STORED, PASSWORD) for _ in range(20))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {HashingAway}
    assert HashingAway().status == 503
    assert int(HashingAway().headers["Retry-After"]) >= 1
    # one that dies before the next in line has looked at it is not for him
    assert len(begun) < len(answers), "those who wait share one"
    assert all(late - early > 0.05 for early, late in pairwise(begun))
    monkeypatch.setattr(sys, "executable", "/bin/nothing-here")
    with pytest.raises(HashingAway):
        await process.verify(STORED, PASSWORD)
    monkeypatch.undo()
    assert await process.verify(STORED, PASSWORD), "it is there again"


async def test_one_that_is_stuck_is_replaced(
    process: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "LAST", LATE)
        await process.hash(PASSWORD)
    assert process._process is not None
    process._process.place = replace(LATE, patience_s=0.2)
    stuck = child()
    os.kill(stuck, signal.SIGSTOP)
    with pytest.raises(HashingAway):
        await process.verify(STORED, PASSWORD)
    assert await process.verify(STORED, PASSWORD)
    assert child() != stuck


async def test_one_that_is_stuck_ends_with_its_worker(process: Hashing) -> None:
    await process.hash(PASSWORD)
    os.kill(child(), signal.SIGSTOP)
    waiting = asyncio.create_task(process.hash(PASSWORD))
    await asyncio.sleep(0)
    await process.close()
    with pytest.raises(HashingAway):
        await waiting


async def test_it_is_there_while_it_is_needed(
    process: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert children() == []
    monkeypatch.setattr(hashing, "REST_S", 0.1)
    for _ in range(2):
        assert await process.verify(STORED, PASSWORD)
        await met(lambda: not children())


async def test_one_that_is_stopped_holds_up_no_end(
    process: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its own, when nobody needs it, nor that of its worker, which waits for it."""
    monkeypatch.setattr(hashing, "REST_S", 0.1)
    await process.hash(PASSWORD)
    os.kill(child(), signal.SIGSTOP)
    await met(lambda: not children())


async def test_signals_for_all_are_not_for_it(
    process: Hashing, capfd: pytest.CaptureFixture[str]
) -> None:
    """A terminal's Ctrl-C doesn't reach it; what stops a group of processes at once, it ignores."""
    await process.hash(PASSWORD)
    before = child()
    assert os.getsid(before) == before
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(before, number)
    assert await process.verify(STORED, PASSWORD)
    assert child() == before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("pause", ["0", "3600"], ids=["busy", "idle"])
async def test_it_ends_with_a_killed_worker(pause: str) -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, pause, stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"hashed\n"
    (left,) = children(worker.pid)
    worker.kill()
    await worker.wait()
    await met(lambda: mark(left) is None)


async def test_one_that_was_stopped_ends_when_it_goes_on() -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, "3600", stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"hashed\n"
    (left,) = children(worker.pid)
    os.kill(left, signal.SIGSTOP)
    worker.kill()
    await worker.wait()
    os.kill(left, signal.SIGCONT)
    await met(lambda: mark(left) is None)
