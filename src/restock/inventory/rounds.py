"""Rounds: changes of stock that come while others are written are written together (decision 0013).

A change is written alone, at once and in its request's own transaction, as long as few are under
way in its workspace. What comes while a round is written waits for its commit and is then the next
round: one statement, one transaction, one commit for all of them. Nothing waits for a round to
fill. A round is one workspace's and of one kind of change; it has at most one change of an item and
one under a key, and none of what is being written alone.

A round waits for no lock. What it can't make, because somebody else has the item or because it is
to be refused, is written alone afterwards, where it waits or is refused by itself: so nobody's
trouble is another's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from restock.inventory.store import changes
from restock.inventory.store.changes import Change
from restock.inventory.store.items import KeyTaken
from restock.kernel.database import Database, DatabaseAway, Tx
from restock.kernel.service import Context

T = TypeVar("T")

ALONE_MOST = 2  # changes of a workspace written alone, before the next one opens a round
ROUND_MOST = 64  # changes of a round: few milliseconds of work, which those that come wait for

# PostgreSQL itself says that it undid the round. After any other failure that isn't known, and
# making its changes again could make them twice.
UNDONE = (
    KeyTaken,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DataError,
)


@dataclass(slots=True, eq=False)
class Asked:
    """A change on its way. Done is `turn` with its answer from a round, or with None: it is to be
    written alone."""

    change: Change[Any]
    turn: "asyncio.Future[Any]"
    names: tuple[Any, ...]
    alone: bool = False


@dataclass(slots=True, eq=False)
class Queue:
    """What is asked for in one workspace."""

    waiting: deque[Asked] = field(default_factory=deque)
    # what is being written alone: how many changes, and their items and keys
    alone: int = 0
    taken: set[Any] = field(default_factory=set)
    in_round: bool = False


class Rounds:
    """The changes of stock that this worker is asked for, in all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queues: dict[UUID, Queue] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def make(self, tx: Tx, change: Change[T]) -> T | None:
        """Make a change: alone, by `tx`, or in a round, which is committed when this returns.

        None: it can't be made on the item as it is. Cancelled, it is made whole or not at all.
        Raises KeyTaken, and DatabaseAway when it isn't known to be committed.
        """
        queue = self._queues.setdefault(change.who.workspace_id, Queue())
        asked = Asked(change, asyncio.get_running_loop().create_future(), _names(change))
        queue.waiting.append(asked)
        self._go_on(queue)
        try:
            made: T | None = await asked.turn
            if asked.alone:
                made = await changes.make(tx, change)
            return made
        finally:
            if asked.alone:
                queue.alone -= 1
                queue.taken.difference_update(asked.names)
                self._go_on(queue)
            if not (queue.waiting or queue.alone or queue.in_round):
                self._queues.pop(change.who.workspace_id, None)

    async def drain(self) -> None:
        """Return when no round is being written."""
        while self._running:
            await asyncio.wait(self._running)

    def _go_on(self, queue: Queue) -> None:
        """Begin what can be begun now."""
        while not queue.in_round and (following := next_round(queue)):
            if len(following) == 1 and queue.alone < ALONE_MOST:
                _leave_alone(queue, following[0])
            else:
                queue.in_round = True
                task = asyncio.create_task(self._write(queue, following))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _write(self, queue: Queue, following: Sequence[Asked]) -> None:
        """Write a round, answer it, and go on with what came meanwhile."""
        made: Sequence[Any] = [None] * len(following)
        failure: Exception | None = None
        try:
            async with self._database.tx(single=True) as tx:
                made = await changes.make_all(tx, [asked.change for asked in following])
        except Exception as error:
            failure = None if was_undone(error) else error
        for asked, answer in zip(following, made, strict=True):
            if asked.turn.done():  # whoever asked is gone
                continue
            if failure is not None:
                asked.turn.set_exception(failure)
            elif answer is None:
                _leave_alone(queue, asked)
            else:
                asked.turn.set_result(answer)
        queue.in_round = False
        self._go_on(queue)


def next_round(queue: Queue) -> list[Asked]:
    """Take the next round from a queue: the first that may be written now, and what may with it."""
    following: list[Asked] = []
    left: list[Asked] = []
    names = set(queue.taken)
    while queue.waiting and len(following) < ROUND_MOST:
        asked = queue.waiting.popleft()
        if asked.turn.done():  # whoever asked is gone
            continue
        is_other = following and asked.change.kind is not following[0].change.kind
        if is_other or not names.isdisjoint(asked.names):
            left.append(asked)
        else:
            following.append(asked)
            names.update(asked.names)
    queue.waiting.extendleft(reversed(left))
    return following


def was_undone(error: Exception) -> bool:
    """Whether nothing of a round that failed so was committed."""
    return isinstance(error.__cause__ if isinstance(error, DatabaseAway) else error, UNDONE)


def _leave_alone(queue: Queue, asked: Asked) -> None:
    asked.alone = True
    queue.alone += 1
    queue.taken.update(asked.names)
    asked.turn.set_result(None)


def _names(change: Change[Any]) -> tuple[Any, ...]:
    """What a change doesn't share with another one that is written at the same time."""
    if change.key is None:
        return (change.item_id,)
    return (change.item_id, (change.who.user_id, change.key.key))


@asynccontextmanager
async def open_rounds(context: Context) -> AsyncIterator[Rounds]:
    """The service's rounds; none is being written any more at the end."""
    rounds = Rounds(context.database)
    try:
        yield rounds
    finally:
        await rounds.drain()
