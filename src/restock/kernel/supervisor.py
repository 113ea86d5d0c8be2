"""Child processes: started, started again when they crash, stopped in order.

    supervisor = Supervisor([Child(name="auth-0", argv=[...], env={...}, sockets=[listening])], log)
    await supervisor.run(stop)            # a Run: returns when every child has ended

`Child(name, argv, env, sockets=(), cwd=None, user=None, group=None, stop_signal=SIGTERM,
stop_timeout_s=20, insist_signal=None, stage=0, log_path=None, start=executed, prepare=None,
on_started=None, on_exited=None, on_failed=None)`: see its fields. A child gets a session of its
own, so that the Ctrl-C of a terminal reaches only who stops the children in order. The first of
its listening sockets is told it by `RESTOCK_LISTEN_FD`.

What ends without being asked to is started again after 0.1 s, then twice as long each time up to
10 s; one that lived for a while begins at 0.1 s anew. When stopping, the highest `stage` ends
first; children of one stage end together.
"""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
STEADY_AFTER_S = 30.0
INSIST_TIMEOUT_S = 5.0
LOG_LIMIT_BYTES = 32 * 1024 * 1024
LOG_CHECK_S = 30.0


class Records(Protocol):
    """Where started processes are written down, for whoever comes after a `kill -9`."""

    def note(self, name: str, pid: int) -> None: ...
    def forget(self, name: str) -> None: ...
    def end_leftover(self, name: str) -> None: ...


class Silence:
    """A log that nobody reads."""

    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...


class Process(Protocol):
    """A started child. `returncode` is None while it runs, a negative signal if one ended it."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...
    def send_signal(self, signal: int, /) -> None: ...
    def kill(self) -> None: ...


Start = Callable[["Child", IO[bytes] | None], Awaitable[Process]]


async def executed(child: "Child", output: IO[bytes] | None) -> Process:
    """Start a child as a program. Raises OSError."""
    fds = [listening.fileno() for listening in child.sockets]
    identity: dict[str, Any] = {}
    if child.user is not None:
        identity = {"user": child.user, "group": child.group, "extra_groups": []}
    return await asyncio.create_subprocess_exec(
        *child.argv,
        env={**child.env, "RESTOCK_LISTEN_FD": str(fds[0])} if fds else dict(child.env),
        cwd=child.cwd,
        pass_fds=fds,
        start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        **identity,
    )


@dataclass(frozen=True, kw_only=True)
class Child:
    """One process to keep running.

    `env` is its whole environment. `user` and `group` are numeric ids to start it as (only root
    can). `insist_signal` is sent when `stop_timeout_s` has passed after `stop_signal`; SIGKILL
    comes after that. With `log_path` both its outputs are appended there, otherwise it has ours.
    `start(child, output)` makes the process, and raises OSError if it can't. `prepare` is awaited
    before every start, `on_started(pid)` and `on_exited(returncode)` are called at each;
    `on_failed(error)` instead of both when there was none.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    sockets: Sequence[socket.socket] = ()
    cwd: Path | None = None
    user: int | None = None
    group: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 20.0
    insist_signal: signal.Signals | None = None
    stage: int = 0
    log_path: Path | None = None
    start: Start = executed
    prepare: Callable[[], Awaitable[None]] | None = None
    on_started: Callable[[int], None] | None = None
    on_exited: Callable[[int], None] | None = None
    on_failed: Callable[[OSError], None] | None = None


async def started(child: Child, start: Start) -> Process:
    """The child's process, made by `start` with its log for output. Raises OSError."""
    output = open_log(child.log_path) if child.log_path else None
    try:
        return await start(child, output)
    finally:
        if output is not None:
            output.close()


class Supervisor:
    """Keeps its children running until it is told to stop. A Run."""

    def __init__(
        self, children: Sequence[Child], log: Any = None, *, records: Records | None = None
    ) -> None:
        names = [child.name for child in children]
        if len(set(names)) != len(names):
            raise ValueError(f"two children of one name in {names}")
        self._children = list(children)
        self._log = log if log is not None else Silence()
        self._records = records
        self._running: dict[str, Process] = {}
        self._starts: dict[str, int] = {}

    def pid(self, name: str) -> int | None:
        """The child's process id while it runs."""
        process = self._running.get(name)
        return process.pid if process is not None else None

    def restarts(self, name: str) -> int:
        """How often the child was started again."""
        return max(0, self._starts.get(name, 0) - 1)

    async def run(self, stop: asyncio.Event) -> None:
        """Start the children in the order given; once `stop` is set end them stage by stage.

        Cancelled, it still ends them.
        """
        halts = {child.name: asyncio.Event() for child in self._children}
        keepers = {
            child.name: asyncio.create_task(self._keep(child, halts[child.name]), name=child.name)
            for child in self._children
        }
        logs = asyncio.create_task(self._bound_logs())
        try:
            await _until_set_or_broken(stop, keepers.values())
        finally:
            logs.cancel()
            await asyncio.shield(asyncio.create_task(self._halt_all(halts, keepers)))

    async def _halt_all(
        self, halts: Mapping[str, asyncio.Event], keepers: Mapping[str, asyncio.Task[None]]
    ) -> None:
        failures: list[BaseException] = []
        for stage in sorted({child.stage for child in self._children}, reverse=True):
            names = [child.name for child in self._children if child.stage == stage]
            for name in names:
                halts[name].set()
            ended = await asyncio.gather(*(keepers[name] for name in names), return_exceptions=True)
            failures += [result for result in ended if isinstance(result, BaseException)]
        if failures:
            raise failures[0]

    async def _keep(self, child: Child, halt: asyncio.Event) -> None:
        """Keep one child running until `halt` is set, then end it."""
        clock = asyncio.get_running_loop().time
        delay = FIRST_DELAY_S
        while not halt.is_set():
            began = clock()
            ended: dict[str, Any] = {}
            try:
                process = await self._start(child)
            except OSError as error:
                ended = {"error": str(error) or repr(error)}
                if child.on_failed is not None:
                    child.on_failed(error)
            else:
                if await self._lives_until(child, process, halt):
                    return
                ended = {"pid": process.pid, "returncode": process.returncode}
            if clock() - began >= STEADY_AFTER_S:
                delay = FIRST_DELAY_S
            event = "process_not_started" if "error" in ended else "process_ended"
            self._log.warning(event, process=child.name, **ended, next_start_in_s=delay)
            with suppress(TimeoutError):
                await asyncio.wait_for(halt.wait(), delay)
            delay = min(delay * 2, LONGEST_DELAY_S)

    async def _start(self, child: Child) -> Process:
        if self._records is not None:
            await asyncio.to_thread(self._records.end_leftover, child.name)
        if child.prepare is not None:
            await child.prepare()
        process = await started(child, child.start)
        try:
            if self._records is not None:
                self._records.note(child.name, process.pid)
            if child.on_started is not None:
                child.on_started(process.pid)
        except BaseException:
            # nobody would know of it, and the next start would make a second one
            process.kill()
            await process.wait()
            raise
        self._running[child.name] = process
        self._starts[child.name] = self._starts.get(child.name, 0) + 1
        self._log.info("process_started", process=child.name, pid=process.pid)
        return process

    async def _lives_until(self, child: Child, process: Process, halt: asyncio.Event) -> bool:
        """Wait for the child's end or for `halt`. True when it was ended because of `halt`."""
        ended = asyncio.create_task(process.wait())
        halted = asyncio.create_task(halt.wait())
        try:
            await asyncio.wait({ended, halted}, return_when=asyncio.FIRST_COMPLETED)
            asked = halt.is_set()
            if asked:
                await self._end(child, process)
            code = await ended
        finally:
            halted.cancel()
        del self._running[child.name]
        if self._records is not None:
            self._records.forget(child.name)
        if child.on_exited is not None:
            child.on_exited(code)
        if asked:
            self._log.info("process_stopped", process=child.name, returncode=code)
        return asked

    async def _end(self, child: Child, process: Process) -> None:
        steps = [(child.stop_signal, child.stop_timeout_s)]
        if child.insist_signal is not None:
            steps.append((child.insist_signal, INSIST_TIMEOUT_S))
        for sign, timeout_s in steps:
            with suppress(ProcessLookupError):
                process.send_signal(sign)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), timeout_s)
                return
            self._log.warning(
                "process_does_not_end", process=child.name, after=sign.name, waited_s=timeout_s
            )
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _bound_logs(self) -> None:
        """Keep the log file of a child that lives long from filling the disk."""
        paths = {child.log_path for child in self._children if child.log_path is not None}
        while paths:
            await asyncio.sleep(LOG_CHECK_S)
            for path in paths:
                try:
                    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
                        await asyncio.to_thread(_copy_and_empty, path)
                except OSError as error:
                    self._log.warning("log_not_bounded", path=str(path), error=str(error))


async def _until_set_or_broken(
    stop: asyncio.Event, keepers: "Sequence[asyncio.Task[None]] | Any"
) -> None:
    """Wait for `stop`; earlier if a keeper failed, which is a mistake of ours, not of a child."""
    stopped = asyncio.create_task(stop.wait())
    try:
        waiting = {stopped, *keepers}
        while not stop.is_set():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if any(task is not stopped for task in done):
                return
    finally:
        stopped.cancel()


def open_log(path: Path) -> IO[bytes]:
    """The log file to append to, readable by its owner only; a long one is put aside first."""
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _copy_and_empty(path: Path) -> None:
    # The writer keeps its file open in append mode, so emptying it makes room under it; the few
    # lines written between the two calls are the price.
    try:
        shutil.copyfile(path, path.with_name(path.name + ".1"))
    finally:
        os.truncate(path, 0)  # also where the disk has no room for a copy: then all the more
