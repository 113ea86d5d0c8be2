"""Passwords: argon2id, bounded.

A hash costs 19 MiB and some 30 ms of a processor, and a password check is free to ask for, so the
work is bounded twice: a few are hashed at once, in a process of its own (`hashing`), and only so
many callers may wait for it. Beyond that a caller is refused at once and told when to come again.
That process comes after everything else that wants a processor, so that a flood of sign-ins slows
down sign-ins.
"""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from argon2 import PasswordHasher
from prometheus_client import Counter, Histogram

from restock.auth.faults import TooManySignIns
from restock.auth.hasher import PARAMETERS
from restock.auth.hashing import Hashing

T = TypeVar("T")

RETRY_AFTER_S = 2

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

    def __init__(self, *, threads: int, queue: int) -> None:
        self._hashing = Hashing(threads=threads)
        self._turns = asyncio.Semaphore(threads)
        self._places = threads + queue
        self._working: set[asyncio.Task[Any]] = set()
        self._nobodys_hash = hash_password(secrets.token_urlsafe(16))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hashing.close()

    async def hash(self, password: str) -> str:
        """The PHC string of a new password. Raises TooManySignIns, HashingAway."""
        return await self._work(lambda: self._hashing.hash(_normal(password)))

    async def check(self, stored: str | None, password: str) -> Checked:
        """Compare a password with its stored hash, None where there is no such account.

        Without an account the same work is done on a hash that is nobody's, so that the time
        taken says nothing. One made before `PARAMETERS` were raised takes less time than nobody's:
        until its owner's next sign-in, that tells that there is such an account, and that it
        wasn't used since. Raises TooManySignIns, HashingAway.
        """
        return await self._work(lambda: self._check(stored, _normal(password)))

    async def _check(self, stored: str | None, normal: str) -> Checked:
        right = await self._hashing.verify(stored or self._nobodys_hash, normal)
        if not right or stored is None:
            return Checked(False)
        if PasswordHasher.from_parameters(PARAMETERS).check_needs_rehash(stored):
            return Checked(True, await self._hashing.hash(normal))
        return Checked(True)

    def require_room(self) -> None:
        """Raises TooManySignIns when there is none, before anything else is done for a caller."""
        if not self._places:
            hashing_refused.inc()
            # those who are refused together shall not come back together
            raise TooManySignIns(retry_after=RETRY_AFTER_S + secrets.randbelow(RETRY_AFTER_S + 1))

    async def _work(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        self.require_room()
        self._places -= 1
        with hashing_seconds.time():
            try:
                await self._turns.acquire()
            except BaseException:
                self._places += 1
                raise
            working = asyncio.create_task(job())
            self._working.add(working)
            # given back when the work is over, not when its caller has gone
            working.add_done_callback(self._leave)
            return await asyncio.shield(working)

    def _leave(self, working: "asyncio.Task[Any]") -> None:
        self._working.discard(working)
        self._turns.release()
        self._places += 1


def hash_password(password: str) -> str:
    """The PHC string of a password, at once: for a command, never in a service's event loop."""
    return PasswordHasher.from_parameters(PARAMETERS).hash(_normal(password))


def _normal(password: str) -> str:
    """One spelling for what looks the same on every keyboard (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
