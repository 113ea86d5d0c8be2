"""Passwords: argon2id in a bounded pool of threads.

A hash costs 19 MiB and some 30 ms of a processor, and a password check is free to ask for, so the
work is bounded twice: a few threads do it, and only so many callers may wait for them. Beyond
that a caller is refused at once and told when to come back. The threads come after everything else
that wants a processor, so that a flood of sign-ins slows down sign-ins.
"""

import asyncio
import os
import secrets
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self, TypeVar

from argon2 import Parameters, PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from prometheus_client import Counter, Histogram

from restock.auth.faults import TooManySignIns

T = TypeVar("T")

# OWASP's least memory for argon2id. Raise these and each password is hashed anew at its next
# sign-in; see `Passwords.check` for what can be told until then.
PARAMETERS = Parameters(
    type=Type.ID,
    version=19,
    salt_len=16,
    hash_len=32,
    time_cost=2,
    memory_cost=19 * 1024,
    parallelism=1,
)
RETRY_AFTER_S = 2
NICENESS = 10

hashing_seconds = Histogram(
    "restock_auth_password_seconds", "Time to hash or check one password, waiting included."
)
hashing_refused = Counter(
    "restock_auth_password_refused_total", "Passwords not looked at because too many waited."
)


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a password is right, and its new hash where the parameters have changed since."""

    right: bool
    rehashed: str | None = None


class Passwords:
    """Hashes and checks passwords, `threads` at once with at most `queue` more waiting."""

    def __init__(self, *, threads: int, queue: int, parameters: Parameters = PARAMETERS) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._threads = ThreadPoolExecutor(
            threads, thread_name_prefix="passwords", initializer=_step_back
        )
        self._places = threading.Semaphore(threads + queue)
        self._nobodys_hash = self._hasher.hash(secrets.token_urlsafe(16))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The PHC string of a new password. Raises TooManySignIns."""
        return await self._work(lambda: self._hasher.hash(_normal(password)))

    async def check(self, stored: str | None, password: str) -> Checked:
        """Compare a password with its stored hash, None where there is no such account.

        Without an account the same work is done on a hash that is nobody's, so that the time
        taken says nothing. One made before `PARAMETERS` were raised takes less time than nobody's:
        until its owner's next sign-in, that tells that there is such an account, and that it
        wasn't used since. Raises TooManySignIns.
        """
        return await self._work(lambda: self._check(stored, password))

    def _check(self, stored: str | None, password: str) -> Checked:
        normal = _normal(password)
        try:
            self._hasher.verify(stored or self._nobodys_hash, normal)
        except (VerificationError, InvalidHashError):
            return Checked(False)
        if stored is None:
            return Checked(False)
        if self._hasher.check_needs_rehash(stored):
            return Checked(True, self._hasher.hash(normal))
        return Checked(True)

    def require_room(self) -> None:
        """Raises TooManySignIns when there is none, before anything else is done for a caller."""
        self._enter()
        self._places.release()

    def _enter(self) -> None:
        if not self._places.acquire(blocking=False):
            hashing_refused.inc()
            # those who are refused together shall not come back together
            raise TooManySignIns(retry_after=RETRY_AFTER_S + secrets.randbelow(RETRY_AFTER_S + 1))

    async def _work(self, job: Callable[[], T]) -> T:
        self._enter()
        future = self._threads.submit(job)
        # given back when the work is over, not when its caller has gone
        future.add_done_callback(self._leave)
        with hashing_seconds.time():
            return await asyncio.wrap_future(future)

    def _leave(self, _: "Future[T]") -> None:
        self._places.release()


def _step_back() -> None:
    """Let what else there is to do go before this thread."""
    if sys.platform == "linux":  # where a thread has a niceness of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def hash_password(password: str) -> str:
    """The PHC string of a password, at once: for a command, never in a service's event loop."""
    return PasswordHasher.from_parameters(PARAMETERS).hash(_normal(password))


def _normal(password: str) -> str:
    """One spelling for what looks the same on every keyboard (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
