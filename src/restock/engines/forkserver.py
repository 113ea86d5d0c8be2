"""The fork server: workers are forks of one process that has imported what all of them need.

They share the pages of what was imported, as long as nobody writes to them, and a worker is there
without importing anything but its own service. `kernel.forks` is what runs in it.

    forks = ForkServer(environ, records=..., log_path=...)
    await forks.start()                                   # EngineError when it can't be
    Child(name="auth", argv=["run", "auth"], env=..., start=forks.fork)
    await forks.stop()                                    # after its forks, which end with it
"""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from restock.engines.running import Engine
from restock.kernel.forks import LARGEST_JOB, READY, Job
from restock.kernel.supervisor import Child, Process, Records, started

PROGRAM = (sys.executable, "-P", "-m", "restock", "forkserver")
ANSWER_BYTES = 16  # at most: a pid, an exit code
FORK_TIMEOUT_S = 10.0  # a new fork server is there sooner
KILL_TIMEOUT_S = 10.0
TOLD_TIMEOUT_S = 5.0  # how soon after its end a fork server that isn't stuck has said how it ended


class ForkServer(Engine):
    """One fork server, started again when it crashes; what it had forked then starts anew too.

    It gets `environ` without any setting of Restock, some of which are secrets of one service.
    """

    name = "forkserver"

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        records: Records | None = None,
        log_path: Path | None = None,
        log: Any = None,
    ) -> None:
        super().__init__(log_path, records, log)
        kept = {name: value for name, value in environ.items() if not name.startswith("RESTOCK_")}
        self._env = kept | {"RESTOCK_SUPERVISOR": str(os.getpid())}
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)

    async def start(self) -> None:
        """Start it, and wait until it has imported everything. Raises EngineError."""
        await self.launch(
            Child(
                name=self.name,
                argv=PROGRAM,
                env=self._env,
                sockets=[self._theirs],
                log_path=self.log_path,
                stop_timeout_s=2.0,  # SIGTERM ends it at once, unless it is stuck
            )
        )

    async def stop(self) -> None:
        """End it; what it forked should have ended before, and is told to now."""
        await super().stop()
        self._control.close()
        self._theirs.close()

    async def ready(self) -> bool:
        """Whether it has said so."""
        try:
            return self._control.recv(ANSWER_BYTES) == READY
        except BlockingIOError:
            return False

    async def fork(self, child: Child, output: IO[bytes] | None) -> Process:
        """Start a child as a fork; its `argv` are words of the `restock` command. Raises OSError.

        While the fork server is away this waits for the next one.
        """
        job = Job(list(child.argv), dict(child.env), str(child.cwd or Path.cwd()))
        told = msgspec.msgpack.encode(job)
        if len(told) > LARGEST_JOB:
            raise OSError(f"an environment of {len(told)} bytes is too large")
        outputs = [1, 2] if output is None else [output.fileno()] * 2
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            with theirs:
                ours.send(told)
                files = [theirs.fileno(), *outputs, *(given.fileno() for given in child.sockets)]
                socket.send_fds(self._control, [b"fork"], files)
            async with asyncio.timeout(FORK_TIMEOUT_S):
                await _readable(ours.fileno())
            pid, pidfd = _answer(ours)
        except TimeoutError as error:
            _give_up(ours)
            raise OSError("the fork server doesn't answer") from error
        except BaseException:
            _give_up(ours)
            raise
        return Fork(pid, pidfd, ours, child)

    async def run(self, child: Child) -> int:
        """Run a command to its end in a fork; its exit code. Raises OSError.

        Cancelled, it ends it. So can be used, and given back, what takes much memory.
        """
        process = await started(child, self.fork)
        try:
            if self._records is not None:
                self._records.note(child.name, process.pid)
            return await process.wait()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if self._records is not None:
                self._records.forget(child.name)


class Fork:
    """A process that the fork server made."""

    def __init__(self, pid: int, pidfd: int, channel: socket.socket, child: Child) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = pidfd
        self._channel = channel
        self._child = child
        self._watching = asyncio.create_task(self._watch(), name=f"fork {pid}")

    async def wait(self) -> int:
        """Its end; the exit code, or a negative signal."""
        return await asyncio.shield(self._watching)

    def send_signal(self, signal_: int, /) -> None:
        """Raises ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        signal.pidfd_send_signal(self._pidfd, signal_)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def _watch(self) -> int:
        try:
            await _readable(self._channel.fileno(), self._pidfd)
            said = await self._said()
            self.returncode = int(said) if said else await self._end_orphan()
        finally:
            self._channel.close()
            os.close(self._pidfd)
        self._forget_counts()
        return self.returncode

    async def _said(self) -> bytes:
        """What the fork server says of its end; nothing when it ended itself, or is stuck."""
        try:
            async with asyncio.timeout(TOLD_TIMEOUT_S):
                await _readable(self._channel.fileno())
            try:
                return self._channel.recv(ANSWER_BYTES)
            except ConnectionResetError:
                # the fork ended before it read its job: told once, and before what was said
                return self._channel.recv(ANSWER_BYTES)
        except OSError:  # too late, or nothing was said
            return b""

    async def _end_orphan(self) -> int:
        """The fork server doesn't say: then this must end before another takes its place.

        How it ended nobody can know any more; the signal that we sent is returned.
        """
        ended = asyncio.create_task(_readable(self._pidfd))
        sign = signal.SIGTERM
        for sign, timeout_s in (
            (signal.SIGTERM, self._child.stop_timeout_s),
            (signal.SIGKILL, KILL_TIMEOUT_S),
        ):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, sign)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), timeout_s)
                break
        ended.cancel()
        self._collect()
        return -sign

    def _collect(self) -> None:
        """Once its parent, the fork server, is gone it may have come to us: where we are pid 1."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)

    def _forget_counts(self) -> None:
        """What a killed worker had open counts no more in the metrics of its service.

        As prometheus_client's mark_process_dead, without the memory that importing it takes.
        """
        directory = self._child.env.get("PROMETHEUS_MULTIPROC_DIR")
        if directory is not None:
            with suppress(OSError):
                for path in Path(directory).glob(f"gauge_live*_{self.pid}.db"):
                    path.unlink()


def _answer(channel: socket.socket) -> tuple[int, int]:
    """The pid of a new fork and the file that stands for it. Raises OSError."""
    said, pidfds, _, _ = socket.recv_fds(channel, ANSWER_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    if not said:
        raise OSError("the fork server made no fork")
    if not pidfds:
        os.kill(int(said), signal.SIGKILL)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return int(said), pidfds[0]


def _give_up(channel: socket.socket) -> None:
    """Nobody waits for this fork any more: end it if it was made, and have it ended if it will be.

    Shut down, the channel takes no answer: then the fork server ends what it has just made.
    """
    with channel, suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)
        pidfds = socket.recv_fds(channel, ANSWER_BYTES, 1, socket.MSG_CMSG_CLOEXEC)[1]
        for pidfd in pidfds:
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)


async def _readable(*fds: int) -> None:
    """Wait until one of them has something to read, or the end of it."""
    loop = asyncio.get_running_loop()
    found = asyncio.Event()
    for fd in fds:
        loop.add_reader(fd, found.set)
    try:
        await found.wait()
    finally:
        for fd in fds:
            loop.remove_reader(fd)
