"""What is another tenant's, named in a body, a cursor or a filter; and fields nobody may send."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from restock.kernel.ids import new_id
from tests.access.calls import LINES, Line, call_of
from tests.access.stage import CANARY, Stage
from tests.contracts.operations import DOCUMENTS
from tests.fixtures.figures import Figures
from tests.fixtures.running import Answered

PAGED = ("/items", "/items/low-stock")
SEARCHES = ("?search=canary", "?category=Drinks", "?low=true", "?category=Drinks&low=true")
# columns that no schema shows, and what a caller might hope for
NEVER = ("archivedAt", "isAdmin", "passwordHash", "vendorWorkspaceId", "buyerUserId", "moves")
WITH_BODY = [line for line in LINES if line.operation.body is not None]


def said(answer: Answered) -> tuple[int, bytes]:
    """An answer without the one thing in it that differs from request to request."""
    request_id = json.dumps(answer.json["requestId"]).encode()
    return answer.status, answer.body.replace(request_id, b'""')


async def test_a_strangers_item_in_a_contact_is_as_no_item(stage: Stage) -> None:
    await stage.make_things("vendor")
    stranger, before = stage.people["stranger"], await stage.digest("vendor")
    path = f"/api/vendors/{stage.things['vendor_id']}/contact"
    answers = []
    for item_id in (stage.things["buyers_item_id"], new_id()):
        body = {"itemId": item_id, "quantity": 2, "message": "Please"}
        answers.append(await stage.ask("vendor", stranger, "POST", path, json=body))
    assert answers[0].status == 404
    assert said(answers[0]) == said(answers[1])
    assert await stage.digest("vendor") == before


@pytest.mark.parametrize("mode", ["all", "each"])
async def test_a_strangers_item_in_a_batch_is_as_no_item(stage: Stage, mode: str) -> None:
    await stage.make_things("inventory")
    stranger, theirs = stage.people["stranger"], stage.things["item_id"]
    own = await stage.item_of(stranger, name="Coffee")
    before = await stage.digest("inventory", of=stage.people["owner"])
    answers = []
    for foreign in (theirs, str(new_id())):
        moves = [
            {"itemId": item_id, "delta": 0.5, "reason": "sale"} for item_id in (own["id"], foreign)
        ]
        answer = await stage.ask(
            "inventory",
            stranger,
            "POST",
            "/api/inventory/movements:batch",
            json={"mode": mode, "movements": moves},
        )
        answers.append((answer.status, answer.body.decode().replace(foreign, "…"), answer.json))
    assert await stage.digest("inventory", of=stage.people["owner"]) == before
    stock = await stage.ask("inventory", stranger, "GET", f"/api/inventory/items/{own['id']}")
    if mode == "all":
        assert answers[0][0] == answers[1][0] == 409
        assert answers[0][2]["errors"] == answers[1][2]["errors"]
        assert stock.json["quantity"] == 3
    else:
        assert answers[0][0] == answers[1][0] == 200
        assert [result["status"] for result in answers[0][2]["results"]] == [201, 404]
        assert answers[0][2]["results"][1] == answers[1][2]["results"][1]
        assert stock.json["quantity"] == 4


async def test_another_tenants_cursor_opens_nothing(stage: Stage) -> None:
    """A cursor is a place in an order, not a right: with it everybody still sees his own only."""
    owner, stranger = stage.people["owner"], stage.people["stranger"]
    for service in ("inventory", "inventory", "notification", "notification", "vendor", "auth"):
        await stage.make_things(service)
    await stage.item_of(stranger, name="Coffee")
    buyer, vendor = stage.people["buyer"], f"/api/vendors/{stage.things['vendor_id']}"
    body = {"itemId": stage.things["buyers_item_id"], "quantity": 2, "message": CANARY}
    asked = await stage.ask("vendor", buyer, "POST", f"{vendor}/contact", json=body)
    assert asked.status == 201
    lists = [("inventory", owner, f"/api/inventory{path}") for path in PAGED]
    lists += [
        ("inventory", owner, f"/api/inventory/items/{stage.things['item_id']}/logs"),
        ("notification", owner, "/api/notifications"),
        ("auth", owner, "/api/auth/sessions"),
        # of what two tenants share either has a list
        ("vendor", buyer, "/api/vendors/requests"),
        ("vendor", owner, f"{vendor}/requests"),
    ]
    await stage.ask(
        "inventory",
        owner,
        "POST",
        f"/api/inventory/items/{stage.things['item_id']}/movements",
        json={"delta": 0.25, "reason": "return"},
    )
    for service, who, path in lists:
        first = await stage.ask(service, who, "GET", f"{path}?limit=1")
        link = first.headers["Link"].partition(">")[0].removeprefix("<")
        mine = await stage.ask(service, who, "GET", link)
        assert mine.status == 200
        assert mine.json
        theirs = await stage.ask(service, stranger, "GET", link)
        assert theirs.status in (200, 403, 404), path
        shown = {row["id"] for row in theirs.json} if theirs.status == 200 else set()
        everything = await stage.ask(service, who, "GET", f"{path}?limit=200")
        assert not shown & {row["id"] for row in everything.json}
        assert CANARY.encode() not in theirs.body


async def test_filters_find_nothing_of_others(stage: Stage) -> None:
    await stage.make_things("inventory")
    owner, stranger = stage.people["owner"], stage.people["stranger"]
    for search in SEARCHES:
        path = f"/api/inventory/items{search}"
        found = await stage.ask("inventory", owner, "GET", path)
        assert CANARY.encode() in found.body
        missed = await stage.ask("inventory", stranger, "GET", path)
        assert CANARY.encode() not in missed.body
    sent = await stage.ask("vendor", stranger, "GET", "/api/vendors/requests")
    assert sent.json == []


async def test_a_key_that_another_tenant_used_is_a_new_one(stage: Stage) -> None:
    """Neither the first answer nor its 422 tells that somebody else has used it."""
    await stage.make_things("inventory")
    headers = {"Idempotency-Key": f"key-{new_id()}"}
    body = {
        "name": "Coffee",
        "quantity": 1,
        "minThreshold": None,
        "unit": "box",
        "category": "Drinks",
    }
    path = "/api/inventory/items"
    for name in ("owner", "stranger", "colleague"):
        who = stage.people[name]
        made = await stage.ask("inventory", who, "POST", path, json=body, headers=headers)
        assert made.status == 201
        assert made.json["userId"] == str(who.user_id)
        assert made.headers.get("Idempotent-Replayed") is None


@pytest.mark.parametrize("line", WITH_BODY, ids=str)
async def test_no_field_of_the_servers_can_be_sent(
    stage: Stage, line: Line, figures: Figures
) -> None:
    """Everything the service ever shows, in every body that doesn't take it: refused, and named."""
    who = stage.caller("buyer" if line.name == "contact_vendor" else "admin")
    call = call_of(stage, line)
    before = await stage.digest(line.service)
    tried = 0
    for pointer, sent in forbidden(line, call.more["json"]):
        more = call.more | {"json": sent}
        answer = await stage.ask(line.service, who, call.operation.method, call.path, **more)
        assert answer.status == 422, (pointer, answer.body)
        assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
        tried += 1
    assert tried
    assert await stage.digest(line.service) == before
    figures.add("fields of the server's sent in vain", tried)


def forbidden(line: Line, good: Any) -> Iterator[tuple[str, Any]]:
    """A good body with one field more, at its top and in what lies in its lists."""
    document = DOCUMENTS[line.service]["components"]["schemas"]
    shown = {name for schema in document.values() for name in schema.get("properties", ())}
    takes = set((line.operation.body or {})["properties"])
    for name in sorted({*shown, *NEVER} - takes):
        yield f"/{name}", good | {name: _value(name)}
    for field, inner in good.items():
        if isinstance(inner, list):
            # what a movement takes, whether or not this one has it
            for name in sorted({*shown, *NEVER} - {"itemId", "delta", "reason", "note", "ref"}):
                if name != "occurredAt":
                    yield f"/{field}/0/{name}", good | {field: [inner[0] | {name: _value(name)}]}


def _value(name: str) -> Any:
    if name.endswith("Id") or name == "id":
        return str(new_id())
    if name.endswith("At"):
        return "2026-01-01T00:00:00Z"
    if name.startswith(("is", "email")):
        return True
    return {"role": "admin", "status": "fulfilled", "rating": 5}.get(name, 1)
