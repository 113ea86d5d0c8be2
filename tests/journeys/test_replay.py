"""Recorded sales through a whole system, proved by SQL that shares no code with it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from restock.client import ApiProblem, Gateway
from tests.cli.commands import RESTOCK, clean_environment, ran
from tests.cli.sales import SALES, expectation
from tests.fixtures.ports import free_offset
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running
from tests.journeys.ledger_proof import prove, urls_of


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def up(scratch: Path) -> AsyncIterator[WholeSystem]:
    async with running(WholeSystem(scratch / "replay", free_offset(), NO_LIMITS)) as system:
        yield system


def written(place: Path, texts: list[str]) -> list[str]:
    files = [place / f"day-{number}.csv" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    return [str(file) for file in files]


async def proved(up: WholeSystem, *logs: Path) -> list[str]:
    return (await prove(*urls_of(up.root), list(logs))).wrong


async def test_every_sale_becomes_a_movement(up: WholeSystem, tmp_path: Path) -> None:
    log = tmp_path / "acknowledged"
    files = written(tmp_path, SALES)
    played = await ran("replay", *files, "--url", up.url, "--json", "--log", str(log))
    assert played.code == 0, played.err
    summary, expected = json.loads(played.out), expectation()
    assert (summary["movements"], summary["refused"]) == (expected.moved, expected.refused)
    assert summary["alerts"] == expected.alerts
    verdict = await prove(*urls_of(up.root), [log])
    assert verdict.wrong == []
    assert verdict.logged == expected.moved
    assert dict(verdict.alerts) == expected.alerts


HARM = {
    "stock": ("UPDATE items SET quantity = quantity + {} WHERE id = $1", "inventory"),
    "ledger": (
        "UPDATE ledger SET new_quantity = new_quantity + {} WHERE item_id = $1 AND seq = 2",
        "inventory",
    ),
    "outbox": (
        "UPDATE outbox SET published_at = CASE WHEN {} > 0 THEN NULL ELSE now() END"
        " WHERE id = (SELECT id FROM outbox WHERE $1::uuid IS NOT NULL ORDER BY id LIMIT 1)",
        "inventory",
    ),
    "notification": (
        "UPDATE notifications SET type = CASE WHEN {} > 0 THEN 'vendor_request'"
        " ELSE 'low_stock' END WHERE id = (SELECT id FROM notifications"
        " WHERE item_id = $1 AND type IN ('low_stock', 'vendor_request') ORDER BY seq LIMIT 1)",
        "notification",
    ),
}


@pytest.mark.parametrize("what", HARM)
async def test_the_proof_sees(up: WholeSystem, what: str) -> None:
    statement, database = HARM[what]
    inventory, notification = [await asyncpg.connect(url) for url in urls_of(up.root)]
    connection = inventory if database == "inventory" else notification
    item = await notification.fetchval(
        "SELECT item_id FROM notifications WHERE type = 'low_stock' ORDER BY seq LIMIT 1"
    )
    assert await proved(up) == []
    await connection.execute(statement.format("1"), item)
    assert await proved(up) != []
    await connection.execute(statement.format("-1"), item)
    assert await proved(up) == []
    await inventory.close()
    await notification.close()


async def test_the_proof_sees_a_movement_that_was_acknowledged_and_is_gone(
    up: WholeSystem, tmp_path: Path
) -> None:
    log = tmp_path / "acknowledged"
    log.write_text("01a207cb-3860-7013-adf7-9691c48ddd09 0123456789abcdef:1\n")
    assert await proved(up, log) != []


async def test_the_demo_is_there_to_be_looked_at(up: WholeSystem) -> None:
    shown = await ran("demo", "--url", up.url, "--json")
    assert shown.code == 0, shown.err
    summary = json.loads(shown.out)
    assert summary["alerts"] == ["Low stock alert: House blend coffee beans, 1 kg"]
    async with Gateway(up.url) as gateway, Gateway(up.url) as vendor:
        password = summary["account"]["password"]
        await gateway.auth.login(email=summary["account"]["email"], password=password)
        await vendor.auth.login(email=summary["vendorAccount"]["email"], password=password)
        [asked] = [request async for request in gateway.vendors.sent_requests()]
        [heard] = [r async for r in vendor.vendors.received_requests(asked.vendor_id)]
        assert (str(asked.id), heard.status) == (summary["request"], "pending")


async def test_an_admin_is_made_by_the_operator_alone(up: WholeSystem) -> None:
    made = await asyncio.create_subprocess_exec(
        *RESTOCK, "account", "create-admin", "root@example.org", "--password-stdin",
        "--data-dir", str(up.root),
        env=clean_environment(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await made.communicate(b"ten letters\n")
    assert made.returncode == 0
    async with Gateway(up.url) as gateway:
        signed = await gateway.auth.login(email="root@example.org", password="ten letters")
        assert signed.user.role == "admin"
        assert str(signed.user.id) in told.decode()
        with pytest.raises(ApiProblem):
            await gateway.auth.register(
                email="b@example.org", name="B", password="ten letters", role="admin"
            )


async def test_the_client_hears_alerts_over_drops_and_a_kill(up: WholeSystem) -> None:
    async with Gateway(up.url) as gateway:
        await gateway.auth.register(email="e@example.org", name="E", password="ten letters")
        item = await gateway.inventory.create_item(name="Tea", quantity=2, min_threshold=1)
        kinds = []
        async with gateway.feed() as feed:
            for round_ in range(6):
                if round_ % 2:
                    await feed.drop()
                if round_ == 3:
                    os.kill(up.note_processes()["notification"].pid, signal.SIGKILL)
                await gateway.inventory.add_movement(item.id, 1 if round_ % 2 else -1, "moved")
                kinds.append((await feed.next_of("new_notification")).data["type"])
            assert feed.connections > 2
        assert kinds == ["low_stock", "back_in_stock"] * 3
