"""Child processes are kept running, stopped in order, and never left behind."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from restock.engines.ports import listen
from restock.engines.processes import Records, mark
from restock.kernel import supervisor
from restock.kernel.supervisor import Child, Supervisor
from tests.fixtures.ports import free_port

ENV = {"PATH": "/usr/bin:/bin"}
ANSWER_ONE = """
import os, socket
listening = socket.socket(fileno=int(os.environ["RESTOCK_LISTEN_FD"]))
listening.setblocking(True)
while True:
    connection, _ = listening.accept()
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""

# Not shells: who starts the tests in the background may leave them SIGINT ignored, and a shell
# can't trap what was ignored when it began. A signal that is blocked arrives all the same.
DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
signal.pause()
"""
OBEYS_INT = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
print("up", flush=True)
signal.sigwait({signal.SIGINT})
sys.exit(7)
"""


class Heard:
    """What a supervisor logged and which processes came and went, to be awaited."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.started: asyncio.Queue[int] = asyncio.Queue()
        self.ended: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    def info(self, _event: str, **_fields: Any) -> None:
        pass

    def warning(self, event: str, **fields: Any) -> None:
        if event in ("process_ended", "process_not_started"):
            self.delays.append(fields["next_start_in_s"])

    def child(self, name: str, *argv: str, **fields: Any) -> Child:
        def on_exited(code: int) -> None:
            self.ended.put_nowait((name, code))

        return Child(
            name=name,
            argv=argv,
            env=ENV,
            on_started=self.started.put_nowait,
            on_exited=on_exited,
            **fields,
        )


@pytest.fixture
def heard() -> Heard:
    return Heard()


@asynccontextmanager
async def running(supervising: Supervisor) -> AsyncIterator[Callable[[], Any]]:
    """Run it; what is yielded stops it and waits for its end."""
    stop = asyncio.Event()
    task = asyncio.create_task(supervising.run(stop))

    async def end() -> None:
        stop.set()
        await task

    try:
        yield end
    finally:
        await end()


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


async def test_a_killed_child_is_started_again(heard: Heard) -> None:
    supervising = Supervisor([heard.child("one", *shell("exec sleep 600"))], heard)
    async with running(supervising) as end:
        first = await heard.started.get()
        os.kill(first, signal.SIGKILL)
        second = await heard.started.get()
        assert second != first
        assert supervising.pid("one") == second
        assert supervising.restarts("one") == 1
        await end()
        assert mark(second) is None
        assert supervising.pid("one") is None


async def test_the_delay_doubles_up_to_the_longest(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(supervisor, "LONGEST_DELAY_S", 0.004)
    async with running(Supervisor([heard.child("one", "/bin/false")], heard)):
        for _ in range(5):
            await heard.started.get()
    assert heard.delays[:4] == [0.001, 0.002, 0.004, 0.004]


async def test_a_child_that_lived_long_begins_with_the_first_delay(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(supervisor, "STEADY_AFTER_S", 0.0)
    async with running(Supervisor([heard.child("one", "/bin/false")], heard)):
        for _ in range(4):
            await heard.started.get()
    assert set(heard.delays) == {0.001}


async def test_a_program_that_is_missing_is_tried_again(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.001)
    program = tmp_path / "program"
    prepared = asyncio.Event()

    async def prepare() -> None:
        if heard.delays:
            program.symlink_to("/bin/true")
            prepared.set()

    child = heard.child("one", str(program), prepare=prepare)
    async with running(Supervisor([child], heard)):
        await heard.started.get()
    assert prepared.is_set()


async def test_one_that_can_not_be_started_is_told_of(heard: Heard) -> None:
    failed: asyncio.Queue[OSError] = asyncio.Queue()
    child = heard.child("one", "/no/such/program", on_failed=failed.put_nowait)
    async with running(Supervisor([child], heard)):
        assert (await failed.get()).errno == errno.ENOENT
    assert heard.started.empty()
    assert heard.ended.empty()


async def test_higher_stages_end_before_lower_ones_are_asked(heard: Heard) -> None:
    slow = "trap 'sleep 0.2; exit 0' TERM; while :; do sleep 0.01; done"
    children = [
        heard.child("database", *shell("exec sleep 600"), stage=0),
        heard.child("service", *shell("exec sleep 600"), stage=1),
        heard.child("gateway", *shell(slow), stage=2),
    ]
    async with running(Supervisor(children, heard)) as end:
        for _ in children:
            await heard.started.get()
        await end()
    order = [heard.ended.get_nowait()[0] for _ in children]
    assert order == ["gateway", "service", "database"]


async def test_one_that_ignores_its_signal_is_insisted_on_then_killed(heard: Heard) -> None:
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb") as told, os.fdopen(writes, "wb") as tells:
        children = [
            heard.child("deaf", sys.executable, "-c", DEAF, stop_timeout_s=0.05),
            heard.child(
                "half",
                sys.executable,
                "-c",
                OBEYS_INT,
                stop_timeout_s=0.05,
                insist_signal=signal.SIGINT,
            ),
        ]
        children = [_with_output(child, Path(f"/dev/fd/{tells.fileno()}")) for child in children]
        async with running(Supervisor(children, heard)) as end:
            for _ in children:
                assert await asyncio.to_thread(told.readline) == b"up\n"
            await end()
    assert dict(heard.ended.get_nowait() for _ in children) == {"deaf": -9, "half": 7}


def _with_output(child: Child, path: Path) -> Child:
    return Child(**{**child.__dict__, "log_path": path})


async def test_callers_wait_while_a_worker_is_down_and_are_answered(heard: Heard) -> None:
    port = free_port()
    listening = listen("127.0.0.1", port)
    child = heard.child("web", sys.executable, "-c", ANSWER_ONE, sockets=[listening])
    async with running(Supervisor([child], heard)):
        first = await heard.started.get()
        assert await _read(port) == str(first).encode()
        os.kill(first, signal.SIGKILL)
        await heard.ended.get()
        answer = await _read(port)
        assert answer == str(await heard.started.get()).encode()
    listening.close()


async def test_children_inherit_only_the_sockets_they_are_given(heard: Heard) -> None:
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    async with running(Supervisor([heard.child("one", *shell("exec sleep 600"))], heard)):
        await heard.started.get()
        theirs.close()
        # The end of the stream comes only if nobody else holds the other side.
        assert await asyncio.get_running_loop().sock_recv(mine, 1) == b""
    mine.close()


async def test_what_an_earlier_owner_left_is_ended_before_the_start(
    heard: Heard, tmp_path: Path
) -> None:
    left = await asyncio.create_subprocess_exec("sleep", "600", env=ENV)
    records = Records(tmp_path)
    records.note("one", left.pid)
    child = heard.child("one", *shell("exec sleep 600"))
    async with running(Supervisor([child], heard, records=records)) as end:
        fresh = await heard.started.get()
        assert await left.wait() == -signal.SIGTERM
        found = records.find("one")
        assert found is not None
        assert found.pid == fresh
        await end()
    assert records.names() == []


async def test_a_long_log_is_put_aside_at_a_start(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOG_LIMIT_BYTES", 10)
    path = tmp_path / "one.log"
    path.write_text("a line of an earlier day\n")
    child = heard.child("one", *shell("echo out; echo err >&2; exec sleep 600"), log_path=path)
    async with running(Supervisor([child], heard)):
        await heard.started.get()
        while path.stat().st_size < len("out\nerr\n"):
            await asyncio.sleep(0)
    assert path.read_text() == "out\nerr\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "one.log.1").read_text() == "a line of an earlier day\n"


async def test_cancelled_it_still_ends_its_children(heard: Heard) -> None:
    supervising = Supervisor([heard.child("one", *shell("exec sleep 600"))], heard)
    task = asyncio.create_task(supervising.run(asyncio.Event()))
    pid = await heard.started.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mark(pid) is None


def test_two_children_of_one_name_are_refused() -> None:
    child = Child(name="one", argv=["true"], env=ENV)
    with pytest.raises(ValueError, match="one name"):
        Supervisor([child, child])


async def _read(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.read()
    finally:
        writer.close()
