"""What one process tells the others' sockets: one core NATS subject per account.

A push is sent after the commit that caused it and may be lost: then the sockets find out from the
feed's head, and read from the database what they missed.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from uuid import UUID

import msgspec
import nats.errors
from prometheus_client import Counter

from restock.kernel.bus import Bus
from restock.kernel.telemetry import log
from restock.notification.ears import Ear, listen, settle
from restock.notification.store import FeedState, Told

BYTES_MOST = 16 * 1024  # more is read from the database, at each client's own pace
QUEUED_MOST = 10_000
FLUSH_WITHIN_S = 1

PUSHED = Counter("restock_pushes_total", "Pushes between processes, by what became.", ["outcome"])


class Pushed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A sequenced event on its way: `data` is its JSON, not read on the way."""

    seq: int
    name: str
    data: msgspec.Raw


class Push(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """News of one account: its feed's state, events up to `head`, vendors it belongs to now.

    Events may be left out: who has less than `head` reads the rest from the database.
    """

    head: int = 0
    unread: int = 0
    revision: int = 0
    events: list[Pushed] = []
    vendors: list[UUID] = []


class Subscribed:
    """One account's pushes, until `end`."""

    __slots__ = ("_ear",)

    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    async def end(self) -> None:
        # a connection that is gone has taken the subscription with it
        with suppress(nats.errors.Error, OSError):
            await self._ear.unsubscribe()

    def forget(self) -> None:
        self._ear.forget()


class Pushes:
    """Sends pushes in the order of their commits, and hears those of accounts asked for."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queue: asyncio.Queue[tuple[UUID, Push] | None] = asyncio.Queue(QUEUED_MOST)

    def told(self, told: Told) -> None:
        """Push what a commit added to a feed."""
        events = [Pushed(e.seq, e.name, msgspec.Raw(e.data)) for e in told.events]
        state = told.state
        push = Push(state.head, state.unread, state.revision, events)
        if sum(len(event.data) for event in told.events) > BYTES_MOST:
            push = msgspec.structs.replace(push, events=[])
        self.put(state.user_id, push)

    def counted(self, state: FeedState) -> None:
        """Push a changed count of unread notifications."""
        self.put(state.user_id, Push(state.head, state.unread, state.revision))

    def belongs(self, user_id: UUID, vendor_id: UUID) -> None:
        """Push that an account belongs to a vendor."""
        self.put(user_id, Push(vendors=[vendor_id]))

    def put(self, user_id: UUID, push: Push) -> None:
        try:
            self._queue.put_nowait((user_id, push))
        except asyncio.QueueFull:
            PUSHED.labels("dropped").inc()

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is put, until told to stop and nothing is left."""
        stopping = asyncio.create_task(self._stop(stop))
        try:
            while (entry := await self._queue.get()) is not None:
                await self._send(*entry)
        finally:
            stopping.cancel()

    async def subscribe(
        self, hears: Mapping[UUID, Callable[[Push], None]]
    ) -> dict[UUID, Subscribed]:
        """Hear accounts' pushes from now on, each by its own function: what is committed later
        is heard or counted in the head. All of them, or none while NATS is away.
        """
        subscribed: dict[UUID, Subscribed] = {}
        if not self._bus.connected:
            return subscribed
        try:
            for user_id, hear in hears.items():
                ear = await listen(self._bus.nc, _subject(user_id), partial(_read, hear))
                subscribed[user_id] = Subscribed(ear)
            await settle(self._bus.nc, FLUSH_WITHIN_S)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            log.warning("pushes.subscribe_failed", why=repr(error))
            for one in subscribed.values():
                await one.end()  # the client would bring it back with the connection
            return {}
        except BaseException:  # a reconnect that is broken off takes who waits in it along
            for one in subscribed.values():
                one.forget()
            raise
        return subscribed

    async def _send(self, user_id: UUID, push: Push) -> None:
        outcome = "sent" if self._bus.connected else "dropped"
        try:
            await self._bus.publish_core(_subject(user_id), msgspec.json.encode(push))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            outcome = "dropped"
            log.warning("pushes.send_failed", why=repr(error))
        PUSHED.labels(outcome).inc()

    async def _stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        await self._queue.put(None)


def _subject(user_id: UUID) -> str:
    return f"push.user.{user_id}"


def _read(hear: Callable[[Push], None], data: bytes) -> None:
    try:
        push = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("pushes.unreadable", why=str(error))
    else:
        hear(push)


_decoder = msgspec.json.Decoder(Push)
