"""Proves from the databases that everything clients were told is so, and nothing besides.

`ledger_proof` shows that ledger, stock and alerts agree with each other; this shows that they
agree with the journals of `hands`, and the same of requests, inboxes and outboxes. Shares no code
with the product.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from tests.journeys.ledger_proof import prove, url_of, urls_of

SERVICES = ("auth", "inventory", "notification", "vendor")
Line = dict[str, Any]

LEDGER = "SELECT id, item_id, seq, delta, new_quantity, reason FROM ledger"
ITEMS = "SELECT id, name, category, version, archived_at IS NOT NULL AS archived FROM items"
REQUESTS = """
SELECT r.id, r.message, r.status, r.seq, array_agg(s.status ORDER BY s.seq) AS steps
FROM contact_requests r LEFT JOIN request_steps s
    ON s.vendor_workspace_id = r.vendor_workspace_id AND s.request_id = r.id
GROUP BY r.vendor_workspace_id, r.id
"""
UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
EVENTS = "SELECT id, subject, data::text AS data FROM outbox"
NOTED = "SELECT user_id, event_id, type FROM notifications"
ANNOUNCED = "SELECT user_id, event_id, name FROM announcements"
READ = "SELECT id FROM notifications WHERE read"
FEEDS = """
SELECT f.user_id, f.head, f.unread,
       (SELECT count(*) FROM notifications n WHERE n.user_id = f.user_id AND NOT read) AS counted,
       (SELECT array_agg(seq ORDER BY seq) FROM
            (SELECT seq FROM notifications n WHERE n.user_id = f.user_id UNION ALL
             SELECT seq FROM announcements a WHERE a.user_id = f.user_id)) AS seqs
FROM feeds f
"""
ALERTS = {
    "inventory.item.fell_low": "low_stock",
    "inventory.item.ran_out": "out_of_stock",
    "inventory.item.recovered": "back_in_stock",
}
STEPS = {
    "vendor.request.responded": "request_responded",
    "vendor.request.fulfilled": "request_fulfilled",
}


@dataclass
class Told:
    """What the journals say, by what was done."""

    rows: list[Line] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    others: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))


def read_journals(paths: Iterable[Path]) -> Told:
    told = Told()
    for path in paths:
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line["did"] == "row":
                told.rows.append(line)
            elif line["did"] == "refused":
                told.refused.add(line["reason"])
            else:
                told.others[line["did"]].append(line)
    return told


async def prove_whole(root: Path, journals: Iterable[Path]) -> list[str]:
    """What is wrong in a system on a data directory, in words; nothing while all is well."""
    told = read_journals(journals)
    wrong = (await prove(*urls_of(root), [])).wrong
    async with AsyncExitStack() as stack:
        databases = {}
        for service in SERVICES:
            databases[service] = connection = await asyncpg.connect(url_of(root, service))
            stack.push_async_callback(connection.close)
            if waiting := await connection.fetchval(UNPUBLISHED):
                wrong.append(f"the outbox of {service} holds {waiting} events")
        inventory, notification = databases["inventory"], databases["notification"]
        vendor = databases["vendor"]
        wrong += _ledger(await inventory.fetch(LEDGER), told)
        wrong += _items(await inventory.fetch(ITEMS), told)
        wrong += _requests(await vendor.fetch(REQUESTS), told)
        events = [*await inventory.fetch(EVENTS), *await vendor.fetch(EVENTS)]
        wrong += _alerts(await inventory.fetch(LEDGER), events)
        heard = [*await notification.fetch(NOTED), *await notification.fetch(ANNOUNCED)]
        wrong += _notified(events, heard)
        wrong += _feeds(await notification.fetch(FEEDS))
        read = {row["id"] for row in await notification.fetch(READ)}
        wrong += [
            f"{line['id']} was marked as read and isn't"
            for line in told.others["read"]
            if UUID(line["id"]) not in read
        ]
    return wrong


async def feeds_of(root: Path) -> dict[UUID, tuple[int, int]]:
    """The end and the unread count of each account's feed."""
    connection = await asyncpg.connect(url_of(root, "notification"))
    try:
        return {
            row["user_id"]: (row["head"], row["unread"]) for row in await connection.fetch(FEEDS)
        }
    finally:
        await connection.close()


def _ledger(rows: list[Any], told: Told) -> list[str]:
    """Each acknowledged movement once and as it was told; no other, none that was refused."""
    held: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        if row["seq"] > 1:
            held[row["reason"]].append(row)
    wrong = [f"{reason}: {len(found)} rows" for reason, found in held.items() if len(found) > 1]
    wrong += [f"{reason}: refused, and in the ledger" for reason in told.refused & held.keys()]
    for line in told.rows:
        found = held.pop(line["reason"], [None])[0]
        if found is None:
            wrong.append(f"{line['reason']}: acknowledged, and not in the ledger")
            continue
        same = (
            UUID(line["item"]) == found["item_id"]
            and Decimal(line["new"]) == found["new_quantity"]
            and ("id" not in line or UUID(line["id"]) == found["id"])
            and ("seq" not in line or line["seq"] == found["seq"])
            and ("delta" not in line or Decimal(line["delta"]) == found["delta"])
        )
        if not same:
            wrong.append(f"{line} was told, the ledger has {dict(found)}")
    wrong += [f"{reason}: in the ledger, and never acknowledged" for reason in held]
    return wrong


def _items(rows: list[Any], told: Told) -> list[str]:
    """Each acknowledged item once, as it was last edited, archived where that was told."""
    held = {row["id"]: row for row in rows}
    wrong = [
        f"{name}: made {number} times"
        for name, number in Counter(row["name"] for row in rows).items()
        if number > 1
    ]
    if {UUID(line["id"]) for line in told.others["item"]} != held.keys():
        wrong.append(f"{len(told.others['item'])} items acknowledged, {len(held)} there")
    gone = {UUID(line["item"]) for line in told.others["archive"]}
    wrong += [
        f"{key}: archived, or not" for key, row in held.items() if row["archived"] != (key in gone)
    ]
    last: dict[UUID, Line] = {}
    for line in told.others["edit"]:
        item = UUID(line["item"])
        if item not in last or last[item]["version"] < line["version"]:
            last[item] = line
    for item, line in last.items():
        if item in held and held[item]["category"] != line["category"]:
            wrong.append(f"{item}: last edited as {line['category']}, is {held[item]['category']}")
    return wrong


def _requests(rows: list[Any], told: Told) -> list[str]:
    """Each acknowledged request once, with the steps that were acknowledged, in order."""
    steps = {line["id"]: ["pending"] for line in told.others["request"]}
    for line in told.others["step"]:
        steps[line["id"]].append(line["status"])
    wrong = []
    if Counter(str(row["id"]) for row in rows) != Counter(steps.keys()):
        wrong.append(f"{len(steps)} requests acknowledged, {len(rows)} there")
    for row in rows:
        expected = steps.get(str(row["id"]))
        if row["steps"] != expected or (row["status"], row["seq"]) != (expected[-1], len(expected)):
            wrong.append(f"request {row['id']}: {expected} acknowledged, is {dict(row)}")
    refused = told.refused & {row["message"] for row in rows}
    return wrong + [f"request {message}: refused, and there" for message in refused]


def _alerts(rows: list[Any], events: list[Any]) -> list[str]:
    """Each crossing told once and nothing else, thresholds moving meanwhile.

    An item's changes are numbered by its version: an edit's event carries its own, and the rows
    of the ledger, in order, are the others.
    """
    ledger: dict[UUID, list[Any]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["seq"]):
        ledger[row["item_id"]].append(row)
    edits: dict[UUID, dict[int, Decimal | None]] = defaultdict(dict)
    told: Counter[tuple[UUID, int, str]] = Counter()
    for event in events:
        data = json.loads(event["data"], parse_float=Decimal, parse_int=Decimal)
        if event["subject"] in ALERTS:
            told[UUID(data["itemId"]), int(data["seq"]), event["subject"]] += 1
        elif event["subject"] in ("inventory.item.created", "inventory.item.changed"):
            edits[UUID(data["itemId"])][int(data["seq"])] = data["minThreshold"]
    expected = Counter(
        crossing
        for item, moves in ledger.items()
        for crossing in _crossings(item, moves, edits[item])
    )
    return [f"crossing without its alert: {c}" for c in (expected - told).elements()] + [
        f"alert without its crossing: {c}" for c in (told - expected).elements()
    ]


def _crossings(
    item: UUID, moves: list[Any], edits: dict[int, Decimal | None]
) -> Iterable[tuple[UUID, int, str]]:
    stock, low = moves[0]["new_quantity"], edits[1]
    if low is not None and stock <= low:
        yield item, 1, "inventory.item.fell_low"
    left = iter(moves[1:])
    for version in range(2, len(moves) + len(edits)):  # both have the first
        before, floor = stock, low
        if version in edits:
            low = edits[version]
        else:
            stock = next(left)["new_quantity"]
        if low is not None and stock <= low and not (floor is not None and before <= floor):
            yield item, version, "inventory.item.fell_low"
        if stock == 0 < before:
            yield item, version, "inventory.item.ran_out"
        if before <= (floor or 0) and stock > (low or 0):
            yield item, version, "inventory.item.recovered"


def _notified(events: list[Any], heard: list[Any]) -> list[str]:
    """Each event is in the inbox of whom it concerns, once."""
    expected: Counter[tuple[UUID, UUID, str]] = Counter()
    for event in events:
        data = json.loads(event["data"])
        if kind := ALERTS.get(event["subject"]) or STEPS.get(event["subject"]):
            expected[UUID(data["userId"]), event["id"], kind] += 1
        elif event["subject"] == "vendor.request.opened":
            for user in data["userIds"]:
                for kind in ("vendor_request", "vendor_contact_request"):
                    expected[UUID(user), event["id"], kind] += 1
    found = Counter(tuple(row) for row in heard)
    return [f"nobody was told: {e}" for e in (expected - found).elements()] + [
        f"told once too often: {e}" for e in (found - expected).elements()
    ]


def _feeds(rows: list[Any]) -> list[str]:
    """No feed has a gap or a double, and each knows how much of it is unread."""
    wrong = []
    for row in rows:
        if row["seqs"] != list(range(1, row["head"] + 1)):
            wrong.append(f"the feed of {row['user_id']} has gaps or doubles")
        if row["unread"] != row["counted"]:
            wrong.append(f"{row['user_id']}: {row['unread']} unread said, {row['counted']} are")
    return wrong
