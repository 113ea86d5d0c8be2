"""The connection to NATS, and the consumers of JetStream.

Delivery is at least once. A message is acknowledged after the commit of its effect, whose
transaction also holds its id in the inbox. What fails is redelivered with growing delay and
parked as a dead letter after `FAILURES_MOST` tries, or at once while so much waits for another
try that it could hold up the rest (decision 0027); while the database is away nothing is taken.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import msgspec
import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.client import JetStreamContext
from prometheus_client import Counter

from restock.events import Event, decode
from restock.events.envelope import Envelope, unwrap
from restock.kernel import inbox
from restock.kernel.database import Database, DatabaseAway
from restock.kernel.stopping import pause, unless_stopped
from restock.kernel.telemetry import follow, log

FETCH_MOST = 50
# What a killed consumer had fetched waits this long for another. A batch that takes longer is
# delivered twice; the inbox keeps its effects single.
ACK_WAIT_S = 10.0
PULL_S = 5.0
FAILURES_MOST = 8
FAILURES_REMEMBERED = 10_000
# What was delivered and not acknowledged, whatever it waits for: beyond the most JetStream delivers
# nothing more to this service, so half of it is as much as may wait for another try.
PENDING_MOST = 10_000
UNKNOWN_OFFERED = 40
UNKNOWN_DELAY_S = 15.0
RETRY_DELAYS_S = (1, 5, 30, 120, 600)
AWAY_DELAY_S = 1.0

CONSUMED = Counter(
    "restock_events_consumed_total", "Events handled, by how it ended.", ["subject", "outcome"]
)

Handler = Callable[..., Awaitable[None]]


class Bus:
    """One process's connection to NATS. It comes and goes; services go on without it."""

    def __init__(self, url: str, *, service: str, user: str = "", password: str = "") -> None:
        self.nc = Client()
        self._url = url
        self._service = service
        self._user = user
        self._password = password
        self._was_connected = False
        self._closed = asyncio.Event()
        self._on_connect: list[Callable[[], Awaitable[None]]] = []

    @property
    def js(self) -> JetStreamContext:
        return self.nc.jetstream(timeout=5)

    @property
    def connected(self) -> bool:
        return self.nc.is_connected

    def on_connect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Have `callback` awaited at each connect and reconnect."""
        self._on_connect.append(callback)

    @asynccontextmanager
    async def pull(self, stream: str, consumer: str, batch: int) -> "AsyncIterator[Pull]":
        """Messages of a durable pull consumer, each as soon as it is there."""
        pull = Pull(self, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", batch)
        await pull.open()
        try:
            yield pull
        finally:
            await pull.close()

    async def publish_core(self, subject: str, payload: bytes) -> None:
        """Publish outside JetStream: at most once, dropped when nobody listens."""
        if self.connected:
            await self.nc.publish(subject, payload)

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected until told to stop."""
        connecting = asyncio.create_task(self._connect())
        await unless_stopped(stop, self._closed.wait())
        connecting.cancel()
        if not stop.is_set():
            # nats-py gives up for good on some errors of the server; a new process does not
            raise ConnectionError("the connection to NATS was closed for good")
        if self.nc.is_connected:
            try:
                async with asyncio.timeout(5):
                    await self.nc.drain()
            except (nats.errors.Error, TimeoutError, OSError):
                pass
        if not self.nc.is_closed:
            await self.nc.close()

    async def _connect(self) -> None:
        while not self.nc.is_connected:
            try:
                await self.nc.connect(
                    self._url,
                    user=self._user or None,
                    password=self._password or None,
                    name=self._service,
                    inbox_prefix=f"_INBOX_{self._service}".encode(),
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=cast(int, 0.25),  # seconds; the annotation is too narrow
                    ping_interval=5,
                    max_outstanding_pings=2,
                    error_cb=self._report,
                    reconnected_cb=self._connected,
                    disconnected_cb=self._disconnected,
                    closed_cb=self._closed_for_good,
                )
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("bus.connect_failed", why=repr(error))
                await asyncio.sleep(1)
        await self._connected()

    async def _connected(self) -> None:
        self._was_connected = True
        log.info("bus.connected")
        for callback in self._on_connect:
            try:
                await callback()
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("bus.callback_failed", why=repr(error))

    async def _disconnected(self) -> None:
        log.warning("bus.disconnected")

    async def _closed_for_good(self) -> None:
        if self._was_connected:
            self._closed.set()

    async def _report(self, error: Exception) -> None:
        log.warning("bus.error", why=repr(error))


class Pull:
    """A running pull request, renewed as it is used up.

    nats-py's own `fetch` of several holds back the first until the others are there or its time
    is over, which may be seconds.
    """

    def __init__(self, bus: Bus, subject: str, batch: int) -> None:
        self._bus = bus
        self._subject = subject
        self._request = msgspec.json.encode({"batch": batch, "expires": int(PULL_S * 1e9)})
        self._batch = batch
        self._left = 0
        self._subscription: Any = None

    async def open(self) -> None:
        self._inbox = self._bus.nc.new_inbox()
        self._subscription = await self._bus.nc.subscribe(self._inbox)

    async def next(self) -> Msg:
        """The next message. Raises nats.errors.Error and NotFoundError (the consumer is gone)."""
        while True:
            if self._left <= 0:
                await self._bus.nc.publish(self._subject, self._request, reply=self._inbox)
                self._left = self._batch
            try:
                message: Msg = await self._subscription.next_msg(timeout=PULL_S + 1)
            except nats.errors.TimeoutError:
                self._left = 0  # the server forgot the request, as it does when it restarts
                continue
            status = message.headers and message.headers.get("Status")
            if not status:
                self._left -= 1
                return message
            if status == "503":
                raise nats.js.errors.NotFoundError
            self._left = 0  # 408 its time is over, 409 it can't be served any longer

    async def close(self) -> None:
        """Give back at once what has arrived and was not handled."""
        with suppress(nats.errors.Error, OSError):
            await self._subscription.unsubscribe()
            while self._subscription.pending_msgs:
                message = await self._subscription.next_msg(timeout=0.1)
                if not message.headers or "Status" not in message.headers:
                    await message.nak()


class Consumers:
    """Feeds a service's handlers from one stream: a durable named after the service."""

    def __init__(
        self,
        *,
        stream: str,
        service: str,
        handlers: Mapping[type[Event], Handler],
        bus: Bus,
        database: Database,
        resources: Callable[[], Any],
    ) -> None:
        self._stream = stream
        self._service = service
        self._handlers = {kind.subject: (kind, handler) for kind, handler in handlers.items()}
        self._bus = bus
        self._database = database
        self._resources = resources
        self._failures: dict[int, int] = {}
        self._interrupted = asyncio.Event()
        bus.on_connect(self._pull_again)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until told to stop; the message in hand is finished first."""
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._interrupted.set())
        while not stop.is_set():
            self._interrupted.clear()
            if not self._bus.connected:
                await pause(stop, 0.1)
                continue
            if not await self._database.ping():
                await pause(stop, AWAY_DELAY_S)
                continue
            try:
                await self._ensure_consumer()
                async with self._bus.pull(self._stream, self._service, FETCH_MOST) as messages:
                    while not self._interrupted.is_set():
                        message = await unless_stopped(self._interrupted, messages.next())
                        if message is not None:
                            await self.handle(message)
            except nats.js.errors.NotFoundError:
                log.warning("bus.no_stream", stream=self._stream)
                await pause(stop, 1.0)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("bus.pull_failed", stream=self._stream, why=repr(error))
                await pause(stop, 0.5)

    async def _pull_again(self) -> None:
        """A server that was away has forgotten the pull request."""
        self._interrupted.set()

    async def handle(self, message: Msg) -> None:
        """One message: its effect, once; then ack, later redelivery, or the dead letters."""
        subject = message.subject
        try:
            if subject not in self._handlers:
                await self._leave_to_another(message)
                return
            kind, handler = self._handlers[subject]
            try:
                envelope = unwrap(message.data)
                event = decode(envelope.data, kind)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                await self._park(message, f"not readable: {error}")
                return
            follow(envelope.traceparent)
            try:
                outcome = await self._apply(envelope, event, handler)
            except DatabaseAway as error:
                log.warning("bus.database_away", subject=subject, why=repr(error.__cause__))
                CONSUMED.labels(subject, "put_off").inc()
                await message.nak(delay=AWAY_DELAY_S)
                if not await self._database.ping():
                    self._interrupted.set()  # the others aren't tried either until it answers
                return
            except Exception as error:  # whatever a handler raises, the message must not be lost
                await self._failed(message, error)
                return
            self._failures.pop(message.metadata.sequence.stream, None)
            await message.ack()
            CONSUMED.labels(subject, outcome).inc()
        except (nats.errors.Error, OSError, TimeoutError) as error:
            # it is redelivered after ACK_WAIT_S, and the inbox knows whether it had its effect
            log.warning("bus.answer_failed", subject=subject, why=repr(error))

    async def _apply(self, envelope: Envelope, event: Event, handler: Handler) -> str:
        async with self._database.tx() as tx:
            if not await inbox.first_time(tx, self._service, envelope.id):
                return "seen"
            await handler(tx, envelope, event, self._resources())
        return "handled"

    async def _failed(self, message: Msg, error: Exception) -> None:
        """Try again later, or never. Only tries that reached the handler count."""
        place = message.metadata.sequence.stream
        failures = self._failures[place] = self._failures.pop(place, 0) + 1
        if len(self._failures) > FAILURES_REMEMBERED:
            del self._failures[next(iter(self._failures))]
        log.error("bus.handler_failed", subject=message.subject, failures=failures, exc_info=error)
        if failures >= FAILURES_MOST or await self._is_crowded():
            await self._park(message, repr(error))
        else:
            delay = RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S)) - 1]
            await message.nak(delay=delay)
            CONSUMED.labels(message.subject, "retried").inc()

    async def _leave_to_another(self, message: Msg) -> None:
        """A subject this program doesn't know: a newer worker beside it may, during an upgrade.

        Where none takes it, it waits among the dead letters for the newer program to come back.
        """
        if message.metadata.num_delivered >= UNKNOWN_OFFERED or await self._is_crowded():
            await self._park(message, "this program doesn't know the subject, a newer one does")
            return
        await message.nak(delay=UNKNOWN_DELAY_S)
        CONSUMED.labels(message.subject, "unknown").inc()

    async def _is_crowded(self) -> bool:
        """Whether so much waits for another try that it could hold up the rest."""
        found = await self._bus.js.consumer_info(self._stream, self._service)
        return (found.num_ack_pending or 0) > (found.config.max_ack_pending or 0) // 2

    async def _park(self, message: Msg, why: str) -> None:
        """Keep the message where an operator finds it, then stop its redelivery."""
        place = message.metadata.sequence.stream
        await self._bus.js.publish(
            f"deadletters.{self._service}.{message.subject}",
            message.data,
            headers={
                "Nats-Msg-Id": f"{self._stream}-{place}-{self._service}",
                "Restock-Error": " ".join(why.split())[:500],
                "Restock-Deliveries": str(message.metadata.num_delivered),
            },
        )
        await message.term()
        self._failures.pop(place, None)
        log.error("bus.dead_letter", subject=message.subject, why=why)
        CONSUMED.labels(message.subject, "parked").inc()

    async def _ensure_consumer(self) -> None:
        """Make the durable, or widen it: a worker of an older version must not narrow what a
        newer one asked for, since what a filter passes over never comes back.
        """
        subjects = set(self._handlers)
        try:
            known = (await self._bus.js.consumer_info(self._stream, self._service)).config
            asked = set(known.filter_subjects or []) | {known.filter_subject or ""} - {""}
            is_wide = known.max_ack_pending == PENDING_MOST
        except nats.js.errors.NotFoundError:
            asked, is_wide = set(), False
        if subjects <= asked and is_wide:
            return
        await self._bus.js.add_consumer(
            self._stream,
            ConsumerConfig(
                name=self._service,
                durable_name=self._service,
                filter_subjects=sorted(subjects | asked),
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_S,
                max_ack_pending=PENDING_MOST,
                max_deliver=-1,
            ),
        )
