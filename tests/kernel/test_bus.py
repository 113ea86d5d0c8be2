"""The way of an event: outbox, JetStream, inbox; and what happens when a part is away."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import nats as nats_client
import pytest

from restock.engines.nats import NatsEngine
from restock.events import encode
from restock.events.auth import SessionRevoked
from restock.events.envelope import Envelope, wrap
from restock.events.inventory import ItemFellLow, ItemRanOut, ItemRecovered
from restock.kernel import bus, clock
from restock.kernel.database import DatabaseAway, Tx
from restock.kernel.ids import new_id
from tests.fixtures.running import RunningService
from tests.fixtures.tokens import token_for
from tests.kernel.conftest import MakeSample

PATH = "/api/notes"


class Heard:
    """A handler that writes what it hears, and what it is told to do first."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.fails = 0
        self.away = 0
        self.changed = asyncio.Event()

    async def __call__(
        self, tx: Tx, envelope: Envelope, event: ItemFellLow, resources: Any
    ) -> None:
        await tx.execute(
            "INSERT INTO notes (workspace_id, text, amount) VALUES ($1, $2, 0)",
            event.workspace_id,
            f"heard {event.name}",
        )
        if self.away > 0:
            self.away -= 1
            raise DatabaseAway
        if self.fails > 0:
            self.fails -= 1
            raise RuntimeError("not this time")
        tx.after_commit(lambda: self._hear(event.name))

    def _hear(self, name: str) -> None:
        self.names.append(name)
        self.changed.set()

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(20):
            while len(self.names) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.names


async def publish(nats: NatsEngine, subject: str, payload: bytes, message_id: str) -> None:
    operator = nats.credential("operator")
    connection = await nats_client.connect(nats.url, user=operator.user, password=operator.password)
    await connection.jetstream().publish(subject, payload, headers={"Nats-Msg-Id": message_id})
    await connection.close()


def fell_low(name: str, *, event_id: UUID) -> bytes:
    event = ItemFellLow(
        item_id=new_id(), workspace_id=new_id(), user_id=new_id(), name=name, unit="pcs",
        quantity=Decimal(1), min_threshold=None, seq=1,
    )  # fmt: skip
    return wrap(
        event_id=event_id, subject=event.subject, occurred_at=clock.now(), data=encode(event),
        workspace_id=event.workspace_id, traceparent=None,
    )  # fmt: skip


def ran_out(name: str) -> bytes:
    """An event that only newer programs know."""
    return fell_low(name, event_id=new_id()).replace(b"fell_low", b"ran_out")


async def test_an_event_of_a_committed_request_is_heard_once(
    make_sample: MakeSample, nats: NatsEngine
) -> None:
    heard = Heard()
    notes = await make_sample(nats=nats, consumers={ItemFellLow: heard})
    for name in ("first", "second"):
        answer = await notes.ask("PATCH", PATH, token=token_for(), json={"text": name})
        assert answer.status == 200
    assert await heard.until(2) == ["first", "second"]
    async with asyncio.timeout(5):
        while await notes.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"):
            await asyncio.sleep(0.01)
    assert await notes.fetchval("SELECT count(*) FROM inbox") == 2
    assert await notes.fetchval("SELECT count(*) FROM notes WHERE text LIKE 'heard%'") == 2


async def test_an_event_does_not_wait_for_the_next_ones(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "PULL_S", 3600.0)
    heard = Heard()
    await make_sample(nats=nats, consumers={ItemFellLow: heard})
    for count in range(1, bus.FETCH_MOST + 5):
        message = fell_low(str(count), event_id=new_id())
        await publish(nats, ItemFellLow.subject, message, str(count))
        assert len(await heard.until(count)) == count


async def test_tries_while_the_database_was_away_do_not_count(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "RETRY_DELAYS_S", (0.01,))
    monkeypatch.setattr(bus, "AWAY_DELAY_S", 0.01)
    monkeypatch.setattr(bus, "FAILURES_MOST", 3)
    heard = Heard()
    heard.away, heard.fails = 10, 2
    await make_sample(nats=nats, consumers={ItemFellLow: heard})
    await publish(nats, ItemFellLow.subject, fell_low("late", event_id=new_id()), "m1")
    assert await heard.until(1) == ["late"]


async def test_nothing_is_tried_while_the_database_is_away(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "AWAY_DELAY_S", 0.01)
    heard = Heard()
    notes = await make_sample(nats=nats, consumers={ItemFellLow: heard})
    asked, answers = 0, False
    enough = asyncio.Event()

    async def ping() -> bool:
        nonlocal asked
        asked += 1
        if asked > 10:
            enough.set()
        return answers

    monkeypatch.setattr(notes.context.database, "ping", ping)
    heard.away = 1
    for number in range(3):
        message = fell_low(str(number), event_id=new_id())
        await publish(nats, ItemFellLow.subject, message, f"m{number}")
    async with asyncio.timeout(10):
        await enough.wait()
    assert heard.names == []
    answers = True
    assert sorted(await heard.until(3)) == ["0", "1", "2"]


async def test_an_older_program_does_not_narrow_what_a_newer_one_hears(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "UNKNOWN_DELAY_S", 0.01)
    newer, older = Heard(), Heard()
    await make_sample(nats=nats, consumers={ItemFellLow: newer, ItemRanOut: newer})
    # what only the older one hears has to be asked for, beside what it doesn't know
    await make_sample(nats=nats, consumers={ItemFellLow: older, ItemRecovered: older})
    for number in range(6):
        message = ran_out(f"n{number}")
        await publish(nats, ItemRanOut.subject, message, f"m{number}")
    assert len(await newer.until(6)) == 6


async def test_a_connection_closed_for_good_ends_the_worker(
    make_sample: MakeSample, nats: NatsEngine
) -> None:
    notes = await make_sample(nats=nats)
    connection = notes.context.bus.nc
    await connection._process_err("Some Error Of The Server")
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionError):
            await asyncio.shield(notes.task)
    notes.ended_badly = True


async def test_an_event_delivered_again_has_no_second_effect(
    make_sample: MakeSample, nats: NatsEngine
) -> None:
    heard = Heard()
    await make_sample(nats=nats, consumers={ItemFellLow: heard})
    event_id = new_id()
    # another Nats-Msg-Id: the server's own window must not be what removes it
    for attempt in range(3):
        message = fell_low("once", event_id=event_id)
        await publish(nats, ItemFellLow.subject, message, f"{event_id}-{attempt}")
    await publish(nats, ItemFellLow.subject, fell_low("last", event_id=new_id()), "last")
    assert await heard.until(2) == ["once", "last"]


async def test_a_failed_event_is_tried_again(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "RETRY_DELAYS_S", (0.01,))
    heard = Heard()
    heard.fails = 3
    notes = await make_sample(nats=nats, consumers={ItemFellLow: heard})
    await publish(nats, ItemFellLow.subject, fell_low("at last", event_id=new_id()), "m1")
    assert await heard.until(1) == ["at last"]
    assert await notes.fetchval("SELECT count(*) FROM notes") == 1


async def dead_letters(nats: NatsEngine, count: int) -> list[Any]:
    operator = nats.credential("operator")
    connection = await nats_client.connect(nats.url, user=operator.user, password=operator.password)
    subscription = await connection.jetstream().pull_subscribe(
        "deadletters.>", durable="reader", stream="DEADLETTERS"
    )
    messages = await subscription.fetch(count, timeout=15)
    await connection.close()
    return messages


async def test_what_always_fails_is_parked_and_the_rest_goes_on(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "RETRY_DELAYS_S", (0.01,))
    monkeypatch.setattr(bus, "FAILURES_MOST", 3)
    heard = Heard()
    heard.fails = 3
    await make_sample(nats=nats, consumers={ItemFellLow: heard})
    message = fell_low("never", event_id=new_id())
    await publish(nats, ItemFellLow.subject, message, "m1")
    [parked] = await dead_letters(nats, 1)
    assert parked.subject == "deadletters.inventory.inventory.item.fell_low"
    assert parked.data == message
    assert parked.headers["Restock-Deliveries"] == "3"
    assert "not this time" in parked.headers["Restock-Error"]
    await publish(nats, ItemFellLow.subject, fell_low("next", event_id=new_id()), "m2")
    assert await heard.until(1) == ["next"]


async def test_many_that_fail_do_not_hold_up_the_rest(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though each of them would wait for another try."""
    monkeypatch.setattr(bus, "FETCH_MOST", 1)
    monkeypatch.setattr(bus, "PENDING_MOST", 8)
    monkeypatch.setattr(bus, "RETRY_DELAYS_S", (600.0,))
    heard = Heard()
    heard.fails = 20
    await make_sample(nats=nats, consumers={ItemFellLow: heard})
    for number in range(heard.fails):
        message = fell_low(f"never {number}", event_id=new_id())
        await publish(nats, ItemFellLow.subject, message, f"m{number}")
    await publish(nats, ItemFellLow.subject, fell_low("next", event_id=new_id()), "last")
    assert await heard.until(1) == ["next"]
    assert len(await dead_letters(nats, 16)) == 16  # the others are still being tried


async def taken_back(make_sample: MakeSample, nats: NatsEngine) -> None:
    """Have a newer program run that also hears ItemRanOut, and end it."""
    newer = await make_sample(nats=nats, consumers={ItemFellLow: Heard(), ItemRanOut: Heard()})
    newer.context.stopping.set()
    await newer.task


async def test_many_that_nobody_knows_do_not_hold_up_the_rest(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "FETCH_MOST", 1)
    monkeypatch.setattr(bus, "PENDING_MOST", 8)
    await taken_back(make_sample, nats)
    heard = Heard()
    await make_sample(nats=nats, consumers={ItemFellLow: heard})
    for number in range(20):
        message = ran_out("for the newer")
        await publish(nats, ItemRanOut.subject, message, f"m{number}")
    await publish(nats, ItemFellLow.subject, fell_low("known", event_id=new_id()), "last")
    assert await heard.until(1) == ["known"]


async def test_the_consumer_of_an_older_program_is_widened(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for another try may be more than it allowed."""
    with monkeypatch.context() as older:
        older.setattr(bus, "PENDING_MOST", 8)
        before = await make_sample(nats=nats, consumers={ItemFellLow: Heard()})
        before.context.stopping.set()
        await before.task
    heard = Heard()
    notes = await make_sample(nats=nats, consumers={ItemFellLow: heard})
    await publish(nats, ItemFellLow.subject, fell_low("new", event_id=new_id()), "m1")
    await heard.until(1)
    found = await notes.context.bus.js.consumer_info("INVENTORY", "inventory")
    assert found.config.max_ack_pending == bus.PENDING_MOST


async def test_what_no_program_knows_any_more_is_parked(
    make_sample: MakeSample, nats: NatsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the newer one was taken back: what came for it meanwhile is not lost."""
    monkeypatch.setattr(bus, "UNKNOWN_DELAY_S", 0.01)
    monkeypatch.setattr(bus, "UNKNOWN_OFFERED", 3)
    await taken_back(make_sample, nats)
    older = Heard()
    await make_sample(nats=nats, consumers={ItemFellLow: older})
    message = ran_out("for the newer")
    await publish(nats, ItemRanOut.subject, message, "m1")
    [parked] = await dead_letters(nats, 1)
    assert (parked.subject, parked.data) == (f"deadletters.inventory.{ItemRanOut.subject}", message)
    await publish(nats, ItemFellLow.subject, fell_low("known", event_id=new_id()), "m2")
    assert await older.until(1) == ["known"]


async def test_what_cannot_be_read_is_parked_at_once(
    make_sample: MakeSample, nats: NatsEngine
) -> None:
    await make_sample(nats=nats, consumers={ItemFellLow: Heard()})
    await publish(nats, ItemFellLow.subject, b"{}", "m1")
    [parked] = await dead_letters(nats, 1)
    assert parked.headers["Restock-Deliveries"] == "1"


async def test_requests_go_on_without_nats_and_their_events_arrive_afterwards(
    make_sample: MakeSample, nats: NatsEngine
) -> None:
    heard = Heard()
    notes = await make_sample(nats=nats, consumers={ItemFellLow: heard})
    await nats.stop()
    answer = await notes.ask("PATCH", PATH, token=token_for(), json={"text": "meanwhile"})
    assert answer.status == 200
    async with asyncio.timeout(10):
        while (await notes.ask("GET", "/health")).json["status"] != "degraded":
            await asyncio.sleep(0.05)
    await nats.start()
    assert await heard.until(1) == ["meanwhile"]


async def revoke(nats: NatsEngine, session_id: UUID) -> None:
    event = SessionRevoked(
        session_id=session_id, user_id=new_id(),
        expires_at=clock.now().replace(year=clock.now().year + 1),
    )  # fmt: skip
    message = wrap(
        event_id=new_id(), subject=event.subject, occurred_at=clock.now(), data=encode(event),
        workspace_id=None, traceparent=None,
    )  # fmt: skip
    await publish(nats, event.subject, message, str(new_id()))


async def until_refused(notes: RunningService, token: str) -> None:
    async with asyncio.timeout(10):
        while (await notes.ask("GET", PATH, token=token)).status != 401:
            await asyncio.sleep(0.01)


async def test_a_session_revoked_before_the_start_is_known_when_ready(
    make_sample: MakeSample, nats: NatsEngine
) -> None:
    session_id = new_id()
    await revoke(nats, session_id)
    notes = await make_sample(nats=nats)
    answer = await notes.ask("GET", PATH, token=token_for(session_id=session_id))
    assert answer.status == 401


async def test_a_session_revoked_while_running_is_heard_also_after_nats_was_away(
    make_sample: MakeSample, nats: NatsEngine
) -> None:
    notes = await make_sample(nats=nats)
    for restart in (False, True):
        if restart:
            await nats.stop()
            await nats.start()
        session_id = new_id()
        token = token_for(session_id=session_id)
        assert (await notes.ask("GET", PATH, token=token)).status == 200
        await revoke(nats, session_id)
        await until_refused(notes, token)
