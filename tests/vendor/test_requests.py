"""Requests once they are open: who sees them, and the steps they take."""

import asyncio
from collections import Counter
from datetime import datetime
from uuid import uuid4

import pytest

from tests.vendor.desk import account


async def test_the_vendors_people_take_a_request_through_its_steps(desk):
    seller, buyer = account("Sal"), account()
    vendor = await desk.registered(seller)
    request = await desk.opened(buyer, vendor)
    colleague = account(workspace_id=seller.workspace_id)
    responded = await desk.step(seller, request, "responded")
    assert responded.status == 200
    fulfilled = await desk.step(colleague, request, "fulfilled")
    assert fulfilled.status == 200
    assert responded.json == request | {
        "status": "responded",
        "history": responded.json["history"],
    }
    history = fulfilled.json["history"]
    assert history[:2] == responded.json["history"]
    assert history[:1] == request["history"]
    assert [step["status"] for step in history] == ["pending", "responded", "fulfilled"]
    assert [step["userId"] for step in history] == [
        str(who.user_id) for who in (buyer, seller, colleague)
    ]
    times = [datetime.fromisoformat(step["at"]) for step in history]
    assert times == sorted(times)
    assert len(set(times)) == 3
    for who, path in ((buyer, "/requests"), (seller, f"/{vendor['id']}/requests")):
        assert (await desk.ask(who, "GET", path)).json == [fulfilled.json]


@pytest.mark.parametrize(
    ("taken", "asked"),
    [
        ([], "fulfilled"),
        (["responded"], "responded"),
        (["responded", "fulfilled"], "responded"),
        (["responded", "fulfilled"], "fulfilled"),
    ],
)
async def test_a_step_out_of_order_changes_nothing(desk, taken, asked):
    seller, buyer = account(), account()
    request = await desk.opened(buyer, await desk.registered(seller))
    for status in taken:
        request = (await desk.step(seller, request, status)).json
    before = await desk.count("outbox")
    answer = await desk.step(seller, request, asked)
    assert (answer.status, answer.json["code"]) == (409, "vendor.step_out_of_order")
    assert answer.json["current"] == request["status"]
    assert (await desk.ask(buyer, "GET", "/requests")).json == [request]
    assert await desk.count("outbox") == before


async def test_what_is_no_step_is_refused(desk):
    seller = account()
    request = await desk.opened(account(), await desk.registered(seller))
    path = f"/requests/{request['id']}/status"
    for body in (
        {},
        {"status": "pending"},
        {"status": "Responded"},
        {"status": None},
        {"status": "responded", "userId": str(uuid4())},
        {"status": "responded", "at": "2020-01-01T00:00:00Z"},
        [],
    ):
        assert (await desk.ask(seller, "PATCH", path, json=body)).status == 422, body
    assert await desk.count("request_steps") == 1


async def test_the_buyer_sees_his_request_but_may_not_step_it(desk):
    buyer = account()
    request = await desk.opened(buyer, await desk.registered(account()))
    for who in (buyer, account(workspace_id=buyer.workspace_id)):
        for status in ("responded", "fulfilled"):
            answer = await desk.step(who, request, status)
            assert (answer.status, answer.json["code"]) == (403, "vendor.not_its_people")
    assert (await desk.ask(buyer, "GET", "/requests")).json == [request]


async def test_to_others_a_request_is_not_there(desk):
    request = await desk.opened(account(), await desk.registered(account()))
    others = account(), account(role="vendor"), account(role="admin")
    for other in others:
        await desk.registered(other)
        answer = await desk.step(other, request, "responded")
        unknown = await desk.step(other, {"id": uuid4()}, "responded")
        assert (answer.status, answer.json["code"]) == (404, "vendor.request_not_found")
        hidden = {"requestId": None}
        assert answer.json | hidden == unknown.json | hidden
        assert (await desk.ask(other, "GET", "/requests")).json == []
    assert await desk.count("request_steps") == 1


async def test_a_vendors_requests_are_its_own_peoples(desk):
    seller, buyer = account(), account()
    vendor, other_vendor = await desk.registered(seller), await desk.registered(seller)
    request = await desk.opened(buyer, vendor)
    path = f"/{vendor['id']}/requests"
    for who in (seller, account(workspace_id=seller.workspace_id)):
        answer = await desk.ask(who, "GET", path)
        assert (answer.status, answer.json) == (200, [request])
    assert (await desk.ask(seller, "GET", f"/{other_vendor['id']}/requests")).json == []
    for who in (buyer, account(), account(role="admin")):
        answer = await desk.ask(who, "GET", path)
        assert (answer.status, answer.json["code"]) == (403, "vendor.not_its_people")
    answer = await desk.ask(seller, "GET", f"/{uuid4()}/requests")
    assert (answer.status, answer.json["code"]) == (404, "vendor.not_found")


async def test_sent_requests_are_the_workspaces(desk):
    buyer, other_buyer = account(), account()
    vendor = await desk.registered(account())
    mine = [await desk.opened(buyer, vendor) for _ in range(3)]
    await desk.opened(other_buyer, vendor)
    for who in (buyer, account(workspace_id=buyer.workspace_id)):
        assert (await desk.ask(who, "GET", "/requests")).json == mine[::-1]


async def test_a_vendor_that_asks_itself_is_on_both_sides(desk):
    who = account()
    vendor = await desk.registered(who)
    request = await desk.opened(who, vendor)
    assert (await desk.ask(who, "GET", "/requests")).json == [request]
    assert (await desk.step(who, request, "responded")).status == 200


async def test_pages_of_both_sides_meet_every_request_once(desk):
    seller, buyer = account(), account()
    vendor = await desk.registered(seller)
    made = [await desk.opened(buyer, vendor) for _ in range(5)]
    for who, path in ((buyer, "/requests"), (seller, f"/{vendor['id']}/requests")):
        met, page = [], path + "?limit=2"
        while page:
            answer = await desk.ask(who, "GET", page)
            assert 1 <= len(answer.json) <= 2
            met += answer.json
            link = answer.headers.get("Link")
            page = link and link[1 : link.index(">")].removeprefix("/api/vendors")
        assert met == made[::-1]


async def test_an_inactive_vendor_still_answers_what_it_was_asked(desk):
    seller = account()
    vendor = await desk.registered(seller)
    request = await desk.opened(account(), vendor)
    path = f"/{vendor['id']}"
    await desk.ask(account(role="admin"), "PATCH", path, json={"isActive": False})
    answer = await desk.step(seller, request, "responded")
    assert (answer.status, answer.json["vendor"]["isActive"]) == (200, False)


async def test_many_answering_at_once_take_one_step(desk):
    """Over and over: the first ones may come one by one, as connections are made for them."""
    seller, rounds = account(), 5
    vendor = await desk.registered(seller)
    colleagues = [account(workspace_id=seller.workspace_id) for _ in range(16)]
    for _ in range(rounds):
        request = await desk.opened(account(), vendor)
        answers = await asyncio.gather(
            *(desk.step(who, request, "responded") for who in colleagues)
        )
        assert Counter(answer.status for answer in answers) == {200: 1, 409: 15}
        assert {a.json["current"] for a in answers if a.status == 409} == {"responded"}
    assert await desk.count("request_steps") == 2 * rounds
    subjects = [row["subject"] for row in await desk.events()]
    assert subjects.count("vendor.request.responded") == rounds


async def test_steps_racing_each_other_stay_in_order_and_dated_in_order(desk):
    seller = account()
    request = await desk.opened(account(), await desk.registered(seller))
    wanted = ["responded", "fulfilled"] * 8
    answers = await asyncio.gather(*(desk.step(seller, request, status) for status in wanted))
    taken = [answer.json["status"] for answer in answers if answer.status == 200]
    assert sorted(taken, reverse=True) == ["responded", "fulfilled"][: len(taken)]
    (final,) = (await desk.ask(seller, "GET", f"/{request['vendorId']}/requests")).json
    history = [step["status"] for step in final["history"]]
    assert history == ["pending", "responded", "fulfilled"][: len(history)]
    times = [step["at"] for step in final["history"]]
    assert times == sorted(times)


async def test_a_step_repeated_under_its_key_is_answered_again(desk):
    seller = account()
    request = await desk.opened(account(), await desk.registered(seller))
    path = f"/requests/{request['id']}/status"
    answers = [
        await desk.ask(
            seller,
            "PATCH",
            path,
            json={"status": "responded"},
            headers={"Idempotency-Key": "step"},
        )
        for _ in range(2)
    ]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    assert await desk.count("request_steps") == 2
