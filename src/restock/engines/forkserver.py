"""The fork server: workers are forks of one process that has imported what all of them need.

They share the pages of what was imported, as long as nobody writes to them, and a worker is there
without importing anything but its own service. `kernel.forks` is what runs in it.

    forks = ForkServer(environ, records=..., log_path=...)
    await forks.start()                                   # EngineError when it can't be
    Child(name="auth", argv=["run", "auth"], env=..., start=forks.fork)
    await forks.stop()                                    # after its forks, which end with it
"""

import asyncio
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
from restock.kernel.supervisor import Child, Process, Records, open_log

PROGRAM = (sys.executable, "-P", "-m", "restock", "forkserver")
ANSWER_BYTES = 16  # at most: a pid, an exit code
FORK_TIMEOUT_S = 10.0  # a new fork server is there sooner
KILL_TIMEOUT_S = 10.0


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
            said, pidfds, _, _ = socket.recv_fds(ours, ANSWER_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            if not said:
                raise OSError("the fork server ended")
        except BaseException:
            ours.close()
            raise
        return Fork(int(said), pidfds[0], ours, child.stop_timeout_s)

    async def run(self, child: Child) -> int:
        """Run a command to its end in a fork; its exit code. Raises OSError.

        Cancelled, it ends it. So can be used, and given back, what takes much memory.
        """
        output = open_log(child.log_path) if child.log_path else None
        try:
            process = await self.fork(child, output)
        finally:
            if output is not None:
                output.close()
        if self._records is not None:
            self._records.note(child.name, process.pid)
        try:
            return await process.wait()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if self._records is not None:
                self._records.forget(child.name)


class Fork:
    """A process that the fork server made."""

    def __init__(self, pid: int, pidfd: int, channel: socket.socket, stop_timeout_s: float) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = pidfd
        self._channel = channel
        self._stop_timeout_s = stop_timeout_s
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
            said = await asyncio.get_running_loop().sock_recv(self._channel, ANSWER_BYTES)
            self.returncode = int(said) if said else await self._end_orphan()
        finally:
            self._channel.close()
            os.close(self._pidfd)
        return self.returncode

    async def _end_orphan(self) -> int:
        """The fork server ended without saying: then so must this, before another takes its place.

        How it ended nobody can know any more; the signal that we sent is returned.
        """
        ended = asyncio.create_task(_readable(self._pidfd))
        sign = signal.SIGTERM
        for sign, timeout_s in (
            (signal.SIGTERM, self._stop_timeout_s),
            (signal.SIGKILL, KILL_TIMEOUT_S),
        ):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, sign)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), timeout_s)
                break
        ended.cancel()
        return -sign


async def _readable(fd: int) -> None:
    """Wait until there is something to read, or the end of it."""
    loop = asyncio.get_running_loop()
    found = asyncio.Event()
    loop.add_reader(fd, found.set)
    try:
        await found.wait()
    finally:
        loop.remove_reader(fd)
