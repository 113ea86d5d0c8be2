"""The directory: registering, finding, reading and changing vendors."""

import asyncio
from collections import Counter
from datetime import datetime
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import pytest

from tests.vendor.desk import account, vendor_fields

FIELDS = set(vendor_fields()) | {"id", "rating", "isActive", "registeredAt", "workspaceId"}


async def test_registering_makes_an_active_unrated_vendor_of_the_callers_workspace(desk):
    who = account(role="vendor")
    fields = vendor_fields()
    answer = await desk.ask(who, "POST", "", json=fields)
    assert answer.status == 201
    vendor = answer.json
    assert set(vendor) == FIELDS
    assert {name: vendor[name] for name in fields} == fields
    assert (vendor["rating"], vendor["isActive"]) == (0, True)
    assert vendor["workspaceId"] == str(who.workspace_id)
    assert datetime.fromisoformat(vendor["registeredAt"]).utcoffset().total_seconds() == 0
    assert vendor["registeredAt"].endswith("Z")
    read = await desk.ask(account(), "GET", f"/{vendor['id']}")
    assert (read.status, read.json) == (200, vendor)


async def test_an_email_is_taken_whatever_its_case(desk):
    vendor = await desk.registered(account(), email="Élan@tea.example")
    for email in ("Élan@tea.example", "éLAN@TEA.example"):
        answer = await desk.ask(account(), "POST", "", json=vendor_fields(email=email))
        assert (answer.status, answer.json["code"]) == (409, "vendor.email_taken")
    assert vendor["email"] == "Élan@tea.example"
    assert await desk.count("vendors") == 1


async def test_of_many_at_once_with_one_email_one_registers(desk):
    calls = [
        desk.ask(
            account(),
            "POST",
            "",
            json=vendor_fields(email="tea@x.example" if n % 2 else "TEA@x.example"),
        )
        for n in range(24)
    ]
    answers = await asyncio.gather(*calls)
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 23}
    assert {a.json["code"] for a in answers if a.status == 409} == {"vendor.email_taken"}
    assert await desk.count("vendors") == 1
    assert await desk.count("outbox") == 1


async def test_two_changes_at_once_to_one_email_leave_it_with_one(desk):
    first, second = account(), account()
    vendors = [await desk.registered(first), await desk.registered(second)]
    answers = await asyncio.gather(
        *(
            desk.ask(who, "PATCH", f"/{vendor['id']}", json={"email": "same@x.example"})
            for who, vendor in zip((first, second), vendors, strict=True)
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 409]


async def test_one_account_may_have_several_vendors_and_hears_of_all(desk):
    who = account()
    for _ in range(3):
        await desk.registered(who)
    people = await desk.service.fetch("SELECT workspace_id, user_id FROM vendor_people")
    assert [tuple(row) for row in people] == [(who.workspace_id, who.user_id)]


async def test_the_list_shows_active_vendors_best_rated_first_then_newest(desk, rate):
    who = account()
    names = ["plain", "best", "gone", "good", "plain too"]
    vendors = {name: await desk.registered(who, name=name) for name in names}
    await rate(vendors["best"], "4.75")
    await rate(vendors["good"], "4.5")
    answer = await desk.ask(
        account(role="admin"), "PATCH", f"/{vendors['gone']['id']}", json={"isActive": False}
    )
    assert answer.status == 200
    listed = (await desk.ask(account(), "GET", "")).json
    assert [vendor["name"] for vendor in listed] == ["best", "good", "plain too", "plain"]
    assert [vendor["rating"] for vendor in listed] == [4.75, 4.5, 0, 0]
    assert all(set(vendor) == FIELDS for vendor in listed)


async def test_the_list_filters_without_case(desk):
    who = account()
    made = [
        ("Tea & Co", "Drinks", "London"),
        ("Épices d'Orient", "Spices", "Paris"),
        ("100% Oats", "Cereals", "London"),
    ]
    for name, category, city in made:
        await desk.registered(who, name=name, category=category, city=city)

    async def names(query):
        answer = await desk.ask(who, "GET", query)
        assert answer.status == 200
        return {vendor["name"] for vendor in answer.json}

    everything = {name for name, _, _ in made}
    assert await names("?category=drinks") == {"Tea & Co"}
    assert await names("?category=drink") == set()
    assert await names("?city=LONDON") == {"Tea & Co", "100% Oats"}
    assert await names("?city=london&category=CEREALS") == {"100% Oats"}
    assert await names("?search=" + quote("ÉPICES")) == {"Épices d'Orient"}
    assert await names("?search=oats") == {"100% Oats"}
    assert await names("?search=lond&category=drinks") == {"Tea & Co"}
    assert await names("?search=" + quote("%")) == {"100% Oats"}
    assert await names("?search=_") == set()
    assert await names("?search=&category=&city=") == everything
    assert await names("/category/dRINKS") == {"Tea & Co"}
    assert await names("/category/" + quote("no such")) == set()


async def test_pages_meet_every_vendor_once(desk, rate):
    who = account()
    vendors = [await desk.registered(who, category="Tea") for _ in range(7)]
    for vendor, rating in zip(vendors, ("1", "3.5", "3.5", "3.5", "5", "0", "1"), strict=True):
        await rate(vendor, rating)
    for path in ("", "/category/tea"):
        whole = (await desk.ask(who, "GET", path)).json
        assert len(whole) == 7
        met, page = [], path + "?limit=2"
        while page:
            answer = await desk.ask(who, "GET", page)
            assert answer.status == 200
            assert len(answer.json) <= 2
            met += answer.json
            link = answer.headers.get("Link")
            page = link and link[1 : link.index(">")].removeprefix("/api/vendors")
        assert met == whole


async def test_an_inactive_vendor_can_still_be_read(desk):
    vendor = await desk.registered(account())
    path = f"/{vendor['id']}"
    await desk.ask(account(role="admin"), "PATCH", path, json={"isActive": False})
    read = await desk.ask(account(), "GET", path)
    assert (read.status, read.json) == (200, vendor | {"isActive": False})


async def test_its_people_change_what_they_send_and_nothing_else(desk):
    who = account()
    vendor = await desk.registered(who)
    changes = {"city": "Leeds", "phone": "1", "email": "new@tea.example", "name": "Tea Ltd"}
    colleague = account(workspace_id=who.workspace_id)
    answer = await desk.ask(colleague, "PATCH", f"/{vendor['id']}", json=changes)
    assert (answer.status, answer.json) == (200, vendor | changes)
    assert (await desk.ask(account(), "GET", f"/{vendor['id']}")).json == vendor | changes


async def test_only_a_taken_email_is_called_one(desk, postgres):
    """Another constraint that stops an edit is a mistake of ours."""
    who = account()
    await desk.registered(who, phone="1")
    vendor = await desk.registered(who, phone="2")
    url = postgres.owner_url("vendor", database=desk.service.database_name)
    owner = await asyncpg.connect(url)
    await owner.execute("CREATE UNIQUE INDEX ON vendors (phone)")
    await owner.close()
    answer = await desk.ask(who, "PATCH", f"/{vendor['id']}", json={"phone": "1"})
    assert answer.status == 500


async def test_its_own_email_is_not_taken(desk):
    who = account()
    vendor = await desk.registered(who, email="tea@tea.example")
    answer = await desk.ask(who, "PATCH", f"/{vendor['id']}", json={"email": "TEA@tea.example"})
    assert (answer.status, answer.json["email"]) == (200, "TEA@tea.example")


async def test_a_taken_email_changes_nothing_and_can_be_asked_again_under_the_same_key(desk):
    who = account()
    await desk.registered(account(), email="taken@tea.example")
    vendor = await desk.registered(who)
    for _ in range(2):
        answer = await desk.ask(
            who,
            "PATCH",
            f"/{vendor['id']}",
            json={"email": "Taken@tea.example", "city": "Leeds"},
            headers={"Idempotency-Key": "k"},
        )
        assert (answer.status, answer.json["code"]) == (409, "vendor.email_taken")
    assert (await desk.ask(who, "GET", f"/{vendor['id']}")).json == vendor


@pytest.mark.parametrize(
    ("role", "own", "changes", "status"),
    [
        ("user", True, {"city": "Leeds"}, 200),
        ("vendor", True, {"city": "Leeds"}, 200),
        ("vendor", True, {"isActive": False}, 403),
        ("vendor", True, {"isActive": True}, 403),
        ("vendor", True, {"isActive": False, "city": "Leeds"}, 403),
        ("admin", True, {"isActive": False, "city": "Leeds"}, 200),
        ("user", False, {"city": "Leeds"}, 403),
        ("user", False, {"isActive": False}, 403),
        ("admin", False, {"isActive": False}, 200),
        ("admin", False, {"city": "Leeds"}, 403),
        ("admin", False, {"isActive": False, "city": "Leeds"}, 403),
    ],
)
async def test_who_may_change_what(desk, role, own, changes, status):
    owner = account()
    vendor = await desk.registered(owner)
    who = account(role=role, workspace_id=owner.workspace_id if own else None)
    answer = await desk.ask(who, "PATCH", f"/{vendor['id']}", json=changes)
    assert answer.status == status
    expected = vendor | changes if status == 200 else vendor
    assert (await desk.ask(owner, "GET", f"/{vendor['id']}")).json == expected
    if status == 403:
        assert answer.json["code"] == "vendor.edit_forbidden"


async def test_an_edit_without_sense_is_refused(desk):
    who = account(role="admin")
    vendor = await desk.registered(who)
    for body in ({}, {"isActive": None}, {"isActive": 1}, {"isActive": "true"}, [], "x"):
        assert (await desk.ask(who, "PATCH", f"/{vendor['id']}", json=body)).status == 422, body


async def test_an_unknown_vendor_is_not_found(desk):
    who = account(role="admin")
    for path in (f"/{uuid4()}", "/not-an-id"):
        assert (await desk.ask(who, "GET", path)).status == 404
    for changes in ({"city": "Leeds"}, {"isActive": False}):
        answer = await desk.ask(who, "PATCH", f"/{uuid4()}", json=changes)
        assert (answer.status, answer.json["code"]) == (404, "vendor.not_found")


async def test_a_registration_repeated_under_its_key_is_answered_again(desk):
    who, fields, headers = account(), vendor_fields(), {"Idempotency-Key": "one"}
    answers = await asyncio.gather(
        *(desk.ask(who, "POST", "", json=fields, headers=headers) for _ in range(8))
    )
    assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
    assert await desk.count("vendors") == 1
    assert await desk.count("outbox") == 1
    other = await desk.ask(who, "POST", "", json=vendor_fields(), headers=headers)
    assert other.status == 422


async def test_without_a_token_there_is_nothing(desk):
    for method, path in (
        ("POST", ""),
        ("GET", ""),
        ("GET", "/category/tea"),
        ("GET", "/requests"),
        ("GET", f"/{uuid4()}"),
        ("PATCH", f"/{uuid4()}"),
        ("POST", f"/{uuid4()}/contact"),
        ("GET", f"/{uuid4()}/requests"),
        ("PATCH", f"/requests/{uuid4()}/status"),
    ):
        answer = await desk.ask(None, method, path, headers={"Idempotency-Key": "k"})
        assert answer.status == 401, (method, path)
    assert await desk.count("kept_answers") == 0
