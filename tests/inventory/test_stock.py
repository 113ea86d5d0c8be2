"""Changes of one item's stock over HTTP, and the ledger they leave."""

import pytest


async def test_a_movement_is_answered_with_its_ledger_row(room, ada):
    item = await room.made(ada, quantity=10)
    answer = await room.move(
        ada,
        item,
        -2.5,
        reason="sale",
        note="Invoice 536365",
        ref="a1b2:7",
        occurredAt="2010-12-01T08:26:00+01:00",
    )
    assert answer.status == 201
    row = answer.json
    assert (await room.logs(ada, item))[0] == row
    del row["id"], row["createdAt"]
    assert row == {
        "itemId": item["id"],
        "userId": str(ada.user_id),
        "previousQuantity": 10,
        "newQuantity": 7.5,
        "delta": -2.5,
        "reason": "sale",
        "note": "Invoice 536365",
        "ref": "a1b2:7",
        "seq": 2,
        "occurredAt": "2010-12-01T07:26:00Z",
    }
    assert await room.stock(ada, item) == 7.5


async def test_a_movement_below_zero_is_refused_with_what_there_is(room, ada):
    item = await room.made(ada, quantity=2.5)
    refused = await room.move(ada, item, -3)
    assert (refused.status, refused.json["code"]) == (409, "inventory.insufficient_stock")
    assert b'"available":2.5' in refused.body
    assert (await room.read(ada, item)).json == item
    assert len(await room.logs(ada, item)) == 1
    assert (await room.move(ada, item, -2.5)).status == 201


async def test_a_stock_stays_below_its_limit(room, ada):
    item = await room.made(ada, quantity=999999999)
    refused = await room.move(ada, item, 1)
    assert (refused.status, refused.json["code"]) == (422, "inventory.quantity_too_large")
    assert (await room.move(ada, item, 0.999999)).status == 201
    assert (await room.move(ada, item, 0.000001)).status == 422
    # a double can't be told from the limit at that size; the digits on the wire can
    assert b'"quantity":999999999.999999,' in (await room.read(ada, item)).body


async def test_millionths_add_up(room, ada):
    item = await room.made(ada, quantity=0)
    for _ in range(3):
        await room.move(ada, item, 0.1)
    assert b'"quantity":0.3,' in (await room.read(ada, item)).body
    assert (await room.move(ada, item, -0.3)).json["newQuantity"] == 0


async def test_a_count_sets_the_stock_and_is_answered_with_the_item(room, ada):
    item = await room.made(ada, quantity=10)
    answer = await room.count(ada, item, 3, reason="found less")
    assert answer.status == 200
    assert answer.headers["ETag"] == '"2"'
    assert answer.json == (await room.read(ada, item)).json
    assert (answer.json["quantity"], answer.json["status"]) == (3, "low")
    row = (await room.logs(ada, item))[0]
    assert (row["previousQuantity"], row["newQuantity"], row["delta"]) == (10, 3, -7)
    assert (row["reason"], row["occurredAt"]) == ("found less", row["createdAt"])


async def test_a_count_is_exact_to_the_millionth(room, ada):
    item = await room.made(ada)
    for digits in ("0.000001", "2.5", "999999999.999999", "0"):
        body = '{"reason":"r","quantity":' + digits + "}"
        path = f"/items/{item['id']}/quantity"
        answer = await room.ask(ada, "PATCH", path, body=body.encode())
        assert b'"quantity":' + digits.encode() + b"," in answer.body


async def test_a_count_equal_to_the_stock_is_a_row_too(room, ada):
    item = await room.made(ada, quantity=10)
    answer = await room.count(ada, item, 10)
    assert (answer.status, answer.json["version"]) == (200, 2)
    assert [(row["seq"], row["delta"]) for row in await room.logs(ada, item)] == [(2, 0), (1, 10)]


async def test_a_count_may_be_meant_for_one_version(room, ada):
    item = await room.made(ada, quantity=10)
    await room.move(ada, item, -1)
    refused = await room.count(ada, item, 5, expectedVersion=1)
    assert (refused.status, refused.json["code"]) == (409, "inventory.version_changed")
    assert (refused.json["version"], refused.json["quantity"]) == (2, 9)
    assert await room.stock(ada, item) == 9
    assert (await room.count(ada, item, 5, expectedVersion=2)).status == 200


async def test_logs_are_newest_first_and_paged(room, ada):
    item = await room.made(ada, quantity=0)
    for delta in range(1, 7):
        await room.move(ada, item, delta)
    pages = await room.pages(ada, f"/items/{item['id']}/logs?limit=3")
    assert [[row["seq"] for row in page] for page in pages] == [[7, 6, 5], [4, 3, 2], [1]]
    rows = [row for page in pages for row in page]
    assert [row["createdAt"] for row in rows] == sorted(
        (row["createdAt"] for row in rows), reverse=True
    )


async def test_every_change_raises_the_version_and_stock_changes_the_seq(room, ada):
    item = await room.made(ada)
    await room.move(ada, item, 1)
    await room.count(ada, item, 3)
    answer = await room.edit(ada, item | {"version": 3}, name="x")
    assert answer.json["version"] == 4
    assert (await room.move(ada, item, 1)).json["seq"] == 4
    await room.batch(ada, "all", (item, 1), (item, 1))
    assert (await room.read(ada, item)).json["version"] == 7
    assert [row["seq"] for row in await room.logs(ada, item)] == [6, 5, 4, 3, 2, 1]


async def test_batch_all_makes_all_movements_in_order(room, ada):
    tea, nuts = await room.made(ada, quantity=10), await room.made(ada, quantity=1)
    answer = await room.batch(ada, "all", (tea, -4), (nuts, 5), (tea, -6))
    assert answer.status == 200
    results = answer.json["results"]
    assert [result["status"] for result in results] == [201, 201, 201]
    moved = [result["movement"] for result in results]
    assert [(row["itemId"], row["newQuantity"], row["seq"]) for row in moved] == [
        (tea["id"], 6, 2),
        (nuts["id"], 6, 2),
        (tea["id"], 0, 3),
    ]
    assert moved[2::-2] == (await room.logs(ada, tea))[:2]
    assert all("problem" not in result for result in results)


async def test_batch_all_changes_nothing_when_one_is_in_the_way(room, ada, eve):
    tea, hers = await room.made(ada, quantity=10), await room.made(eve)
    gone = await room.made(ada)
    await room.archive(ada, gone)
    refused = await room.batch(ada, "all", (tea, -6), (hers, -1), (tea, -6), (gone, 1))
    assert (refused.status, refused.json["code"]) == (409, "inventory.batch_refused")
    errors = refused.json["errors"]
    assert [error["pointer"] for error in errors] == [
        "/movements/0/delta",
        "/movements/1/itemId",
        "/movements/2/delta",
        "/movements/3/itemId",
    ]
    assert errors[0]["message"].endswith(": 10 in stock")
    for who, item in ((ada, tea), (eve, hers)):
        assert (await room.read(who, item)).json == item
        assert len(await room.logs(who, item)) == 1


async def test_batch_all_is_judged_by_each_items_sum(room, ada):
    item = await room.made(ada, quantity=5)
    answer = await room.batch(ada, "all", (item, -8), (item, 4))
    assert [result["movement"]["newQuantity"] for result in answer.json["results"]] == [1, 9]
    assert await room.stock(ada, item) == 1


async def test_batch_each_answers_each_on_its_own(room, ada, eve):
    tea, full = await room.made(ada, quantity=5), await room.made(ada, quantity=999999999)
    hers = await room.made(eve)
    answer = await room.batch(ada, "each", (tea, -4), (tea, -2), (hers, 1), (full, 1), (tea, -1))
    assert answer.status == 200
    results = answer.json["results"]
    assert [result["status"] for result in results] == [201, 409, 404, 422, 201]
    assert [result["problem"]["code"] for result in results if "problem" in result] == [
        "inventory.insufficient_stock",
        "inventory.item_not_found",
        "inventory.quantity_too_large",
    ]
    assert results[1]["problem"]["available"] == 1
    assert "available" not in results[2]["problem"]
    assert all(("movement" in result) != ("problem" in result) for result in results)
    assert await room.stock(ada, tea) == 0
    assert (await room.read(eve, hers)).json == hers


async def test_batch_each_may_refuse_everything(room, ada):
    item = await room.made(ada, quantity=1)
    answer = await room.batch(ada, "each", (item, -2), key="k")
    assert [result["status"] for result in answer.json["results"]] == [409]
    assert (await room.read(ada, item)).json == item


@pytest.mark.parametrize("mode", ["all", "each"])
async def test_a_batch_holds_five_hundred(room, ada, mode):
    item = await room.made(ada, quantity=0)
    answer = await room.batch(ada, mode, *[(item, 1)] * 500)
    assert len(answer.json["results"]) == 500
    assert await room.stock(ada, item) == 500
    refused = await room.batch(ada, mode, *[(item, 1)] * 501)
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/movements")
    assert (await room.batch(ada, mode)).status == 422


async def test_the_rows_of_a_batch_carry_their_words(room, ada):
    item = await room.made(ada)
    words = {"reason": "r", "note": "n", "ref": "f", "occurredAt": "2010-12-01T08:26:00Z"}
    movement = {"itemId": item["id"], "delta": 1} | words
    answer = await room.ask(
        ada, "POST", "/movements:batch", json={"mode": "all", "movements": [movement]}
    )
    row = answer.json["results"][0]["movement"]
    assert {name: row[name] for name in words} == words


async def test_the_ledger_is_not_the_services_to_change(room, ada):
    item = await room.made(ada)
    for sql in (
        "UPDATE ledger SET reason = 'x'",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "DELETE FROM items",
        "ALTER TABLE ledger ADD COLUMN x int",
        "UPDATE items SET workspace_id = user_id",
        "UPDATE items SET created_at = now()",
        "UPDATE items SET user_id = uuidv7()",
        "UPDATE outbox SET data = '{}'",
        "UPDATE kept_answers SET request_hash = ''",
        "DROP TABLE ledger",
        "CREATE TABLE mine (id int)",
    ):
        with pytest.raises(Exception, match=r"permission denied|must be owner"):
            await room.service.execute(sql)
    assert len(await room.logs(ada, item)) == 1


@pytest.mark.parametrize("quantity", ["NaN", "-1", "1000000000", "Infinity"])
async def test_the_tables_hold_no_impossible_stock(room, ada, quantity):
    item = await room.made(ada)
    with pytest.raises(Exception, match=r"violates check constraint|overflow"):
        await room.service.execute(
            "UPDATE items SET quantity = $1::text::numeric WHERE workspace_id = $2",
            quantity,
            ada.workspace_id,
            tenant=ada.tenant,
        )
    assert (await room.read(ada, item)).json == item
