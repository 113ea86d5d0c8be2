"""Items over HTTP: made, listed, read, edited, archived."""

from uuid import UUID, uuid4

import pytest

from tests.inventory.stockroom import account


async def test_a_new_item_is_answered_whole_with_its_tag(room, ada):
    answer = await room.create(
        ada, quantity=2.5, minThreshold=None, sku="TEA-1", barcode="4006381333931"
    )
    assert answer.status == 201
    item = answer.json
    assert UUID(item.pop("id")).version == 7
    assert item.pop("createdAt") == item.pop("updatedAt")
    assert item == {
        "workspaceId": str(ada.workspace_id),
        "userId": str(ada.user_id),
        "name": "Green tea",
        "quantity": 2.5,
        "minThreshold": None,
        "unit": "box",
        "category": "Drinks",
        "sku": "TEA-1",
        "barcode": "4006381333931",
        "isLowStock": False,
        "status": "ok",
        "version": 1,
    }
    assert answer.headers["ETag"] == '"1"'


async def test_a_new_item_has_its_first_ledger_row(room, ada):
    item = await room.made(ada, quantity=7)
    (row,) = await room.logs(ada, item)
    assert UUID(row.pop("id")).version == 7
    assert row.pop("createdAt") == row.pop("occurredAt") == item["createdAt"]
    assert row == {
        "itemId": item["id"],
        "userId": str(ada.user_id),
        "previousQuantity": 0,
        "newQuantity": 7,
        "delta": 7,
        "reason": "Initial stock",
        "note": None,
        "ref": None,
        "seq": 1,
    }


@pytest.mark.parametrize(
    ("quantity", "threshold", "status", "low"),
    [
        (10, 4, "ok", False),
        (4, 4, "low", True),
        (0, 4, "out", True),
        (0, 0, "out", True),
        (1, 0, "ok", False),
        (0, None, "out", False),
        (1, None, "ok", False),
    ],
)
async def test_status_follows_stock_and_threshold(room, ada, quantity, threshold, status, low):
    item = await room.made(ada, quantity=quantity, minThreshold=threshold)
    assert (item["status"], item["isLowStock"]) == (status, low)
    assert (await room.read(ada, item)).json == item


async def test_quantities_are_written_in_their_shortest_form(room, ada):
    for given, written in (("5.000000", b"5"), ("5e2", b"500"), ("0.000001", b"0.000001")):
        body = '{"name":"n","unit":"u","category":"c","minThreshold":1.50,"quantity":' + given + "}"
        answer = await room.ask(ada, "POST", "/items", body=body.encode())
        assert answer.status == 201
        assert b'"quantity":' + written + b"," in answer.body
        assert b'"minThreshold":1.5,' in answer.body


async def test_lists_are_newest_first_and_paged_by_links(room, ada, eve):
    items = [await room.made(ada, name=f"Tea {number}") for number in range(7)]
    await room.made(eve)
    pages = await room.pages(ada, "/items?limit=3")
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [item for page in pages for item in page] == items[::-1]


async def test_a_page_stays_where_it_was_when_items_come_and_go(room, ada):
    items = [await room.made(ada) for _ in range(4)]
    first = await room.ask(ada, "GET", "/items?limit=2")
    await room.made(ada)
    await room.archive(ada, items[2])
    link = first.headers["Link"].partition(">")[0].removeprefix("</api/inventory")
    rest = await room.ask(ada, "GET", link)
    assert [item["id"] for item in rest.json] == [items[1]["id"], items[0]["id"]]


async def test_lists_are_filtered(room, ada):
    tea = await room.made(ada, name="Grüner Tee 100%", category="Drinks", sku="GT_1")
    nuts = await room.made(ada, name="Nuts", category="Snacks", quantity=1, barcode="9501101")
    for query, found in (
        ("", [nuts, tea]),
        ("category=drinks", [tea]),
        ("category=Drink", []),
        ("category=&search=", [nuts, tea]),
        ("category=&search=nut", [nuts]),
        ("search=GRÜNER", [tea]),
        ("search=100%25", [tea]),
        ("search=gt_", [tea]),
        ("search=950", [nuts]),
        ("search=_", [tea]),
        ("low=true", [nuts]),
        ("low=false", [tea]),
        ("low=true&category=drinks", []),
        ("category=snacks&search=nut&low=true", [nuts]),
    ):
        answer = await room.ask(ada, "GET", f"/items?{query}")
        assert answer.json == found, query


async def test_filters_survive_in_the_links(room, ada):
    drinks = [await room.made(ada, category="Drinks & more") for _ in range(3)]
    await room.made(ada, category="Snacks")
    pages = await room.pages(ada, "/items?category=drinks%20%26%20more&limit=2")
    assert [item for page in pages for item in page] == drinks[::-1]


async def test_low_stock_is_lowest_first(room, ada, eve):
    three, zero, one, also_one = [
        await room.made(ada, quantity=quantity) for quantity in (3, 0, 1, 1)
    ]
    await room.made(ada, quantity=5)
    await room.made(ada, quantity=0, minThreshold=None)
    archived = await room.made(ada, quantity=2)
    await room.archive(ada, archived)
    await room.made(eve, quantity=1)
    for limit in (1, 2, 50):
        pages = await room.pages(ada, f"/items/low-stock?limit={limit}")
        assert [item for page in pages for item in page] == [zero, one, also_one, three]


async def test_low_stock_of_any_size_is_paged(room, ada):
    sizes = (0, 0.000001, 10_000, 999_999_999.999999)
    items = [await room.made(ada, quantity=size, minThreshold=999_999_999.999999) for size in sizes]
    pages = await room.pages(ada, "/items/low-stock?limit=1")
    assert [item for page in pages for item in page] == items


async def test_reading_answers_the_version_as_tag(room, ada):
    item = await room.made(ada)
    await room.move(ada, item, -1)
    answer = await room.read(ada, item)
    assert (answer.status, answer.json["version"]) == (200, 2)
    assert answer.headers["ETag"] == '"2"'


async def test_edits_change_what_they_name_and_the_version(room, ada):
    item = await room.made(ada, sku="A", barcode="B")
    answer = await room.edit(ada, item, name="Black tea", minThreshold=None, sku=None)
    assert answer.status == 200
    assert answer.headers["ETag"] == '"2"'
    changed = answer.json
    assert changed.pop("updatedAt") > item.pop("updatedAt")
    assert changed == item | {
        "name": "Black tea",
        "minThreshold": None,
        "sku": None,
        "version": 2,
    }
    again = await room.edit(ada, changed, unit="bag", category="Hot", barcode="C", minThreshold=11)
    assert again.status == 200
    assert again.json["isLowStock"] is True
    assert [again.json[field] for field in ("name", "unit", "category", "barcode")] == [
        "Black tea",
        "bag",
        "Hot",
        "C",
    ]
    assert len(await room.logs(ada, item)) == 1


async def test_an_edit_needs_the_current_tag(room, ada):
    item = await room.made(ada)
    path = f"/items/{item['id']}"

    async def edit(if_match):
        answer = await room.ask(ada, "PATCH", path, json={"name": "x"}, if_match=if_match)
        return answer.status

    assert await edit(None) == 428
    for stale in ('"2"', 'W/"1"', "1", '""', '"x"', '"' + "9" * 40 + '"', '"\u0661"'):
        assert await edit(stale) == 412, stale
    assert (await room.read(ada, item)).json == item
    assert await edit('"7", "1"') == 200
    assert await edit('"1"') == 412
    assert await edit("*") == 200


async def test_an_edit_under_a_key_is_answered_again(room, ada):
    item = await room.made(ada)
    path = f"/items/{item['id']}"
    first, again = [
        await room.ask(ada, "PATCH", path, json={"name": "x"}, if_match='"1"', key="k")
        for _ in range(2)
    ]
    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body
    assert first.headers["ETag"] == again.headers["ETag"] == '"2"'
    assert (await room.read(ada, item)).json["version"] == 2


async def test_a_sku_is_unique_in_its_workspace_as_written(room, ada, eve):
    item = await room.made(ada, sku="15056bl")
    refused = await room.create(ada, sku="15056bl")
    assert (refused.status, refused.json["code"]) == (409, "inventory.sku_taken")
    other = await room.made(ada, sku="15056BL")
    await room.made(eve, sku="15056bl")
    refused = await room.edit(ada, other, sku="15056bl")
    assert (refused.status, refused.json["code"]) == (409, "inventory.sku_taken")
    assert (await room.read(ada, other)).json == other
    await room.archive(ada, item)
    assert (await room.edit(ada, other, sku="15056bl")).status == 200


async def test_an_archived_item_is_gone_but_for_its_logs(room, ada):
    item = await room.made(ada, quantity=1)
    answer = await room.archive(ada, item)
    assert (answer.status, answer.body) == (204, b"")
    for refused in (
        await room.read(ada, item),
        await room.edit(ada, item, name="x"),
        await room.edit(ada, item | {"version": 2}, name="x"),
        await room.archive(ada, item),
        await room.move(ada, item, 1),
        await room.count(ada, item, 1),
    ):
        assert (refused.status, refused.json["code"]) == (404, "inventory.item_not_found")
    assert (await room.ask(ada, "GET", "/items")).json == []
    assert (await room.ask(ada, "GET", "/items?low=true")).json == []
    assert (await room.ask(ada, "GET", "/items/low-stock")).json == []
    assert [row["seq"] for row in await room.logs(ada, item)] == [1]


async def test_archiving_may_be_meant_for_one_version(room, ada):
    item = await room.made(ada)
    await room.move(ada, item, -1)
    path = f"/items/{item['id']}"
    assert (await room.ask(ada, "DELETE", path, if_match='"1"')).status == 412
    assert (await room.read(ada, item)).status == 200
    assert (await room.ask(ada, "DELETE", path, if_match='"2"')).status == 204


async def test_what_is_another_workspaces_is_not_there(room, ada, eve):
    item = await room.made(ada, sku="A")
    for stranger in (eve, account()):
        for refused in (
            await room.read(stranger, item),
            await room.edit(stranger, item, name="x"),
            await room.archive(stranger, item),
            await room.move(stranger, item, -1),
            await room.count(stranger, item, 1),
            await room.ask(stranger, "GET", f"/items/{item['id']}/logs"),
        ):
            assert (refused.status, refused.json["code"]) == (404, "inventory.item_not_found")
        assert (await room.ask(stranger, "GET", "/items")).json == []
        assert (await room.ask(stranger, "GET", "/items/low-stock")).json == []
        refused = await room.batch(stranger, "all", (item, -1))
        assert refused.status == 409
    assert (await room.read(ada, item)).json == item


async def test_people_of_one_workspace_share_its_items(room, ada):
    item = await room.made(ada)
    bob = account(ada.workspace_id)
    assert (await room.move(bob, item, -1)).json["userId"] == str(bob.user_id)
    assert (await room.read(bob, item)).json["userId"] == str(ada.user_id)


async def test_unknown_ids_and_missing_tokens(room, ada):
    nothing = {"id": str(uuid4()), "version": 1}
    for refused in (
        await room.read(ada, nothing),
        await room.edit(ada, nothing, name="x"),
        await room.archive(ada, nothing),
        await room.read(ada, {"id": "not-an-id"}),
        await room.ask(ada, "GET", f"/items/{nothing['id']}/logs"),
        await room.ask(ada, "GET", f"/items/{nothing['id']}/logs?limit=1"),
    ):
        assert refused.status == 404
    assert (await room.ask(None, "GET", "/items")).status == 401
    assert (await room.ask(None, "POST", "/items", json={})).status == 401
