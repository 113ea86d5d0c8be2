"""The inbox over HTTP: what each event puts there, and what its owner may do with it."""

import asyncio

import pytest

from restock.events.inventory import ItemFellLow, ItemRanOut, ItemRecovered
from restock.events.vendor import RequestFulfilled, RequestOpened, RequestResponded
from restock.kernel.ids import new_id
from tests.notification.happenings import fell_low, happen, request_event, stock_event

FIELDS = {"id", "userId", "type", "message", "itemId", "read", "createdAt", "seq", "data"}


async def listed(service, who, query=""):
    answer = await service.ask("GET", f"/api/notifications{query}", token=who.token)
    assert answer.status == 200
    return answer.json


async def unread(service, who):
    answer = await service.ask("GET", "/api/notifications/unread-count", token=who.token)
    assert answer.status == 200
    return answer.json["unread"]


async def truly_unread(service, who):
    return await service.fetchval(
        "SELECT count(*) FROM notifications WHERE user_id = $1 AND NOT read", who.user_id
    )


@pytest.mark.parametrize(
    ("kind", "type_", "message"),
    [
        (ItemFellLow, "low_stock", "Low stock alert: Flour"),
        (ItemRanOut, "out_of_stock", "Out of stock: Flour"),
        (ItemRecovered, "back_in_stock", "Back in stock: Flour"),
    ],
)
async def test_a_crossing_of_stock_is_told_to_the_items_owner(inbox, ada, kind, type_, message):
    event = stock_event(kind, ada.user_id)
    await happen(inbox, event)
    [told] = await listed(inbox, ada)
    assert set(told) == FIELDS
    assert (told["type"], told["message"], told["read"]) == (type_, message, False)
    assert (told["userId"], told["itemId"]) == (str(ada.user_id), str(event.item_id))
    assert (told["data"]["quantity"], told["data"]["minThreshold"]) == (4.5, 5)
    assert told["createdAt"].endswith("Z")


async def test_a_request_is_told_to_each_of_the_vendors_people_and_not_the_buyer(inbox, ada, bob):
    buyer, people = new_id(), [ada.user_id, bob.user_id, ada.user_id]
    event = request_event(RequestOpened, buyer=buyer, people=people)
    await happen(inbox, event)
    for who in (ada, bob):
        [told] = await listed(inbox, who)
        assert told["type"] == "vendor_request"
        assert told["message"] == "New contact request from Ada for 25 units"
        assert told["itemId"] == str(event.item_id)
        assert told["data"]["requestId"] == str(event.id)
        assert await unread(inbox, who) == 1
    assert await inbox.fetchval("SELECT count(*) FROM feeds WHERE user_id = $1", buyer) == 0


async def test_the_request_itself_is_sequenced_beside_its_notification(inbox, ada):
    await happen(inbox, fell_low(ada.user_id))
    event = request_event(RequestOpened, buyer=new_id(), people=[ada.user_id])
    await happen(inbox, event)
    [row] = await inbox.fetch("SELECT * FROM announcements WHERE user_id = $1", ada.user_id)
    assert (row["seq"], row["name"]) == (3, "vendor_contact_request")
    assert row["data"]["id"] == str(event.id)
    assert [n["seq"] for n in await listed(inbox, ada)] == [2, 1]


@pytest.mark.parametrize(
    ("kind", "type_", "message"),
    [
        (RequestResponded, "request_responded", "Mill & Sons responded to your request for Flour"),
        (RequestFulfilled, "request_fulfilled", "Mill & Sons fulfilled your request for Flour"),
    ],
)
async def test_a_step_of_a_request_is_told_to_its_buyer(inbox, ada, bob, kind, type_, message):
    await happen(inbox, request_event(kind, buyer=ada.user_id, people=[bob.user_id]))
    [told] = await listed(inbox, ada)
    assert (told["type"], told["message"]) == (type_, message)
    assert await listed(inbox, bob) == []


async def test_pages_follow_each_other_newest_first(inbox, ada):
    for number in range(7):
        await happen(inbox, fell_low(ada.user_id, name=f"item {number}"))
    found, path, pages = [], "/api/notifications?limit=3", 0
    while path:
        answer = await inbox.ask("GET", path, token=ada.token)
        found += [n["seq"] for n in answer.json]
        link = answer.headers.get("Link", "")
        path = link.partition("<")[2].partition(">")[0]
        pages += 1
    assert (found, pages) == ([7, 6, 5, 4, 3, 2, 1], 3)


async def test_fifty_are_listed_unless_told_otherwise(inbox, ada):
    for _ in range(51):
        await happen(inbox, fell_low(ada.user_id))
    assert len(await listed(inbox, ada)) == 50
    assert len(await listed(inbox, ada, "?limit=200")) == 51


@pytest.mark.parametrize("query", ["?limit=0", "?limit=201", "?cursor=x", "?unread=perhaps"])
async def test_a_question_that_makes_no_sense_is_refused(inbox, ada, query):
    answer = await inbox.ask("GET", f"/api/notifications{query}", token=ada.token)
    assert answer.status in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_unread_ones_can_be_asked_for(inbox, ada):
    for _ in range(3):
        await happen(inbox, fell_low(ada.user_id))
    newest = (await listed(inbox, ada))[0]
    await inbox.ask("PATCH", f"/api/notifications/{newest['id']}/read", token=ada.token)
    assert [n["seq"] for n in await listed(inbox, ada, "?unread=true")] == [2, 1]
    assert [n["seq"] for n in await listed(inbox, ada, "?unread=false")] == [3]


async def test_reading_one_changes_it_and_the_count_once(inbox, ada):
    for _ in range(2):
        await happen(inbox, fell_low(ada.user_id))
    first = (await listed(inbox, ada))[0]
    path = f"/api/notifications/{first['id']}/read"
    for _ in range(2):
        answer = await inbox.ask("PATCH", path, token=ada.token)
        assert (answer.status, answer.json) == (200, first | {"read": True})
    assert await unread(inbox, ada) == 1


async def test_read_all_and_delete_say_nothing_and_do_it(inbox, ada):
    for _ in range(3):
        await happen(inbox, fell_low(ada.user_id))
    first = (await listed(inbox, ada))[0]
    gone = await inbox.ask("DELETE", f"/api/notifications/{first['id']}", token=ada.token)
    assert (gone.status, gone.body) == (204, b"")
    assert await unread(inbox, ada) == 2
    answer = await inbox.ask("POST", "/api/notifications/read-all", token=ada.token)
    assert (answer.status, answer.body) == (204, b"")
    assert await unread(inbox, ada) == 0
    assert [n["read"] for n in await listed(inbox, ada)] == [True, True]
    again = await inbox.ask("DELETE", f"/api/notifications/{first['id']}", token=ada.token)
    assert again.json["code"] == "notification.notification_not_found"


async def test_somebody_elses_is_the_same_as_none(inbox, ada, bob):
    await happen(inbox, fell_low(ada.user_id))
    [hers] = await listed(inbox, ada)
    assert await listed(inbox, bob) == []
    for method, path in (("PATCH", "/{}/read"), ("DELETE", "/{}")):
        answers = []
        for notification_id in (hers["id"], new_id()):
            target = "/api/notifications" + path.format(notification_id)
            answer = await inbox.ask(method, target, token=bob.token)
            answers.append((answer.status, answer.json | {"requestId": ""}))
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
    await inbox.ask("POST", "/api/notifications/read-all", token=bob.token)
    assert await listed(inbox, ada) == [hers]
    assert await unread(inbox, ada) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/unread-count"),
        ("PATCH", "/01990000-0000-7000-8000-000000000000/read"),
        ("POST", "/read-all"),
        ("DELETE", "/01990000-0000-7000-8000-000000000000"),
    ],
)
async def test_nothing_without_a_token(inbox, method, path):
    answer = await inbox.ask(method, "/api/notifications" + path)
    assert answer.status == 401


async def test_a_repeated_key_answers_the_same_again(inbox, ada):
    await happen(inbox, fell_low(ada.user_id))
    [told] = await listed(inbox, ada)
    path, headers = f"/api/notifications/{told['id']}/read", {"Idempotency-Key": "k1"}
    answers = [await inbox.ask("PATCH", path, token=ada.token, headers=headers) for _ in range(2)]
    assert [(a.status, a.json) for a in answers] == [(200, told | {"read": True})] * 2


async def test_the_feed_has_no_gap_under_concurrent_writers(inbox, ada, bob):
    """Accounts in common, named in opposite orders: neither deadlock nor a number twice."""
    people = [ada.user_id, bob.user_id]
    events = []
    for number in range(40):
        events.append(fell_low(people[number % 2]))
        order = people if number % 4 < 2 else people[::-1]
        events.append(request_event(RequestOpened, buyer=new_id(), people=order))
    await asyncio.gather(*(happen(inbox, event) for event in events))
    for who in (ada, bob):
        rows = await inbox.fetch(
            """SELECT seq FROM notifications WHERE user_id = $1 UNION ALL
               SELECT seq FROM announcements WHERE user_id = $1 ORDER BY seq""",
            who.user_id,
        )
        assert [row["seq"] for row in rows] == list(range(1, 20 + 2 * 40 + 1))
        head = await inbox.fetchval("SELECT head FROM feeds WHERE user_id = $1", who.user_id)
        assert head == 20 + 2 * 40


async def test_the_unread_count_is_exact_whatever_happens_at_once(inbox, ada):
    for _ in range(60):
        await happen(inbox, fell_low(ada.user_id))
    ids = [n["id"] for n in await listed(inbox, ada, "?limit=200")]

    def ask(method, path):
        return inbox.ask(method, f"/api/notifications{path}", token=ada.token)

    work = []
    for number, notification_id in enumerate(ids):
        work += [ask("PATCH", f"/{notification_id}/read") for _ in range(1 + number % 2)]
        if number % 3 == 0:
            work += [ask("DELETE", f"/{notification_id}") for _ in range(2)]
        if number % 12 == 0:
            work.append(ask("POST", "/read-all"))
        work.append(happen(inbox, fell_low(ada.user_id)))
    done = await asyncio.gather(*work)
    statuses = {answer.status for answer in done if hasattr(answer, "status")}
    assert statuses <= {200, 204, 404}
    assert await unread(inbox, ada) == await truly_unread(inbox, ada)
    await ask("POST", "/read-all")
    assert await unread(inbox, ada) == await truly_unread(inbox, ada) == 0
