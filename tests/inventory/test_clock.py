"""PostgreSQL's clock jumps, forwards, backwards and back: rows have their times and ids from it."""

from itertools import pairwise

import pytest_asyncio

from restock.kernel import idempotency, inbox, outbox
from restock.kernel.runner import Housekeeping
from tests.fixtures.clock import JUMPS, DatabaseClock, newness, pages, there_and_back
from tests.inventory.stockroom import Stockroom, item_fields


@pytest_asyncio.fixture(loop_scope="session")
async def shop(make_service):
    return Stockroom(await make_service("inventory"))


@pytest_asyncio.fixture(loop_scope="session")
async def clock(shop, postgres):
    return await DatabaseClock.of(shop.service, postgres)


def reader(shop, who):
    return lambda path: shop.service.ask("GET", path, token=who.token)


@JUMPS
async def test_a_ledger_is_in_the_order_in_which_it_was_written(shop, clock, ada, jump):
    """Its `seq` is the item's own count, which no clock has a part in."""
    item, other, written = await shop.made(ada, quantity=100), await shop.made(ada), []
    for ahead in there_and_back(jump):
        await clock.be(ahead)
        written.append((await shop.move(ada, item, -3)).json)
        batch = await shop.batch(ada, "all", (item, 1), (other, 1), (item, 2))
        written += [result["movement"] for result in batch.json["results"][::2]]
        assert (await shop.count(ada, item, 90)).status == 200
        written.append((await shop.logs(ada, item))[0])
    assert [row["seq"] for row in written] == list(range(2, 22))

    async def between(page):
        """Turn the clock, and write one more."""
        await clock.be(there_and_back(jump)[page % 5])
        assert (await shop.move(ada, item, -1)).status == 201

    read = []
    path = f"/api/inventory/items/{item['id']}/logs?limit=3"
    async for page in pages(reader(shop, ada), path, between):
        read += page
    assert read[:-1] == written[::-1]
    assert read[-1]["seq"] == 1
    for later, earlier in pairwise(read):
        assert later["previousQuantity"] == earlier["newQuantity"]
    # these were truly written under clocks that ran apart: no other order is this one
    for column in ("createdAt", "id"):
        told = [row[column] for row in read]
        assert told not in (sorted(told), sorted(told, reverse=True)), column


@JUMPS
async def test_no_item_is_skipped_or_repeated(shop, clock, ada, jump):
    """Newest first by the clock that each was made under; a place in the list is for good."""
    made = []

    async def make():
        """One more, and another edited: when an item was changed has no part in its place."""
        fields = {"category": "Tea", "name": f"tea {len(made)}", "quantity": len(made) % 3}
        made.append(await shop.made(ada, **fields))
        path = f"/items/{made[len(made) // 2]['id']}"
        assert (await shop.ask(ada, "PATCH", path, json={"unit": "kg"}, if_match="*")).status == 200

    for ahead in (*there_and_back(jump), *there_and_back(-jump)):
        await clock.be(ahead)
        await make()
    ids = [item["id"] for item in made]
    assert ids != sorted(ids), "the clock was turned"

    async def between(page):
        await clock.be(there_and_back(jump)[page % 5])
        await make()

    for path in ("/items?", "/items?category=tea&", "/items?search=tea&", "/items?low=true&"):
        before, read = [item["id"] for item in made], []
        async for page in pages(reader(shop, ada), f"/api/inventory{path}limit=3", between):
            read += [newness(item) for item in page]
        assert read == sorted(set(read), reverse=True), path
        assert {item_id for _, item_id in read} >= set(before), path
    # and the lowest stock first: there the id only tells apart what is equal
    read = []
    async for page in pages(reader(shop, ada), "/api/inventory/items/low-stock?limit=3", between):
        read += [(item["quantity"], item["id"]) for item in page]
    assert read == sorted(set(read))
    assert {item_id for _, item_id in read} >= set(ids)


@JUMPS
async def test_a_key_gives_its_first_answer_whatever_the_time(shop, clock, ada, jump):
    """Also that of an edit, which housekeeping forgets when it is days old."""
    item = await shop.made(ada, quantity=50)
    one = {"itemId": item["id"], "delta": 2, "reason": "sale"}
    calls = (
        ("POST", "/items", item_fields(name="Once")),
        ("POST", f"/items/{item['id']}/movements", {"delta": -1, "reason": "sale"}),
        ("PATCH", f"/items/{item['id']}/quantity", {"quantity": 40, "reason": "stocktaking"}),
        ("POST", "/movements:batch", {"mode": "all", "movements": [one]}),
        ("PATCH", f"/items/{item['id']}", {"name": "Other"}),
    )

    async def answers(under):
        asked = [
            await shop.ask(ada, method, path, json=body, key=f"{under}/{number}", if_match="*")
            for number, (method, path, body) in enumerate(calls)
        ]
        assert {answer.status for answer in asked} == {200, 201}
        return [answer.body for answer in asked]

    keeping = Housekeeping(
        shop.service.context.database, [idempotency.purge, inbox.purge, outbox.purge]
    )
    first = []
    for ahead in there_and_back(jump):
        await clock.be(ahead)
        await keeping.look(shop.service.context.stopping)
        first.append(await answers(len(first)))
        effects = await shop.events(ada), await shop.logs(ada, item)
        for under, answered in enumerate(first):
            assert await answers(under) == answered
        assert (await shop.events(ada), await shop.logs(ada, item)) == effects
    assert await shop.service.fetchval("SELECT count(*) FROM kept_answers") == len(first)
