"""What is sent in a wrong form changes nothing and is refused with its place."""

import base64
import json
from uuid import uuid4

import pytest

from tests.inventory.stockroom import item_fields

# as they stand in the JSON text
NOT_QUANTITIES = [
    '"5"',
    '"NaN"',
    '"Infinity"',
    "true",
    "[]",
    "{}",
    "0.1234567",
    "1e-7",
    "1000000000",
    "-1000000000",
    "1e9",
    "1e999999999",
    "123456789012345678901234567890",
    "999999999.9999999",
]
NOT_JSON = [b"", b"{", b"{'a': 1}", b"nothing", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 01}']


def routes(item):
    return [
        ("POST", "/items"),
        ("PATCH", f"/items/{item['id']}"),
        ("PATCH", f"/items/{item['id']}/quantity"),
        ("POST", f"/items/{item['id']}/movements"),
        ("POST", "/movements:batch"),
    ]


@pytest.fixture
def unchanged(room, ada):
    """Asserts that an item and all else of the workspace is as it was."""

    async def check(item):
        assert (await room.ask(ada, "GET", "/items")).json == [item]
        assert len(await room.logs(ada, item)) == 1
        assert len(await room.events(ada)) == 1

    return check


@pytest.mark.parametrize("quantity", [*NOT_QUANTITIES, "null", "-1", "-0.000001"])
async def test_what_is_no_stock_is_refused(room, ada, unchanged, quantity):
    item = await room.made(ada)
    rest = '"name":"n","unit":"u","category":"c","minThreshold":null'
    answer = await room.ask(
        ada, "POST", "/items", body=("{" + rest + ',"quantity":' + quantity + "}").encode()
    )
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/quantity")
    answer = await room.ask(
        ada,
        "PATCH",
        f"/items/{item['id']}/quantity",
        body=('{"reason":"r","quantity":' + quantity + "}").encode(),
    )
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/quantity")
    await unchanged(item)


@pytest.mark.parametrize("threshold", [*NOT_QUANTITIES, "-1"])
async def test_what_is_no_threshold_is_refused(room, ada, unchanged, threshold):
    item = await room.made(ada)
    rest = '"name":"n","unit":"u","category":"c","quantity":1'
    for method, path, body in (
        ("POST", "/items", "{" + rest + ',"minThreshold":' + threshold + "}"),
        ("PATCH", f"/items/{item['id']}", '{"minThreshold":' + threshold + "}"),
    ):
        answer = await room.ask(ada, method, path, body=body.encode(), if_match='"1"')
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/minThreshold")
    await unchanged(item)


@pytest.mark.parametrize("delta", [*NOT_QUANTITIES, "null", "0", "-0", "0.0", "0e5"])
async def test_what_is_no_movement_is_refused(room, ada, unchanged, delta):
    item = await room.made(ada)
    movement = '"reason":"r","delta":' + delta + "}"
    answer = await room.ask(
        ada, "POST", f"/items/{item['id']}/movements", body=("{" + movement).encode()
    )
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/delta")
    for mode in ("all", "each"):
        good = '{"itemId":"' + item["id"] + '","reason":"r","delta":1}'
        bad = '{"itemId":"' + item["id"] + '",' + movement
        body = '{"mode":"' + mode + '","movements":[' + good + "," + bad + "]}"
        answer = await room.ask(ada, "POST", "/movements:batch", body=body.encode())
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/movements/1/delta")
    await unchanged(item)


@pytest.mark.parametrize("body", [*NOT_JSON, b'{"name": "\xff"}', b'"\xed\xa0\x80"'])
async def test_what_is_not_json_is_400(room, ada, unchanged, body):
    item = await room.made(ada)
    for method, path in routes(item):
        answer = await room.ask(ada, method, path, body=body, if_match='"1"')
        assert (answer.status, answer.json["code"]) == (400, "request.malformed")
    await unchanged(item)


async def test_a_deep_array_is_400_and_a_large_body_413(room, ada, unchanged):
    item = await room.made(ada)
    for method, path in routes(item):
        deep = await room.ask(ada, method, path, body=b"[" * 500_000, if_match='"1"')
        assert deep.status == 400
        deep = await room.ask(
            ada, method, path, body=b"[" * 500_000 + b"]" * 500_000, if_match='"1"'
        )
        assert deep.status == 400
        large = await room.ask(ada, method, path, body=b" " * 2_000_000, if_match='"1"')
        assert large.status == 413
    await unchanged(item)


@pytest.mark.parametrize("body", [b"null", b"1", b'"x"', b"[]", b"{}", b"true"])
async def test_json_of_another_shape_is_422(room, ada, unchanged, body):
    item = await room.made(ada)
    for method, path in routes(item):
        answer = await room.ask(ada, method, path, body=body, if_match='"1"')
        assert answer.status == 422
    await unchanged(item)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "01a20941-1828-76a9-aec3-d2ca76be2b44"),
        ("userId", "01a20941-1828-76a9-aec3-d2ca76be2b44"),
        ("workspaceId", "01a20941-1828-76a9-aec3-d2ca76be2b44"),
        ("version", 7),
        ("isLowStock", True),
        ("status", "ok"),
        ("createdAt", "2020-01-01T00:00:00Z"),
        ("seq", 1),
        ("nonsense", None),
    ],
)
async def test_fields_nobody_may_set_are_refused(room, ada, unchanged, field, value):
    item = await room.made(ada)
    movement = {"delta": 1, "reason": "r", field: value}
    bodies = [
        item_fields() | {field: value},
        {"name": "x", field: value},
        {"quantity": 1, "reason": "r", field: value},
        movement,
        {"mode": "all", "movements": [movement | {"itemId": item["id"]}]},
    ]
    for (method, path), body in zip(routes(item), bodies, strict=True):
        answer = await room.ask(ada, method, path, json=body, if_match='"1"')
        assert answer.status == 422, path
        assert answer.json["errors"][0]["pointer"].endswith("/" + field)
    await unchanged(item)


async def test_an_edit_sets_no_quantity(room, ada, unchanged):
    item = await room.made(ada)
    answer = await room.edit(ada, item, quantity=5)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/quantity")
    answer = await room.edit(ada, item)
    assert answer.status == 422
    await unchanged(item)


@pytest.mark.parametrize("text", ["", "x" * 201, "a\0b", 5, None, ["x"]])
async def test_what_is_no_text_is_refused(room, ada, unchanged, text):
    item = await room.made(ada)
    for field in ("name", "unit", "category"):
        answer = await room.create(ada, **{field: text})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/" + field)
        answer = await room.edit(ada, item, **{field: text})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/" + field)
    assert (await room.move(ada, item, 1, reason=text)).status == 422
    assert (await room.count(ada, item, 1, reason=text)).status == 422
    if text is not None:
        for field in ("sku", "barcode"):
            assert (await room.create(ada, **{field: text})).status == 422
            assert (await room.edit(ada, item, **{field: text})).status == 422
        for field in ("note", "ref"):
            assert (await room.move(ada, item, 1, **{field: text})).status == 422
    await unchanged(item)


@pytest.mark.parametrize("text", ["a\n", "\na", "a\r\nb", "\t", "\x1b[31m", "a\x1fb", "\x7f"])
async def test_a_name_is_one_line(room, ada, unchanged, text):
    item = await room.made(ada)
    for field in ("name", "unit", "category", "sku", "barcode"):
        for answer in (
            await room.create(ada, **{field: text}),
            await room.edit(ada, item, **{field: text}),
        ):
            assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/" + field)
    answer = await room.move(ada, item, 1, ref=text)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/ref")
    await unchanged(item)


async def test_reasons_and_notes_may_have_lines(room, ada):
    item = await room.made(ada)
    words = "two pallets\r\n\tone of them wet"
    moved = await room.move(ada, item, 1, reason=words, note=words)
    assert (moved.json["reason"], moved.json["note"]) == (words, words)
    assert (await room.count(ada, item, 1, reason=words)).status == 200


async def test_two_hundred_characters_are_a_text(room, ada):
    item = await room.made(ada, name="ü" * 200)
    assert item["name"] == "ü" * 200


@pytest.mark.parametrize(
    "moment",
    [
        "yesterday",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-13-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
        "1900-01-01T00:30:00+01:00",
        "8999-12-31T23:30:00-01:00",
        5,
    ],
)
async def test_what_is_no_moment_is_refused(room, ada, unchanged, moment):
    item = await room.made(ada)
    answer = await room.move(ada, item, 1, occurredAt=moment)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/occurredAt")
    await unchanged(item)


async def test_a_moment_is_taken_as_it_is_in_utc(room, ada):
    item = await room.made(ada)
    for given, kept in (
        ("1899-12-31T23:30:00-01:00", "1900-01-01T00:30:00Z"),
        ("9000-01-01T00:30:00+01:00", "8999-12-31T23:30:00Z"),
        ("2020-01-01T00:00:00-23:59", "2020-01-01T23:59:00Z"),
        ("2020-01-01T23:59:00+23:59", "2020-01-01T00:00:00Z"),
    ):
        answer = await room.move(ada, item, 1, occurredAt=given)
        assert (answer.status, answer.json["occurredAt"]) == (201, kept)
        move = {"itemId": item["id"], "delta": 1, "reason": "sale", "occurredAt": given}
        many = {"mode": "each", "movements": [move]}
        answer = await room.ask(ada, "POST", "/movements:batch", json=many)
        [made] = answer.json["results"]
        assert (made["status"], made["movement"]["occurredAt"]) == (201, kept)


async def test_a_field_that_is_needed_is_named(room, ada):
    for field in item_fields():
        fields = item_fields()
        del fields[field]
        answer = await room.ask(ada, "POST", "/items", json=fields)
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/" + field)


@pytest.mark.parametrize("version", [0, -1, 2**63, 1.5, "1", True])
async def test_what_is_no_version_is_refused(room, ada, unchanged, version):
    item = await room.made(ada)
    assert (await room.count(ada, item, 1, expectedVersion=version)).status == 422
    await unchanged(item)


async def test_a_batch_is_checked_whole_before_anything_moves(room, ada, unchanged):
    item = await room.made(ada)
    good = {"itemId": item["id"], "delta": 1, "reason": "r"}
    for change in (
        {"mode": "some"},
        {"mode": None},
        {"movements": []},
        {"movements": [good, good | {"itemId": "x"}]},
        {"movements": [good, good | {"reason": ""}]},
        {"movements": [good, None]},
        {"movements": {"0": good}},
    ):
        body = {"mode": "each", "movements": [good]} | change
        assert (await room.ask(ada, "POST", "/movements:batch", json=body)).status == 422
    await unchanged(item)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "cursor=x",
        "cursor=WyJ4Il0",  # ["x"]
        "cursor=W251bGxd",  # [null]
        "cursor=W10",  # []
        "cursor=WzFlOTk5OTk5LCJ4Il0",  # [1e999999,"x"]
    ],
)
async def test_pages_that_are_none_are_refused(room, ada, query):
    item = await room.made(ada)
    for path in ("/items", "/items/low-stock", f"/items/{item['id']}/logs"):
        assert (await room.ask(ada, "GET", f"{path}?{query}")).status == 422


async def test_a_cursor_of_another_list_is_refused(room, ada):
    item = await room.made(ada, quantity=1)
    await room.made(ada, quantity=1)
    await room.move(ada, item, 1)
    logs = f"/items/{item['id']}/logs"
    cursors = {}
    for path in ("/items", "/items/low-stock", logs):
        answer = await room.ask(ada, "GET", f"{path}?limit=1")
        cursors[path] = answer.headers["Link"].partition("cursor=")[2].partition(">")[0]
    for path in cursors:
        for other, cursor in cursors.items():
            answer = await room.ask(ada, "GET", f"{path}?cursor={cursor}")
            assert answer.status == (200 if path == other else 422)


def cursor_of(*values):
    return base64.urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "seq", [2**63, 2**64, str(2**63), "9" * 5000, 0, -1, 1.5, 1e300, True, None, "x", ""]
)
async def test_a_forged_place_in_a_ledger_is_refused(room, ada, seq):
    item = await room.made(ada)
    answer = await room.ask(ada, "GET", f"/items/{item['id']}/logs?cursor={cursor_of(seq)}")
    assert (answer.status, answer.json["code"]) == (422, "request.bad_cursor")


@pytest.mark.parametrize(
    "quantity",
    [
        *("NaN", "sNaN", "Infinity", "-Infinity", "1e999999", "1e-999999", "-1", "1e2", "1_0"),
        *("1000000000", "0.0000001", "9" * 5000, "0." + "0" * 5000, "\u0661", "1\n", " 1", ""),
        *(1, 1e300, None, True),
    ],
)
async def test_a_forged_place_in_the_low_stock_is_refused(room, ada, quantity):
    cursor = cursor_of(quantity, str(uuid4()))
    answer = await room.ask(ada, "GET", f"/items/low-stock?cursor={cursor}")
    assert (answer.status, answer.json["code"]) == (422, "request.bad_cursor")


async def test_filters_that_are_none_are_refused(room, ada):
    assert (await room.ask(ada, "GET", "/items?low=perhaps")).status == 422
    assert (await room.ask(ada, "GET", "/items?search=%00")).status == 422
    assert (await room.ask(ada, "GET", "/items?category=%00")).status == 422
