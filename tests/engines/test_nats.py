"""Our own NATS: each service its own rights, streams that only the operator makes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats import connect as nats_connect
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import APIError

from restock.engines.datadir import DataDir
from restock.engines.failures import EngineError, PortTaken
from restock.engines.names import SERVICES
from restock.engines.nats import Credential, NatsEngine
from restock.engines.ports import listen
from restock.engines.streams import LARGEST_BYTES, connect, definition, ensure_streams
from tests.fixtures.ports import free_port


class Denials:
    """What the server refused a client, in the order asked."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    async def hear(self, error: Exception) -> None:
        if "permissions violation" in str(error):
            self.heard.put_nowait(str(error))


@asynccontextmanager
async def client_of(
    engine: NatsEngine, user: str, denials: Denials | None = None
) -> AsyncIterator[Client]:
    credential = engine.credential(user)
    client = await nats_connect(
        engine.url,
        user=user,
        password=credential.password,
        inbox_prefix=f"_INBOX_{user}".encode(),
        error_cb=(denials or Denials()).hear,
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
    )
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_publishes_only_what_is_its_own(nats: NatsEngine, service: str) -> None:
    denials = Denials()
    other = "vendor" if service != "vendor" else "auth"
    async with client_of(nats, service, denials) as client:
        jetstream = client.jetstream(timeout=5)
        if service != "notification":
            await jetstream.publish(f"{service}.thing.happened", b"{}")
        await jetstream.publish(f"deadletters.{service}.{other}.thing", b"{}")
        denied = [
            f"{other}.thing.happened",
            f"deadletters.{other}.x",
            "other",
            "$JS.API.STREAM.LIST",
            "$JS.API.STREAM.CREATE.MINE",
            "$JS.API.STREAM.DELETE.AUTH",
            "$JS.API.STREAM.PURGE.DEADLETTERS",
            "$JS.API.STREAM.MSG.DELETE.DEADLETTERS",
            "$JS.API.STREAM.MSG.GET.AUTH",
            f"$JS.API.CONSUMER.CREATE.INVENTORY.{other}",
            f"$JS.API.CONSUMER.DELETE.INVENTORY.{service}",
            f"_INBOX_{other}.x",
        ]
        if service != "notification":
            denied.append("push.someone")
        for subject in denied:
            await client.publish(subject, b"{}")
            assert f'publish to "{subject.lower()}"' in await denials.heard.get()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_hears_only_what_is_its_own(nats: NatsEngine, service: str) -> None:
    denials = Denials()
    other = "vendor" if service != "vendor" else "auth"
    denied = [">", f"{service}.>", f"_INBOX_{other}.>", "_INBOX.>", "$JS.>", "$SYS.>"]
    if service != "notification":
        denied.append("push.>")
    async with client_of(nats, service, denials) as client:
        for subject in denied:
            await client.subscribe(subject)
            assert f'subscription to "{subject.lower()}"' in await denials.heard.get()


async def test_notification_pushes_to_itself(nats: NatsEngine) -> None:
    async with client_of(nats, "notification") as one, client_of(nats, "notification") as two:
        hearing = await two.subscribe("push.someone")
        await two.flush()  # its PING overtakes what waits in nats-py's buffer: the subscription
        await two.flush()  # this one's comes behind it
        await one.publish("push.someone", b"hello")
        assert (await hearing.next_msg(5)).data == b"hello"


async def test_a_service_consumes_by_its_own_durable(nats: NatsEngine) -> None:
    async with client_of(nats, "inventory") as producer, client_of(nats, "notification") as client:
        await producer.jetstream(timeout=5).publish("inventory.item.fell_low", b"{}")
        jetstream = client.jetstream(timeout=5)
        await jetstream.add_consumer(
            "INVENTORY",
            ConsumerConfig(
                durable_name="notification",
                name="notification",
                filter_subjects=["inventory.item.fell_low", "inventory.item.ran_out"],
                ack_policy=AckPolicy.EXPLICIT,
            ),
        )
        subscription = await jetstream.pull_subscribe_bind("notification", "INVENTORY")
        (message,) = await subscription.fetch(1, timeout=5)
        await message.ack_sync(timeout=5)
        info = await subscription.consumer_info()
        assert (info.num_ack_pending, info.num_pending) == (0, 0)


async def test_nobody_without_a_password(nats: NatsEngine) -> None:
    for credential in (
        Credential("", ""),
        Credential("auth", "wrong"),
        Credential("operator", ""),
        Credential("auth", nats.credential("vendor").password),
    ):
        with pytest.raises(EngineError, match=r"(?i)authorization"):
            await connect(nats.url, credential)


async def test_the_streams_are_as_written_and_stay_so(nats: NatsEngine) -> None:
    async with client_of(nats, "operator") as client:
        jetstream = client.jetstream(timeout=5)
        assert {found.config.name for found in await jetstream.streams_info()} == set(LARGEST_BYTES)
        assert await ensure_streams(client) == []
        config = (await jetstream.stream_info("VENDOR")).config
        config.max_age = 3600
        await jetstream.update_stream(config)
        assert await ensure_streams(client) == ["VENDOR"]
        assert (await jetstream.stream_info("VENDOR")).config.max_age == 7 * 86_400
        for name in ("AUTH", "INVENTORY", "VENDOR"):
            with pytest.raises(APIError):
                await jetstream.purge_stream(name)
        await jetstream.publish("deadletters.auth.x", b"{}")
        assert await jetstream.delete_msg("DEADLETTERS", 1)


async def test_no_dead_letter_is_pushed_out_by_others(nats: NatsEngine) -> None:
    async with client_of(nats, "operator") as client:
        jetstream = client.jetstream(timeout=5)
        config = (await jetstream.stream_info("DEADLETTERS")).config
        config.max_bytes = 1000
        await jetstream.update_stream(config)
        await jetstream.publish("deadletters.auth.first", b"x" * 700)
        with pytest.raises(APIError, match="maximum bytes exceeded"):
            await jetstream.publish("deadletters.auth.second", b"x" * 700)
        kept = await jetstream.get_msg("DEADLETTERS", seq=1)
        assert kept.subject == "deadletters.auth.first"


def test_replicas_are_a_setting() -> None:
    assert definition("AUTH", replicas=3)["num_replicas"] == 3
    assert definition("AUTH", replicas=1)["deny_purge"]
    assert not definition("DEADLETTERS", replicas=1)["deny_delete"]


async def test_killed_it_comes_back_with_every_acknowledged_message(nats: NatsEngine) -> None:
    async with client_of(nats, "inventory") as client:
        jetstream = client.jetstream(timeout=5)
        for number in range(20):
            await jetstream.publish("inventory.item.changed", str(number).encode())
        before = nats.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        while nats.pid in (None, before) or not await nats.ready():
            await asyncio.sleep(0.005)
    async with client_of(nats, "operator") as client:
        info = await client.jetstream(timeout=5).stream_info("INVENTORY")
        assert info.state.messages == 20


async def test_messages_and_passwords_outlive_a_stop(nats: NatsEngine) -> None:
    password = nats.credential("inventory").password
    async with client_of(nats, "inventory") as client:
        await client.jetstream(timeout=5).publish("inventory.item.changed", b"{}")
    await nats.stop()
    assert nats.pid is None
    await nats.start()
    assert nats.credential("inventory").password == password
    async with client_of(nats, "operator") as client:
        info = await client.jetstream(timeout=5).stream_info("INVENTORY")
        assert info.state.messages == 1


async def test_every_write_is_synced_and_its_secrets_are_private(nats: NatsEngine) -> None:
    (path,) = [part for part in nats.home.iterdir() if part.suffix == ".json"]
    assert '"sync_interval": "always"' in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert nats.home.stat().st_mode & 0o077 == 0


async def test_a_taken_port_is_said(tmp_path: Path) -> None:
    port = free_port()
    directory = DataDir.claim(tmp_path / "data")
    with listen("127.0.0.1", port), pytest.raises(PortTaken, match=str(port)):
        await NatsEngine(directory, port=port).start()
    directory.release()
