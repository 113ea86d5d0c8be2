"""Idempotency-Keys of the calls that write to the ledger."""

import json

import pytest

from restock.kernel.idempotency import read_key
from tests.inventory.stockroom import account, item_fields


async def test_a_movement_under_a_key_is_made_once(room, ada):
    item = await room.made(ada)
    answers = [await room.move(ada, item, -1, key="k", note="n") for _ in range(3)]
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert await room.stock(ada, item) == 9
    assert len(await room.logs(ada, item)) == 2


async def test_a_count_under_a_key_gives_the_item_as_it_was(room, ada):
    item = await room.made(ada, sku="A", barcode="B", minThreshold=None)
    first = await room.count(ada, item, 3.5, key="k", expectedVersion=1)
    await room.move(ada, item, 1)
    await room.edit(ada, item | {"version": 3}, name="Other")
    again = await room.count(ada, item, 3.5, key="k", expectedVersion=1)
    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body
    assert first.headers["ETag"] == again.headers["ETag"] == '"2"'
    assert await room.stock(ada, item) == 4.5


async def test_a_count_is_answered_as_it_was_though_items_have_other_fields_since(room, ada):
    """A row as an earlier release wrote it, which knew no barcode and had a shelf."""
    item = await room.made(ada, quantity=7)
    path, body = f"/items/{item['id']}/quantity", b'{"quantity": 7, "reason": "stocktaking"}'
    kept = {name: value for name, value in item.items() if name != "barcode"}
    await room.service.execute(
        """
        INSERT INTO ledger (
            workspace_id, item_id, seq, user_id, previous_quantity, new_quantity, reason,
            occurred_at, created_at, key, position, request_hash, answer
        ) VALUES ($1, $2::text::uuid, 1000, $3, 7, 7, 'stocktaking', now(), now(), 'k', 0, $4,
            $5::text::jsonb)
        """,
        ada.workspace_id,
        item["id"],
        ada.user_id,
        read_key("k", "PATCH", "/api/inventory" + path, body).hash,
        json.dumps(kept | {"shelf": "B 12"}),
        tenant=ada.tenant,
    )
    again = await room.ask(ada, "PATCH", path, body=body, key="k")
    assert (again.status, again.json) == (200, kept)
    assert list(again.json) == list(kept), "in the order of today's fields"
    assert again.headers["ETag"] == '"1"'


async def test_an_item_under_a_key_is_made_once(room, ada):
    first, again = [await room.create(ada, key="k", sku="A", quantity=0.5) for _ in range(2)]
    assert (first.status, again.status) == (201, 201)
    assert first.body == again.body
    assert len((await room.ask(ada, "GET", "/items")).json) == 1


@pytest.mark.parametrize("mode", ["all", "each"])
async def test_a_batch_under_a_key_is_made_once(room, ada, mode):
    tea, nuts = await room.made(ada), await room.made(ada)
    moves = [(tea, -1), (nuts, -2), (tea, -3)]
    first, again = [await room.batch(ada, mode, *moves, key="k") for _ in range(2)]
    assert first.status == 200
    assert first.body == again.body
    assert (await room.stock(ada, tea), await room.stock(ada, nuts)) == (6, 8)


async def test_a_batch_that_was_refused_in_part_is_answered_the_same(room, ada, eve):
    tea, nuts = await room.made(ada, quantity=5), await room.made(ada, quantity=0)
    hers = await room.made(eve)
    moves = [(nuts, -1), (tea, -2), (hers, 1), (tea, -9), (tea, -1), (nuts, -3)]
    first = await room.batch(ada, "each", *moves, key="k")
    assert [result["status"] for result in first.json["results"]] == [
        409,
        201,
        404,
        409,
        201,
        409,
    ]
    # what was refused would be possible now, and what was made would not
    await room.move(ada, nuts, 50)
    await room.move(ada, tea, -2)
    again = await room.batch(ada, "each", *moves, key="k")
    assert again.body == first.body
    assert (await room.stock(ada, tea), await room.stock(ada, nuts)) == (0, 50)


async def test_a_batch_turned_to_be_possible_is_answered_the_same(room, ada):
    item = await room.made(ada, quantity=1)
    first, again = [await room.batch(ada, "all", (item, -3), (item, 2), key="k") for _ in range(2)]
    assert [result["movement"]["seq"] for result in first.json["results"]] == [3, 2]
    assert again.body == first.body


async def test_a_success_is_answered_again_however_the_world_has_changed(room, ada):
    item = await room.made(ada, quantity=3, sku="A")
    moved = await room.move(ada, item, -3, key="move")
    counted = await room.count(ada, item, 2, key="count", expectedVersion=2)
    batch = await room.batch(ada, "all", (item, -2), key="batch")
    made = await room.create(ada, key="make", sku="B")
    await room.archive(ada, item)
    assert (await room.move(ada, item, -3, key="move")).body == moved.body
    assert (await room.count(ada, item, 2, key="count", expectedVersion=2)).body == counted.body
    assert (await room.batch(ada, "all", (item, -2), key="batch")).body == batch.body
    assert (await room.create(ada, key="make", sku="B")).body == made.body


async def test_a_refusal_is_judged_anew(room, ada):
    item = await room.made(ada, quantity=1, sku="A")
    refused = [
        (await room.move(ada, item, -2, key="move")).status,
        (await room.count(ada, item, 1, key="count", expectedVersion=2)).status,
        (await room.batch(ada, "all", (item, -2), key="all")).status,
        (await room.create(ada, key="make", sku="A")).status,
    ]
    assert refused == [409, 409, 409, 409]
    each = await room.batch(ada, "each", (item, -2), key="each")
    assert each.json["results"][0]["status"] == 409
    await room.move(ada, item, 9)
    assert (await room.count(ada, item, 1, key="count", expectedVersion=2)).status == 200
    await room.move(ada, item, 9)
    assert (await room.move(ada, item, -2, key="move")).status == 201
    assert (await room.batch(ada, "all", (item, -2), key="all")).status == 200
    each = await room.batch(ada, "each", (item, -2), key="each")
    assert each.json["results"][0]["status"] == 201
    await room.archive(ada, item)
    assert (await room.create(ada, key="make", sku="A")).status == 201


async def test_a_key_is_for_one_request(room, ada):
    item, other = await room.made(ada), await room.made(ada)
    assert (await room.move(ada, item, -1, key="k")).status == 201
    stocks = await room.stock(ada, item), await room.stock(ada, other)
    tag = {"if_match": '"1"', "json": {"name": "x"}, "key": "k"}
    for refused in (
        await room.move(ada, item, -2, key="k"),
        await room.move(ada, item, -99, key="k"),
        await room.move(ada, other, -1, key="k"),
        await room.count(ada, item, 9, key="k"),
        await room.batch(ada, "all", (other, -1), key="k"),
        await room.batch(ada, "each", (other, -1), (item, -99), key="k"),
        await room.create(ada, key="k"),
        await room.ask(ada, "PATCH", f"/items/{other['id']}", **tag),
    ):
        assert (refused.status, refused.json["code"]) == (
            422,
            "request.idempotency_key_reused",
        )
    assert (await room.stock(ada, item), await room.stock(ada, other)) == stocks
    assert len((await room.ask(ada, "GET", "/items")).json) == 2


async def test_a_key_that_was_refused_to_an_edit_still_gives_its_first_answer(room, ada):
    item = await room.made(ada)
    edit = {"if_match": "*", "json": {"name": "x"}}
    for key, again in {
        "moved": lambda: room.move(ada, item, -1, key="moved"),
        "counted": lambda: room.count(ada, item, 7, key="counted"),
        "made": lambda: room.create(ada, key="made"),
        "all": lambda: room.batch(ada, "all", (item, -1), key="all"),
        "each": lambda: room.batch(ada, "each", (item, -1), (item, -99), key="each"),
    }.items():
        first = await again()
        assert first.status < 300, key
        refused = await room.ask(ada, "PATCH", f"/items/{item['id']}", **edit, key=key)
        assert (refused.status, refused.json["code"]) == (422, "request.idempotency_key_reused")
        assert (await again()).body == first.body, key


async def test_a_key_of_an_edit_is_for_no_stock(room, ada):
    item = await room.made(ada)
    edit = {"if_match": '"1"', "json": {"name": "x"}, "key": "k"}
    assert (await room.ask(ada, "PATCH", f"/items/{item['id']}", **edit)).status == 200
    for refused in (
        await room.move(ada, item, -1, key="k"),
        await room.count(ada, item, 9, key="k"),
        await room.batch(ada, "all", (item, -1), key="k"),
        await room.create(ada, key="k"),
    ):
        assert refused.status == 422
    assert await room.stock(ada, item) == 10


async def test_a_key_is_its_accounts_own(room, ada, eve):
    item, hers = await room.made(ada), await room.made(eve)
    bob = account(ada.workspace_id)
    for who, moved in ((ada, item), (bob, item), (eve, hers)):
        assert (await room.move(who, moved, -1, key="k")).status == 201
    assert await room.stock(ada, item) == 8


async def test_a_key_that_is_no_key_is_refused(room, ada):
    item = await room.made(ada)
    for key in ("", " ", "a b", "x" * 201):
        assert (await room.move(ada, item, -1, key=key)).status == 422, key
    assert (await room.move(ada, item, -1, key="x" * 200)).status == 201


async def test_without_a_key_everything_happens_again(room, ada):
    item = await room.made(ada)
    for _ in range(2):
        await room.move(ada, item, -1)
        await room.batch(ada, "all", (item, -1))
        assert (await room.ask(ada, "POST", "/items", json=item_fields())).status == 201
    assert await room.stock(ada, item) == 6
