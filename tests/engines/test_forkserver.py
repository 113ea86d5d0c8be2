"""Forks are processes like others: they end, are killed, say how; and share what was imported."""

import asyncio
import errno
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from restock.engines import forkserver
from restock.engines.failures import EngineError
from restock.engines.forkserver import Fork, ForkServer
from restock.engines.ports import listen
from restock.engines.processes import Records, alive, mark
from restock.kernel.settings import environment
from restock.kernel.supervisor import Child, Process, open_log
from tests.fixtures.ports import free_port

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


def children(forks: ForkServer) -> list[str]:
    """The forks that live."""
    pids = proc(forks.pid or 0, f"task/{forks.pid}/children").split()
    return [pid for pid in pids if mark(int(pid)) is not None]


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


async def test_how_one_ended_is_told_though_it_never_read_its_job(
    forks: ForkServer, listening: socket.socket, tmp_path: Path
) -> None:
    for number in range(20):
        with open_log(tmp_path / f"{number}.log") as output:
            process = await forks.fork(worker(listening, tmp_path / "vendor.log"), output)
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
    assert children(forks) == []


async def test_where_it_can_not_be_started_the_start_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "PROGRAM", ("/no/such/program",))
    server = ForkServer({})
    with pytest.raises(EngineError, match=r"didn't start \(.*No such file"):
        await server.start()
    await server.stop()


async def test_one_whose_pid_comes_too_late_leaves_no_process(
    forks: ForkServer, listening: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readable = forkserver._readable

    async def too_late(*fds: int) -> None:
        await readable(*fds)
        raise TimeoutError

    with monkeypatch.context() as patched, open_log(tmp_path / "vendor.log") as output:
        patched.setattr(forkserver, "_readable", too_late)
        with pytest.raises(OSError, match="doesn't answer"):
            await forks.fork(worker(listening, tmp_path / "vendor.log"), output)
    assert await forks.run(Child(name="two", argv=["--version"], env={})) == 0
    assert children(forks) == []


async def test_where_no_more_files_can_be_opened_nothing_is_left(
    forks: ForkServer, listening: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = socket.recv_fds

    def without_files(*asked: Any) -> tuple[bytes, list[int], int, Any]:
        said, files, flags, address = received(*asked)
        for fd in files:
            os.close(fd)
        return said, [], flags, address

    with monkeypatch.context() as patched, open_log(tmp_path / "vendor.log") as output:
        patched.setattr(socket, "recv_fds", without_files)
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            await forks.fork(worker(listening, tmp_path / "vendor.log"), output)
    assert await forks.run(Child(name="two", argv=["--version"], env={})) == 0
    assert children(forks) == []


async def test_a_fork_server_that_can_open_no_more_files_lives_on(forks: ForkServer) -> None:
    assert forks.pid is not None
    pid, child = forks.pid, Child(name="one", argv=["--version"], env={})
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    with pytest.raises(OSError, match="reset"):
        await forks.run(child)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert await forks.run(child) == 0
    assert forks.pid == pid


async def test_the_end_of_a_fork_is_seen_while_the_fork_server_is_stuck(
    forks: ForkServer, listening: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkserver, "TOLD_TIMEOUT_S", 0.01)
    process = await started(forks, worker(listening, tmp_path / "vendor.log"))
    assert forks.pid is not None
    os.kill(forks.pid, signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM
    os.kill(forks.pid, signal.SIGCONT)


async def test_every_fork_ends_with_the_fork_server_whoever_else_is_away(
    forks: ForkServer, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = listening.getsockname()
    env = {"RESTOCK_VENDOR_MIGRATE_URL": f"postgresql://nobody@{host}:{port}/none"}
    process = await forks.fork(Child(name="one", argv=["migrate", "vendor"], env=env), None)
    connection, _ = await asyncio.get_running_loop().sock_accept(listening)
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None)
    assert forks.pid is not None
    os.kill(forks.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGTERM
    connection.close()


async def test_a_command_that_can_not_be_written_down_is_not_left_running(
    forks: ForkServer, listening: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_name: str, _pid: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(forks._records, "note", full)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        await forks.run(worker(listening, tmp_path / "vendor.log"))
    assert children(forks) == []


def orphan(env: dict[str, str]) -> tuple[Fork, socket.socket]:
    """A fork whose server went before the job was read, and the other end of its channel."""
    pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], {})
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    ours.send(b"a job")
    return Fork(pid, os.pidfd_open(pid), ours, Child(name="one", argv=[], env=env)), theirs


async def test_one_that_ended_before_it_read_its_job_is_an_end_and_collected() -> None:
    process, theirs = orphan({})
    theirs.close()  # the job in it is unread: reading the other end fails
    assert await process.wait() == -signal.SIGTERM
    assert str(process.pid) not in os.listdir("/proc")


async def test_what_a_killed_worker_had_open_counts_no_more(tmp_path: Path) -> None:
    process, theirs = orphan({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    kept = {f"counter_{process.pid}.db", f"gauge_livesum_{os.getpid()}.db"}
    for name in (*kept, f"gauge_livesum_{process.pid}.db"):
        (tmp_path / name).touch()
    theirs.close()
    await process.wait()
    assert set(os.listdir(tmp_path)) == kept
