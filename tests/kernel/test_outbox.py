"""The relay: several at once, without double work and without lost rows."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest

from restock.engines.nats import NatsEngine
from restock.engines.streams import SECOND_NS, definition
from restock.events.inventory import ItemFellLow
from restock.kernel import outbox
from restock.kernel.ids import new_id
from restock.kernel.outbox import BATCH, Relay
from tests.fixtures.running import RunningService
from tests.fixtures.tokens import token_for
from tests.kernel.conftest import MakeSample

ROWS = 700


class Sent:
    """Stands in for the bus: counts what is published, fails when told to."""

    connected = True

    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self.fails = 0

    @property
    def js(self) -> "Sent":
        return self

    async def publish(self, subject: str, payload: bytes, **options: Any) -> None:
        await asyncio.sleep(0)
        if self.fails > 0:
            self.fails -= 1
            raise TimeoutError
        self.ids[options["headers"]["Nats-Msg-Id"]] += 1


def event() -> ItemFellLow:
    return ItemFellLow(
        item_id=new_id(), workspace_id=new_id(), user_id=new_id(), name="x", unit="pcs",
        quantity=Decimal(1), min_threshold=None, seq=1,
    )  # fmt: skip


async def fill(notes: RunningService, count: int) -> set[str]:
    async with notes.context.database.tx() as tx:
        for _ in range(count):
            await outbox.put(tx, event(), workspace_id=None)
    return {str(row["id"]) for row in await notes.fetch("SELECT id FROM outbox")}


async def drain(relay: Relay) -> int:
    total = 0
    while published := await relay.publish_batch():
        total += published
    return total


async def test_relays_at_once_publish_each_row_once(notes: RunningService) -> None:
    sent = Sent()
    written = await fill(notes, ROWS)
    relays = [Relay(notes.context.database, sent) for _ in range(4)]  # type: ignore[arg-type]
    counts = await asyncio.gather(*(drain(relay) for relay in relays))
    # a relay that finds every row locked stops early; what others hold is theirs to finish
    assert sum(counts) == ROWS
    assert sent.ids == Counter(written)
    assert await notes.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL") == 0


async def test_what_fails_is_sent_again_and_holds_up_nothing_else(notes: RunningService) -> None:
    sent = Sent()
    sent.fails = 1
    written = await fill(notes, 5)
    relay = Relay(notes.context.database, sent)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        await relay.publish_batch()
    assert await notes.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL") == 1
    assert await relay.publish_batch() == 1
    assert sent.ids == Counter(written)


async def test_rows_beyond_a_batch_do_not_wait_for_the_poll(
    make_sample: MakeSample, nats: NatsEngine
) -> None:
    notes = await make_sample(nats=nats)
    await fill(notes, BATCH + 10)
    async with asyncio.timeout(20):
        while await notes.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"):
            await asyncio.sleep(0.01)
    operator = await notes.context.bus.js.publish(
        ItemFellLow.subject, b"{}", headers={"Nats-Msg-Id": "after"}
    )
    assert operator.seq == BATCH + 11


async def killed_relay(notes: RunningService, nats: NatsEngine, place: Path) -> dict[str, Any]:
    """Have a process relay that is killed before it marks what it published; JetStream's answer."""
    answer = place / "answer"
    database = {"RESTOCK_INVENTORY_DATABASE_URL": notes.context.settings.database_url}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kernel.killed_relay", str(answer),
        env=os.environ | database | nats.env_for("inventory"), cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    acknowledged: dict[str, Any] = json.loads(answer.read_text())
    return acknowledged


async def forget_what_was_published(nats: NatsEngine) -> None:
    """Let JetStream's own window against doubles be as short as it can be."""
    operator = nats.credential("operator")
    connection = await nats_client.connect(nats.url, user=operator.user, password=operator.password)
    wanted = definition("INVENTORY", replicas=1) | {"duplicate_window": SECOND_NS // 10}
    done = await connection.request("$JS.API.STREAM.UPDATE.INVENTORY", json.dumps(wanted).encode())
    assert "error" not in json.loads(done.data)
    await connection.close()


async def test_a_relay_killed_between_publishing_and_marking_has_one_effect(
    make_sample: MakeSample, nats: NatsEngine, tmp_path: Path
) -> None:
    """`kill -9`, five times, and each time JetStream stores the event anew."""
    heard = []

    async def hear(_tx: Any, envelope: Any, _event: Any, _resources: Any) -> None:
        heard.append(str(envelope.id))

    await forget_what_was_published(nats)
    notes = await make_sample(nats=nats, publishes=(), consumers={ItemFellLow: hear})
    written = await fill(notes, 1)
    stored = set()
    while len(stored) < 5:
        acknowledged = await killed_relay(notes, nats, tmp_path)
        if not acknowledged["duplicate"]:
            stored.add(acknowledged["seq"])
        assert await notes.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL") == 1
    async with asyncio.timeout(20):
        # the last one's transaction, and its lock, end when PostgreSQL notices its end
        relay = Relay(notes.context.database, notes.context.bus)
        while not await relay.publish_batch():
            await asyncio.sleep(0.01)
    [last] = await fill(notes, 1) - written
    assert await relay.publish_batch() == 1
    async with asyncio.timeout(20):
        while last not in heard:
            await asyncio.sleep(0.01)
    assert heard == [*written, last]
    assert await notes.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL") == 0


async def test_old_rows_are_forgotten_and_unpublished_ones_never(notes: RunningService) -> None:
    await fill(notes, 3)
    ids = [row["id"] for row in await notes.fetch("SELECT id FROM outbox ORDER BY id")]
    published = "UPDATE outbox SET published_at = now() - $2::interval WHERE id = $1"
    await notes.execute(published, ids[0], outbox.KEPT * 2)
    await notes.execute(published, ids[1], outbox.KEPT / 2)
    async with notes.context.database.tx() as tx:
        await outbox.purge(tx)
    left = [row["id"] for row in await notes.fetch("SELECT id FROM outbox ORDER BY id")]
    assert left == ids[1:]


async def test_the_request_id_goes_with_the_event(notes: RunningService) -> None:
    chosen = str(new_id())
    answer = await notes.ask(
        "PATCH", "/api/notes", token=token_for(), json={"text": "a"},
        headers={"X-Request-Id": chosen},
    )  # fmt: skip
    assert answer.headers["X-Request-Id"] == chosen
    parent = await notes.fetchval("SELECT traceparent FROM outbox")
    assert parent.split("-")[1] == chosen.replace("-", "")
