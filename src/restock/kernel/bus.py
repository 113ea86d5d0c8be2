"""The connection to NATS, and the consumers of JetStream.

Delivery is at least once. A message is acknowledged after the commit of its effect, whose
transaction also holds its id in the inbox. What fails is redelivered with growing delay and
parked as a dead letter after `DELIVERIES_MOST` tries; what fails because the database is away
waits as long as that lasts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
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
FETCH_WAIT_S = 5.0
# What a killed consumer had fetched waits this long for another. A batch that takes longer is
# delivered twice, and the inbox keeps its effects single.
ACK_WAIT_S = 10.0
DELIVERIES_MOST = 8
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

    async def publish_core(self, subject: str, payload: bytes) -> None:
        """Publish outside JetStream: at most once, dropped when nobody listens."""
        if self.connected:
            await self.nc.publish(subject, payload)

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected until told to stop."""
        connecting = asyncio.create_task(self._connect())
        await stop.wait()
        connecting.cancel()
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
                )
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("bus.connect_failed", why=repr(error))
                await asyncio.sleep(1)
        await self._connected()

    async def _connected(self) -> None:
        log.info("bus.connected")
        for callback in self._on_connect:
            try:
                await callback()
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("bus.callback_failed", why=repr(error))

    async def _disconnected(self) -> None:
        log.warning("bus.disconnected")

    async def _report(self, error: Exception) -> None:
        log.warning("bus.error", why=repr(error))


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

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until told to stop; the batch in hand is finished first."""
        subscription: JetStreamContext.PullSubscription | None = None
        while not stop.is_set():
            try:
                if not self._bus.connected:
                    subscription = None
                    await pause(stop, 0.25)
                    continue
                if subscription is None:
                    subscription = await self._subscribe()
                messages = await self._fetch(subscription, stop)
            except nats.js.errors.NotFoundError:
                subscription = None
                log.warning("bus.no_stream", stream=self._stream)
                await pause(stop, 1.0)
                continue
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("bus.fetch_failed", stream=self._stream, why=repr(error))
                subscription = None
                await pause(stop, 0.5)
                continue
            for message in messages:
                await self.handle(message)

    async def handle(self, message: Msg) -> None:
        """One message: its effect, once; then ack, later redelivery, or the dead letters."""
        deliveries = message.metadata.num_delivered
        try:
            try:
                envelope = unwrap(message.data)
                kind, handler = self._handlers[message.subject]
                event = decode(msgspec.Raw(envelope.data), kind)
            except (msgspec.DecodeError, KeyError, UnicodeDecodeError) as error:
                await self._park(message, f"not readable: {error}", deliveries)
                return
            follow(envelope.traceparent)
            try:
                outcome = await self._apply(envelope, event, handler)
            except DatabaseAway:
                await message.nak(delay=AWAY_DELAY_S)
                return
            except Exception as error:  # whatever a handler raises, the message must not be lost
                await self._failed(message, error, deliveries)
                return
            await message.ack()
            CONSUMED.labels(message.subject, outcome).inc()
        except (nats.errors.Error, OSError, TimeoutError) as error:
            # it is redelivered after ACK_WAIT_S, and the inbox knows whether it had its effect
            log.warning("bus.answer_failed", subject=message.subject, why=repr(error))

    async def _apply(self, envelope: Envelope, event: Event, handler: Handler) -> str:
        async with self._database.tx() as tx:
            if not await inbox.first_time(tx, self._service, envelope.id):
                return "seen"
            await handler(tx, envelope, event, self._resources())
        return "handled"

    async def _failed(self, message: Msg, error: Exception, deliveries: int) -> None:
        log.error(
            "bus.handler_failed", subject=message.subject, deliveries=deliveries, exc_info=error
        )
        if deliveries >= DELIVERIES_MOST:
            await self._park(message, repr(error), deliveries)
        else:
            delay = RETRY_DELAYS_S[min(deliveries, len(RETRY_DELAYS_S)) - 1]
            await message.nak(delay=delay)
            CONSUMED.labels(message.subject, "retried").inc()

    async def _park(self, message: Msg, why: str, deliveries: int) -> None:
        """Keep the message where an operator finds it, then stop its redelivery."""
        stored_as = f"{self._stream}-{message.metadata.sequence.stream}-{self._service}"
        await self._bus.js.publish(
            f"deadletters.{self._service}.{message.subject}",
            message.data,
            headers={
                "Nats-Msg-Id": stored_as,
                "Restock-Error": " ".join(why.split())[:500],
                "Restock-Deliveries": str(deliveries),
            },
        )
        await message.term()
        log.error("bus.dead_letter", subject=message.subject, why=why)
        CONSUMED.labels(message.subject, "parked").inc()

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        await self._bus.js.add_consumer(
            self._stream,
            ConsumerConfig(
                name=self._service,
                durable_name=self._service,
                filter_subjects=sorted(self._handlers),
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_S,
                max_ack_pending=1000,
                max_deliver=-1,
            ),
        )
        return await self._bus.js.pull_subscribe_bind(self._service, self._stream)

    async def _fetch(
        self, subscription: JetStreamContext.PullSubscription, stop: asyncio.Event
    ) -> list[Msg]:
        """The next messages, none when told to stop meanwhile."""
        try:
            fetching = subscription.fetch(FETCH_MOST, timeout=FETCH_WAIT_S)
            return await unless_stopped(stop, fetching) or []
        except nats.errors.TimeoutError:
            return []
