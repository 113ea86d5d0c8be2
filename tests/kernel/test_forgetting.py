"""What every service forgets by age: kept answers and handled events, and neither too soon."""

from datetime import timedelta

from restock.engines.streams import DEADLETTERS, LARGEST_BYTES, SECOND_NS, definition
from restock.kernel import idempotency, inbox
from restock.kernel.ids import new_id
from restock.kernel.tenants import EVERYBODY
from tests.fixtures.running import RunningService
from tests.fixtures.tokens import token_for

PROMISED = timedelta(hours=24)  # docs, "Idempotency-Key": at least


async def age(notes: RunningService, column: str, by: timedelta) -> None:
    """Let time pass for the rows of a table."""
    table, _, name = column.partition(".")
    async with notes.owner.tx(single=True) as tx:
        await tx.execute(f"UPDATE {table} SET {name} = {name} - $1::interval", by)


async def test_a_kept_answer_is_given_for_longer_than_is_promised(notes: RunningService) -> None:
    token, headers = token_for(), {"Idempotency-Key": "k1"}

    async def is_first() -> bool:
        path, body = "/api/notes:refused", {"text": "a"}
        answer = await notes.ask("POST", path, token=token, json=body, headers=headers)
        return "Idempotent-Replayed" not in answer.headers

    async def forgotten() -> int:
        async with notes.context.database.tx(single=True, tenant=EVERYBODY) as tx:
            return await idempotency.purge(tx)

    assert await is_first()
    await age(notes, "kept_answers.created_at", PROMISED)
    assert await forgotten() == 0
    assert not await is_first()
    await age(notes, "kept_answers.created_at", idempotency.KEPT - PROMISED)
    assert await forgotten() == 1
    assert await is_first()


async def test_a_handled_event_is_known_for_longer_than_it_can_come_again(
    notes: RunningService,
) -> None:
    event_id = new_id()
    ages = {name: definition(name, replicas=1)["max_age"] for name in LARGEST_BYTES}
    # what is published again from a dead letter on its last day
    lives = ages.pop(DEADLETTERS) + max(ages.values())

    async def forgotten() -> int:
        async with notes.context.database.tx(single=True) as tx:
            return await inbox.purge(tx)

    async with notes.context.database.tx() as tx:
        assert await inbox.first_time(tx, "notes", event_id)
    await age(notes, "inbox.seen_at", timedelta(seconds=lives / SECOND_NS) + timedelta(hours=12))
    assert await forgotten() == 0
    async with notes.context.database.tx() as tx:
        assert not await inbox.first_time(tx, "notes", event_id)
    await age(notes, "inbox.seen_at", timedelta(hours=12))
    assert await forgotten() == 1
