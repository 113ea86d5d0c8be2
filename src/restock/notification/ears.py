"""NATS subscriptions by the thousand, each for one account.

nats-py gives each subscription a queue and a task: 5 KiB, and a wake-up for each message. An `Ear`
is called where the message is read instead. It leans on what a Client asks of a Subscription, which
isn't documented; tests/notification/test_ears.py shows whether that still holds (decision 0016).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from restock.kernel.telemetry import log

Take = Callable[[bytes], None]


class Ear(Subscription):
    """One subject's subscription. `take` gets each message, and may not wait."""

    # as in a Subscription without queue group, limit, future and task
    _queue = ""
    _max_msgs = 0
    _future = None
    _jsi = None
    _pending_bytes_limit = 0
    _pending_next_msgs_calls: dict[Any, Any] = {}  # noqa: RUF012  never used, never changed
    _wait_for_msgs_task = None
    _message_iterator = None
    _closed = False

    def __init__(self, client: Client, number: int, subject: str, take: Take) -> None:
        self._conn = client
        self._id = number
        self._subject = subject
        self._received = 0
        self._pending_size = 0
        self._take = take
        self._pending_queue: Any = self

    def put_nowait(self, message: Msg) -> None:
        self._pending_size = 0
        try:
            self._take(message.data)
        except Exception as error:  # it would end the connection
            log.error("ears.failed", exc_info=error)

    def forget(self) -> None:
        """Hear no more, at once. The server may send on what nobody takes."""
        self._closed = True
        self._conn._remove_sub(self._id)

    async def _drain(self) -> None:
        """The connection ends: what is missed now is read from the database."""
        self._closed = True


async def listen(client: Client, subject: str, take: Take) -> Ear:
    """Hear a subject from now on, over reconnects too, until `Ear.unsubscribe`."""
    client._sid += 1
    ear = Ear(client, client._sid, subject, take)
    client._subs[ear._id] = ear
    try:
        await client._send_subscribe(ear)
    except BaseException:
        ear.forget()
        raise
    return ear


async def settle(client: Client, timeout_s: float) -> None:
    """Wait until the server knows of every ear. A Client's PING would overtake them by itself.

    Raises nats.errors.Error, OSError and TimeoutError.
    """
    await client._flush_pending(force_flush=True)
    reading = client._reading_task
    if not client.is_connected or reading is None or reading.done():
        raise nats.errors.ConnectionClosedError
    # Client.flush cancels a pong that is late, and the reading ends when it comes after all
    pong: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    await client._send_ping(pong)
    either: list[asyncio.Future[Any]] = [pong, reading]
    await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    if not pong.done():
        raise nats.errors.FlushTimeoutError
