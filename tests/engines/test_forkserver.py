"""Forks are processes like others: they end, are killed, say how; and share what was imported."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from restock.engines.forkserver import ForkServer
from restock.engines.ports import free_port, listen
from restock.engines.processes import Records, alive, mark
from restock.kernel.settings import environment
from restock.kernel.supervisor import Child, Process, open_log

SECRET = "RESTOCK_AUTH_DATABASE_URL"
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest_asyncio.fixture(loop_scope="session")
async def forks(tmp_path: Path) -> AsyncIterator[ForkServer]:
    server = ForkServer(
        {**environment(), SECRET: "of auth alone"},
        records=Records(tmp_path),
        log_path=tmp_path / "forkserver.log",
    )
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def listening() -> socket.socket:
    return listen("127.0.0.1", free_port())


def worker(listening: socket.socket, log_path: Path) -> Child:
    """One that lives, whether or not its engines do."""
    env = {"RESTOCK_VENDOR_DATABASE_URL": NOWHERE, "RESTOCK_NATS_URL": "nats://127.0.0.1:1"}
    return Child(
        name="vendor", argv=["run", "vendor"], env=env, sockets=[listening], log_path=log_path
    )


async def started(forks: ForkServer, child: Child) -> Process:
    """A fork that answers."""
    assert child.log_path is not None
    with open_log(child.log_path) as output:
        process = await forks.fork(child, output)
    assert b"HTTP/1.1 " in await asked(child.sockets[0])
    return process


def proc(pid: int, file: str) -> str:
    """What the kernel says of a process."""
    return Path(f"/proc/{pid}/{file}").read_text()


async def asked(listening: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_command_runs_to_its_end(forks: ForkServer, tmp_path: Path) -> None:
    log_path = tmp_path / "said.log"
    assert await forks.run(Child(name="one", argv=["--version"], env={}, log_path=log_path)) == 0
    assert log_path.read_text().startswith("restock ")
    assert Records(tmp_path).names() == ["forkserver"]


async def test_its_environment_is_its_own(forks: ForkServer, tmp_path: Path) -> None:
    assert forks.pid is not None
    assert "of auth alone" not in proc(forks.pid, "environ")
    log_path = tmp_path / "said.log"
    assert await forks.run(Child(name="one", argv=["run", "auth"], env={}, log_path=log_path)) == 1
    assert f"{SECRET} is missing" in log_path.read_text()


async def test_an_environment_beyond_measure_is_refused(forks: ForkServer) -> None:
    child = Child(name="one", argv=["--version"], env={"LONG": "x" * 200_000})
    with pytest.raises(OSError, match="too large"):
        await forks.run(child)


async def test_it_is_a_process_of_its_own(
    forks: ForkServer, listening: socket.socket, tmp_path: Path
) -> None:
    process = await started(forks, worker(listening, tmp_path / "vendor.log"))
    assert os.getsid(process.pid) == process.pid
    assert "-m restock run vendor" in proc(process.pid, "cmdline")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == process.returncode == 0
    with pytest.raises(ProcessLookupError):
        process.kill()


async def test_most_of_its_memory_is_shared(
    forks: ForkServer, listening: socket.socket, tmp_path: Path
) -> None:
    processes = [await started(forks, worker(listening, tmp_path / "vendor.log")) for _ in "ab"]
    written = proc(processes[0].pid, "smaps_rollup")
    kib = {line.split(":")[0]: int(line.split()[1]) for line in written.splitlines()[1:]}
    assert kib["Shared_Dirty"] > kib["Private_Dirty"]
    for process in processes:
        process.kill()
        assert await process.wait() == -signal.SIGKILL


async def test_when_the_fork_server_is_killed_its_forks_end_and_new_ones_come(
    forks: ForkServer, listening: socket.socket, tmp_path: Path
) -> None:
    child = worker(listening, tmp_path / "vendor.log")
    process, killed = await started(forks, child), forks.pid
    other = listen("127.0.0.1", free_port())
    stuck = await started(forks, worker(other, tmp_path / "stuck.log"))
    stuck.send_signal(signal.SIGSTOP)  # one fork must not keep the end of another from being seen
    known = mark(process.pid)
    assert known is not None
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert await process.wait() == -signal.SIGTERM
    assert not alive(known)
    stuck.kill()
    assert await stuck.wait() < 0
    again = await started(forks, child)
    assert forks.pid not in (None, killed)
    again.kill()
    assert await again.wait() == -signal.SIGKILL


async def test_when_it_is_stopped_its_forks_end(
    forks: ForkServer, listening: socket.socket, tmp_path: Path
) -> None:
    process = await started(forks, worker(listening, tmp_path / "vendor.log"))
    await forks.stop()
    assert await process.wait() == -signal.SIGTERM


async def test_one_that_does_not_wait_for_its_pid_leaves_no_process(
    forks: ForkServer, listening: socket.socket, tmp_path: Path
) -> None:
    assert forks.pid is not None
    os.kill(forks.pid, signal.SIGSTOP)
    log_path = tmp_path / "vendor.log"
    with open_log(log_path) as output:
        waiting = asyncio.create_task(forks.fork(worker(listening, log_path), output))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    os.kill(forks.pid, signal.SIGCONT)
    assert await forks.run(Child(name="two", argv=["--version"], env={})) == 0
    children = proc(forks.pid, f"task/{forks.pid}/children").split()
    assert [pid for pid in children if mark(int(pid)) is not None] == []
