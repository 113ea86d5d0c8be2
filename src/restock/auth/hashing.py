"""A worker's process that hashes passwords: `hasher`, started, asked and ended.

    hashing = Hashing(threads=2)
    stored = await hashing.hash("correct horse battery")
    await hashing.verify(stored, "correct horse battery")    # True
    await hashing.close()

A thread of the worker's own would be put aside while it holds the interpreter's lock, niced as it
is, and every other request with it. The process is there while it is needed: from the first job
until nobody has had one for `REST_S`; then the memory of its hashes goes back to the system too.
Its end is its input's end, so none outlives its worker, however that ends, but one that somebody
had stopped: that ends when it goes on.

It comes last on its machine. Where that would take too long, since the machine has enough to do
without it, another one takes its place for a while that comes late, but gets its share.

A hash has no side effect: what a process that died had in hand is done again by the next one.
"""

import asyncio
import os
import socket
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass
from itertools import count

from restock.auth import hasher
from restock.auth.faults import HashingAway
from restock.kernel.settings import environment
from restock.kernel.telemetry import log

REST_S = 3.0
TRIES = 4
START_EVERY_S = 1.0  # at most
BUSY_S = 60.0  # how long a machine, or this worker, that was too busy is taken to be so


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the queue for a processor one stands, and how long a hash may take there."""

    niceness: int
    idle: bool
    patience_s: float


LAST = Place(niceness=19, idle=True, patience_s=0.5)  # a hash takes some 30 ms
# Another process, since without privileges none can be brought back from where it stands.
LATE = Place(niceness=10, idle=False, patience_s=10.0)  # no hash takes as long


class Hashing:
    """Hashes and verifies, `threads` at once. How many more may wait is for the caller to bound."""

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._process: _Process | None = None
        self._starting = asyncio.Lock()
        self._next_start = 0.0
        self._busy_until = 0.0
        self._jobs = 0
        self._rest: asyncio.TimerHandle | None = None
        self._closed = False

    async def close(self) -> None:
        """End the process; who still waits is told HashingAway."""
        self._closed = True
        if self._rest is not None:
            self._rest.cancel()
        async with self._starting:  # also one that is just being started
            if self._process is not None:
                self._process.end()
                await self._process.gone

    async def hash(self, password: str) -> str:
        """The PHC string of a password. Raises HashingAway."""
        return bytes.fromhex(await self._ask("hash", password)).decode()

    async def verify(self, stored: str, password: str) -> bool:
        """Whether the password is the stored one's. Raises HashingAway."""
        return await self._ask("verify", password, stored) == hasher.RIGHT

    async def _ask(self, verb: str, *words: str) -> str:
        job = " ".join((verb, *(word.encode().hex() for word in words)))
        self._jobs += 1
        if self._rest is not None:
            self._rest.cancel()
        try:
            for _ in range(TRIES):
                process = await self._running()
                try:
                    async with asyncio.timeout(process.place.patience_s):
                        return await process.ask(job)
                except TimeoutError:
                    first = not process.ended
                    process.end()
                    if not process.place.idle:
                        log.warning("hashing.stuck", pid=process.pid)
                        break
                    if first:
                        log.info("hashing.machine_busy", pid=process.pid)
                        self._busy_until = asyncio.get_running_loop().time() + BUSY_S
                        self._next_start = 0.0  # no start failed, and who waits has waited
                except _EndedError:
                    continue
            raise HashingAway()
        finally:
            self._jobs -= 1
            if not self._jobs and not self._closed:
                self._rest = asyncio.get_running_loop().call_later(REST_S, self._let_go)

    async def _running(self) -> "_Process":
        """The process, started if there is none. Raises HashingAway when it can't be."""
        clock = asyncio.get_running_loop().time
        async with self._starting:
            if 0 < self._busy_until <= clock():
                self._busy_until = 0.0
                if self._process is not None and not self._process.place.idle:
                    self._process.end()  # what it has in hand the next one does again
            if self._process is None or self._process.ended:
                if not self._closed:
                    await asyncio.sleep(self._next_start - clock())
                if self._closed:
                    raise HashingAway()
                self._next_start = clock() + START_EVERY_S
                place = LATE if clock() < self._busy_until else LAST
                try:
                    self._process = await _started(self._threads, place)
                except OSError as error:
                    log.warning("hashing.not_started", why=str(error))
                    raise HashingAway() from error
            return self._process

    def _let_go(self) -> None:
        if self._process is not None:
            self._process.end()


class _EndedError(Exception):
    """The process has ended before it answered."""


class _Process:
    """One started process, and who waits for its answers."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        place: Place,
        answers: StreamReader,
        jobs: StreamWriter,
    ) -> None:
        self.pid = process.pid
        self.place = place
        self.ended = False
        self._process = process
        self._answers = answers
        self._jobs = jobs
        self._numbers = count()
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self.gone = asyncio.create_task(self._listen(), name=f"hasher {process.pid}")

    async def ask(self, job: str) -> str:
        """Have a job done. Raises _EndedError."""
        if self.ended:
            raise _EndedError
        number = str(next(self._numbers))
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._jobs.write(f"{number} {job}\n".encode())
            answer: str = await waiting
            return answer
        finally:
            del self._waiting[number]

    async def _listen(self) -> None:
        """Pass answers on until there are no more, then see it off."""
        try:
            while line := await self._answers.readline():
                number, answer = line.decode().split()
                if (waiting := self._waiting.get(number)) and not waiting.done():
                    waiting.set_result(answer)
        except OSError:
            pass  # it died with jobs unread
        finally:
            told_to = self.ended
            self._give_up()
            self._jobs.close()
            code = await asyncio.to_thread(self._process.wait)
            if not told_to:
                log.warning("hashing.ended", pid=self.pid, returncode=code)

    def end(self) -> None:
        """End it, whatever it does, also one that is stopped; `gone` is done when it has."""
        self._process.kill()  # it keeps nothing that could get lost
        self._give_up()  # at once: one that comes last also takes its time to die

    def _give_up(self) -> None:
        """Tell who still waits that no answer will come."""
        self.ended = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_EndedError())


async def _started(threads: int, place: Place) -> _Process:
    """Start one. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = _spawned(threads, place, theirs.fileno())
        answers, jobs = await asyncio.open_unix_connection(sock=ours)
    except BaseException:
        ours.close()
        raise
    return _Process(process, place, answers, jobs)


def _spawned(threads: int, place: Place, channel: int) -> "subprocess.Popen[bytes]":
    """Start the program; it takes a millisecond or two. Raises OSError.

    Not by the event loop, since uvloop's hands down whatever file is inheritable: a listening
    socket may be, and its port would be taken for as long as this lives.
    """
    kept = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # without which some Pythons don't start
    env = {name: value for name, value in environment().items() if name in kept}
    # what we import it imports, without looking for it anew
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    words = (str(threads), str(place.niceness), *(["idle"] if place.idle else []))
    return subprocess.Popen(
        [sys.executable, "-P", "-S", hasher.__file__, *words],
        stdin=channel,
        stdout=channel,
        env=env,
        start_new_session=True,  # the Ctrl-C of a terminal is not for it
    )
