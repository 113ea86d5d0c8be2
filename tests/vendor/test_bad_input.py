"""What is sent to the directory in a wrong form changes nothing and is refused with its place."""

import base64
import json
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.vendor.desk import account, vendor_fields


async def test_what_is_the_servers_can_not_be_set(desk):
    who = account()
    mine = await desk.registered(who)
    owned = {
        "rating": 5,
        "isActive": True,
        "workspaceId": str(uuid4()),
        "id": str(uuid4()),
        "registeredAt": "2020-01-01T00:00:00Z",
        "seq": 7,
        "surprise": 1,
    }
    for field, value in owned.items():
        answer = await desk.ask(who, "POST", "", json=vendor_fields() | {field: value})
        assert (answer.status, _pointer(answer)) == (422, f"/{field}")
    del owned["isActive"]  # an edit may name it; who may is another matter
    for field, value in owned.items():
        answer = await desk.ask(who, "PATCH", f"/{mine['id']}", json={field: value})
        assert (answer.status, _pointer(answer)) == (422, f"/{field}")
    assert (await desk.ask(who, "GET", "")).json == [mine]


async def test_each_field_is_a_text_of_1_to_200(desk):
    who = account()
    mine = await desk.registered(who)
    for field in vendor_fields():
        for value in ("", "x" * 201, None, 5, ["x"], "a\0b"):
            answer = await desk.ask(who, "POST", "", json=vendor_fields() | {field: value})
            assert (answer.status, _pointer(answer)) == (422, f"/{field}"), value
            answer = await desk.ask(who, "PATCH", f"/{mine['id']}", json={field: value})
            assert (answer.status, _pointer(answer)) == (422, f"/{field}"), value
        without = {name: text for name, text in vendor_fields().items() if name != field}
        answer = await desk.ask(who, "POST", "", json=without)
        assert (answer.status, _pointer(answer)) == (422, f"/{field}")
    longest = dict.fromkeys(vendor_fields(), "x" * 200) | {"email": "x" * 196 + "@x.y"}
    assert (await desk.ask(who, "POST", "", json=longest)).status == 201


async def test_an_email_looks_like_one(desk):
    for email in ("tea", "@tea.example", "tea@", "a b@tea.example", "a@b@c", "a@b\n"):
        answer = await desk.ask(account(), "POST", "", json=vendor_fields(email=email))
        assert (answer.status, _pointer(answer)) == (422, "/email"), email


@pytest.mark.parametrize("text", ["a\n", "\na", "a\r\nb", "\t", "\x1b[31m", "a\x1fb", "\x7f"])
async def test_a_name_is_one_line(desk, text):
    who = account()
    mine = await desk.registered(who)
    for field in ("name", "phone", "category", "city", "email"):
        value = f"{text}@tea.example" if field == "email" else text
        answer = await desk.ask(who, "POST", "", json=vendor_fields() | {field: value})
        assert (answer.status, _pointer(answer)) == (422, f"/{field}")
        answer = await desk.ask(who, "PATCH", f"/{mine['id']}", json={field: value})
        assert (answer.status, _pointer(answer)) == (422, f"/{field}")
    assert (await desk.ask(who, "GET", "")).json == [mine]


async def test_an_address_may_have_lines(desk):
    address = "Unit 4\n1 Leaf Lane"
    assert (await desk.registered(account(), address=address))["address"] == address


async def test_a_category_can_stand_in_an_address(desk):
    """The gateway refuses an escaped slash and takes away dots, so such a list had no address."""
    who = account()
    mine = await desk.registered(who)
    for category in ("Food/Drinks", "/", "a\\b", ".", ".."):
        fields = vendor_fields(category=category)
        for answer in (
            await desk.ask(who, "POST", "", json=fields),
            await desk.ask(who, "PATCH", f"/{mine['id']}", json={"category": category}),
        ):
            assert (answer.status, _pointer(answer)) == (422, "/category"), category
            assert "/" in answer.json["errors"][0]["message"]
    assert (await desk.ask(who, "GET", "")).json == [mine]
    for category in ("Food & Drinks", "100%", "C++", "a.b", "...", "?#;:@", "Épices"):
        vendor = await desk.registered(who, category=category)
        found = await desk.ask(who, "GET", "/category/" + quote(category, safe=""))
        assert found.json == [vendor]


async def test_what_is_no_such_body_is_refused(desk):
    for body, status in ((b"{", 400), (b"\xff\xfe", 400), (b"[" * 500_000, 400), (b"[]", 422)):
        assert (await desk.ask(account(), "POST", "", body=body)).status == status


async def test_a_nul_in_the_query_is_refused(desk):
    for query in ("?search=%00", "?category=a%00", "?city=%00b", "/category/a%00b"):
        assert (await desk.ask(account(), "GET", query)).status == 422


async def test_a_limit_is_from_1_to_200(desk):
    who = account()
    for limit in ("0", "201", "x", "-1", "", "1.5"):
        assert (await desk.ask(who, "GET", f"?limit={limit}")).status == 422
    assert (await desk.ask(who, "GET", "?limit=200")).status == 200


async def test_a_made_up_cursor_is_refused(desk):
    who = account()
    vendor = await desk.registered(who)
    for cursor in ("x", "e30", "WzFd", "WyJOYU4iLCAieCJd", "%00", "8J-Yig"):
        for path in ("", "/requests", f"/{vendor['id']}/requests", "/category/tea"):
            answer = await desk.ask(who, "GET", f"{path}?cursor={cursor}")
            assert (answer.status, answer.json["code"]) == (422, "request.bad_cursor"), cursor


@pytest.mark.parametrize(
    "rating",
    [
        *("1e-20000", "1e999999999", "NaN", "Infinity", "-1", "5.01", "6", "0.001", "9" * 5000),
        *("0." + "0" * 5000, "\u0661", "1\n", " 1", "1_0", "", 4, None),
    ],
)
async def test_a_forged_place_in_the_directory_is_refused(desk, rating):
    raw = json.dumps([rating, str(uuid4())]).encode()
    cursor = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    for path in ("", "/category/tea"):
        answer = await desk.ask(account(), "GET", f"{path}?cursor={cursor}")
        assert (answer.status, answer.json["code"]) == (422, "request.bad_cursor")


async def test_a_cursor_of_another_list_is_refused(desk):
    who = account()
    for _ in range(2):
        await desk.registered(who)
    link = (await desk.ask(who, "GET", "?limit=1")).headers["Link"]
    cursor = link[: link.index(">")].rpartition("cursor=")[2]
    answer = await desk.ask(who, "GET", f"/requests?cursor={cursor}")
    assert (answer.status, answer.json["code"]) == (422, "request.bad_cursor")


def _pointer(answer):
    return answer.json["errors"][0]["pointer"]
