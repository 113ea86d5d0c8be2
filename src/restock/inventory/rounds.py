"""Rounds: changes of stock that come while others are written are written together (decision 0013).

A change is written alone, at once and in its request's own transaction, as long as few are under
way in its workspace. What comes while a round is written waits for its commit and is then the next
round: one statement, one transaction, one commit for all of them. Nothing waits for a round to
fill. A round is one workspace's and of one kind of change; it has at most one change of an item and
one under a key, and none of what is being written alone.

A round waits for no lock. What it can't make, because somebody else has the item or because it is
to be refused, is written alone afterwards, where it waits or is refused by itself: so nobody's
trouble is another's. Whoever's turn doesn't come soon is refused: an answer that comes after its
client has given up would be a change that nobody knows of.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from restock.inventory.faults import ItemBusy
from restock.inventory.store import changes
from restock.inventory.store.changes import Change
from restock.inventory.store.items import KeyTaken
from restock.kernel.database import Database, DatabaseAway, Tx
from restock.kernel.service import Context
from restock.kernel.tenants import Tenant

T = TypeVar("T")

# Changes of a workspace written alone before the next one opens a round, and as many of those that
# rounds left out.
ALONE_MOST = 2
ROUND_MOST = 64  # changes of a round: few milliseconds of work, which those that come wait for
TURN_WITHIN_S = 10.0  # with what it may take then, less than the gateway waits

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
    written alone, now. `in_round` from when a round takes it until that is written, `left_out` by
    one before. Its turn must come by `until`, as the loop's clock goes."""

    change: Change[Any]
    turn: "asyncio.Future[Any]"
    names: tuple[Any, ...]
    until: float
    alone: bool = False
    in_round: bool = False
    left_out: bool = False


@dataclass(slots=True, eq=False)
class Queue:
    """What is asked for in one workspace."""

    # by item, as one item's changes go one after the other; whose turn is next stands first
    waiting: dict[UUID, deque[Asked]] = field(default_factory=dict)
    left_out: deque[Asked] = field(default_factory=deque)  # of rounds: to be written alone
    # how many are being written alone: those left out of rounds counted by themselves, True
    alone: Counter[bool] = field(default_factory=Counter)
    taken: set[Any] = field(default_factory=set)  # items and keys of those, and of the left out
    in_round: bool = False

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.left_out or self.alone.total() or self.in_round)


class Rounds:
    """The changes of stock that this worker is asked for, in all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queues: dict[UUID, Queue] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def make(self, tx: Tx, change: Change[T]) -> T | None:
        """Make a change: alone, by `tx`, or in a round, which is committed when this returns.

        None: it can't be made on the item as it is. Cancelled, it is made whole or not at all.
        Raises KeyTaken, ItemBusy when its turn didn't come within TURN_WITHIN_S, and DatabaseAway
        when it isn't known to be committed.
        """
        workspace_id = change.who.workspace_id
        queue = self._queues.setdefault(workspace_id, Queue())
        loop = asyncio.get_running_loop()
        until = loop.time() + TURN_WITHIN_S
        asked = Asked(change, loop.create_future(), _names(change), until)
        _ask(queue, asked)
        self._go_on(workspace_id, queue, only=asked)
        timer = None if asked.turn.done() else loop.call_at(until, _give_up, asked)
        try:
            made: T | None = await asked.turn
            if asked.alone:
                made = await changes.make(tx, change)
            return made
        finally:
            if timer is not None:
                timer.cancel()
            if asked.alone:
                queue.alone[asked.left_out] -= 1
                queue.taken.difference_update(asked.names)
            self._go_on(workspace_id, queue)

    async def drain(self) -> None:
        """Return when no round is being written."""
        while self._running:
            await asyncio.wait(self._running)

    def _go_on(self, workspace_id: UUID, queue: Queue, only: Asked | None = None) -> None:
        """Begin what can be begun now. What has just come changes nothing for those before it, so
        then only it is looked at."""
        while queue.left_out and queue.alone[True] < ALONE_MOST:
            asked = queue.left_out.popleft()
            if asked.turn.done():  # whoever asked is gone
                queue.taken.difference_update(asked.names)
            else:
                _write_alone(queue, asked)
        while not queue.in_round and (following := next_round(queue, only)):
            if len(following) == 1 and queue.alone[False] < ALONE_MOST:
                queue.taken.update(following[0].names)
                _write_alone(queue, following[0])
            else:
                queue.in_round = True
                for asked in following:  # now: who is refused after this is written all the same
                    asked.in_round = True
                task = asyncio.create_task(self._write(workspace_id, queue, following))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        if queue.idle and self._queues.get(workspace_id) is queue:
            del self._queues[workspace_id]

    async def _write(self, workspace_id: UUID, queue: Queue, following: Sequence[Asked]) -> None:
        """Write a round, answer it, and go on with what came meanwhile."""
        made: Sequence[Any] = [None] * len(following)
        failure: Exception | None = None
        try:
            async with self._database.tx(single=True, tenant=Tenant(workspace_id)) as tx:
                made = await changes.make_all(tx, [asked.change for asked in following])
        except Exception as error:
            failure = None if was_undone(error) else error
        for asked, answer in zip(following, made, strict=True):
            asked.in_round = False
            if asked.turn.done():  # whoever asked is gone
                continue
            if failure is not None:
                asked.turn.set_exception(failure)
            elif answer is None and asked.until <= asyncio.get_running_loop().time():
                asked.turn.set_exception(ItemBusy())  # its timer has gone off meanwhile
            elif answer is None:
                queue.taken.update(asked.names)
                asked.left_out = True
                queue.left_out.append(asked)
            else:
                asked.turn.set_result(answer)
        queue.in_round = False
        self._go_on(workspace_id, queue)


def next_round(queue: Queue, only: Asked | None = None) -> list[Asked]:
    """Take the next round from a queue: the first that may be written now, and what may with it.

    At most one change of an item, so that every item has its turn.
    """
    following: list[Asked] = []
    names = set(queue.taken)
    for item_id in list(queue.waiting) if only is None else [only.change.item_id]:
        line = queue.waiting.get(item_id, ())
        while line and line[0].turn.done():  # whoever asked is gone
            line.popleft()
        if not line:
            queue.waiting.pop(item_id, None)
            continue
        asked = line[0]
        is_other = following and asked.change.kind is not following[0].change.kind
        if is_other or not names.isdisjoint(asked.names):
            continue
        following.append(line.popleft())
        names.update(asked.names)
        del queue.waiting[item_id]
        if line:
            queue.waiting[item_id] = line  # behind the others
        if len(following) == ROUND_MOST:
            break
    return following


def was_undone(error: Exception) -> bool:
    """Whether nothing of a round that failed so was committed."""
    said = error.__cause__ if isinstance(error, DatabaseAway) else error
    unknown = isinstance(said, asyncpg.StatementCompletionUnknownError)
    return isinstance(said, UNDONE) and not unknown


def _ask(queue: Queue, asked: Asked) -> None:
    line = queue.waiting.setdefault(asked.change.item_id, deque())
    line.append(asked)


def _write_alone(queue: Queue, asked: Asked) -> None:
    asked.alone = True
    queue.alone[asked.left_out] += 1
    asked.turn.set_result(None)


def _give_up(asked: Asked) -> None:
    """Its turn didn't come; in a round it is known by its answer, which is bounded by itself."""
    if not asked.turn.done() and not asked.in_round:
        asked.turn.set_exception(ItemBusy())


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
