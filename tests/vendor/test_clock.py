"""PostgreSQL's clock jumps, forwards, backwards and back: requests keep their steps and places."""

from datetime import timedelta

import pytest_asyncio

from tests.fixtures.clock import JUMPS, DatabaseClock, newness, pages, there_and_back
from tests.vendor.desk import account


@pytest_asyncio.fixture(loop_scope="session")
async def clock(desk, postgres):
    return await DatabaseClock.of(desk.service, postgres)


@JUMPS
async def test_a_history_is_in_the_order_of_its_steps(desk, clock, jump):
    """By their numbers: the times beside them are those that the clock showed."""
    seller, buyer = account(), account()
    vendor = await desk.registered(seller)
    request = await desk.opened(buyer, vendor)
    taken = request["history"]
    for ahead, status in ((jump, "responded"), (-jump, "fulfilled")):
        await clock.be(ahead)
        stepped = (await desk.step(seller, request, status)).json
        assert stepped["history"][:-1] == taken
        taken = stepped["history"]
    assert [step["status"] for step in taken] == ["pending", "responded", "fulfilled"]
    times = [step["at"] for step in taken]
    turned = sorted(times, reverse=jump < timedelta())
    assert turned == [times[2], times[0], times[1]], "the clock was turned"
    for who, path in ((buyer, "/requests"), (seller, f"/{vendor['id']}/requests")):
        assert (await desk.ask(who, "GET", path)).json == [stepped]


@JUMPS
async def test_no_request_is_skipped_or_repeated(desk, clock, jump):
    """Newest first by the clock that each was opened under; a place in the list is for good."""
    seller, buyer, opened = account(), account(), []
    vendor = await desk.registered(seller)

    async def open_one(page):
        await clock.be(there_and_back(jump)[page % 5])
        opened.append(await desk.opened(buyer, vendor))

    for page in range(10):
        await open_one(page)
    ids = [request["id"] for request in opened]
    assert ids != sorted(ids), "the clock was turned"
    for who, path in ((buyer, "/requests"), (seller, f"/{vendor['id']}/requests")):
        before, read = list(opened), []

        async def ask(url, who=who):
            return await desk.service.ask("GET", url, token=who.token)

        async for page in pages(ask, f"/api/vendors{path}?limit=3", open_one):
            read += page
        met = [newness(request) for request in read]
        assert met == sorted(set(met), reverse=True)
        assert all(request in read for request in before)


@JUMPS
async def test_a_key_gives_its_first_answer_whatever_the_time(desk, clock, jump):
    buyer, first = account(), []
    vendor = await desk.registered(account())
    item = desk.inventory.put(buyer.token)
    for ahead in there_and_back(jump):
        await clock.be(ahead)
        answer = await desk.contact(buyer, vendor, item, headers={"Idempotency-Key": "once"})
        assert answer.status == 201
        first = first or [answer.body]
        assert [answer.body] == first
    assert await desk.count("contact_requests") == 1
