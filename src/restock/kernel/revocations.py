"""Sessions ended before their tokens: every process knows them, within a second.

auth publishes `auth.session.revoked`. Each process reads the stream from as far back as a token
can live by any setting, before it is ready, and follows it: tokens are taken that another setting
made. When NATS is away it goes on with what it knows and says so.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from restock.events import decode
from restock.events.auth import SessionRevoked
from restock.events.envelope import unwrap
from restock.kernel.bus import Bus
from restock.kernel.ids import new_id
from restock.kernel.settings import TOKEN_MINUTES_MOST
from restock.kernel.stopping import pause, unless_stopped
from restock.kernel.telemetry import log

STREAM = "AUTH"
HEARTBEAT_S = 2.0
MARGIN_S = 60.0
LONGEST_LIFE_S = TOKEN_MINUTES_MOST * 60.0  # of an access token
PRUNE_EVERY_S = 60.0


class Revocations:
    """The revoked sessions this process knows."""

    def __init__(self) -> None:
        self.ready = False
        self.degraded = True
        self._ends: dict[UUID, float] = {}
        self._pruned_at = 0.0
        self._listeners: list[Callable[[UUID], None]] = []

    def is_revoked(self, session_id: UUID) -> bool:
        return session_id in self._ends

    def listen(self, callback: Callable[[UUID], None]) -> Callable[[], None]:
        """Have `callback` called with each newly revoked session; returns how to end that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def add(self, session_id: UUID, expires_at: datetime) -> None:
        """Know a session as revoked until no token of it can live.

        By a clock that never jumps: a session forgotten because of one that did would be good
        again when it is set right.
        """
        now = time.monotonic()
        if now - self._pruned_at > PRUNE_EVERY_S:
            self._pruned_at = now
            self._ends = {known: ends for known, ends in self._ends.items() if ends >= now}
        if session_id in self._ends:
            return
        left = max(LONGEST_LIFE_S, expires_at.timestamp() - time.time())
        self._ends[session_id] = now + left + MARGIN_S
        for callback in list(self._listeners):
            callback(session_id)


class RevocationFeed:
    """Keeps `Revocations` filled from the stream."""

    def __init__(self, revocations: Revocations, bus: Bus, *, service: str) -> None:
        self._revocations = revocations
        self._bus = bus
        self._service = service
        self._reading_ends = asyncio.Event()
        bus.on_connect(self._start_over)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the stream until told to stop.

        Start over at each reconnect, since the server may have forgotten the consumer, and
        whenever the stream falls silent.
        """
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._reading_ends.set())
        while not stop.is_set():
            self._reading_ends.clear()
            try:
                if self._bus.connected:
                    await self._follow()
            except (nats.errors.Error, nats.js.errors.APIError, OSError, TimeoutError) as error:
                log.warning("revocations.feed_failed", why=repr(error))
                await pause(stop, 1.0)
            self._revocations.degraded = True
            await pause(stop, 0.1)

    async def _start_over(self) -> None:
        self._reading_ends.set()

    async def _follow(self) -> None:
        clock = _clock_ahead()
        inbox = self._bus.nc.new_inbox()
        subscription = await self._bus.nc.subscribe(inbox)
        try:
            since = datetime.now(UTC) - timedelta(seconds=LONGEST_LIFE_S + MARGIN_S)
            consumer = await self._bus.js.add_consumer(
                STREAM,
                ConsumerConfig(
                    name=f"{self._service}-{new_id().hex}",
                    deliver_subject=inbox,
                    deliver_policy=DeliverPolicy.BY_START_TIME,
                    opt_start_time=since,
                    filter_subject=SessionRevoked.subject,
                    ack_policy=AckPolicy.NONE,
                    max_deliver=1,
                    idle_heartbeat=HEARTBEAT_S,
                    inactive_threshold=30.0,
                    mem_storage=True,
                ),
            )
            waiting = (consumer.num_pending or 0) + (
                consumer.delivered.consumer_seq if consumer.delivered else 0
            )
            await self._read(subscription, waiting, clock)
        finally:
            with suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()

    async def _read(self, subscription: Subscription, waiting: int, clock: float) -> None:
        """Read until silence longer than three heartbeats; ready once `waiting` were read.

        Until the clock jumps, too: what was asked for began at a moment of the other time.
        """
        expected = 1
        while not self._reading_ends.is_set() and abs(_clock_ahead() - clock) < MARGIN_S:
            if waiting <= 0:
                self._revocations.ready = True
                self._revocations.degraded = False
            try:
                message = await unless_stopped(
                    self._reading_ends, subscription.next_msg(timeout=HEARTBEAT_S * 3)
                )
            except nats.errors.TimeoutError:
                return
            if message is None:
                return
            if message.headers and message.headers.get("Status") == "100":
                last = int(message.headers.get("Nats-Last-Consumer", "0"))
                if last >= expected:
                    return  # one was dropped on the way: read again from the start
                continue
            if message.metadata.sequence.consumer != expected:
                return
            expected += 1
            waiting -= 1
            self._learn(message)

    def _learn(self, message: Msg) -> None:
        try:
            event = decode(bytes(unwrap(message.data).data), SessionRevoked)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("revocations.unreadable", why=str(error))
            return
        self._revocations.add(event.session_id, event.expires_at)


def _clock_ahead() -> float:
    """By how much the clock is ahead of one that never jumps."""
    return time.time() - time.monotonic()
