"""`kill -9` after the commit and before the answer: the same key gives the answer that was lost."""

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fixtures.ports import free_port
from tests.fixtures.tokens import KID, PUBLIC_KEYS
from tests.inventory.stockroom import Account, Stockroom, item_fields

CHANGES = {
    "an item": ("POST", "/items", item_fields(name="Cut off")),
    "a movement": ("POST", "/items/{id}/movements", {"delta": -8, "reason": "sale"}),
    "a batch": (
        "POST",
        "/movements:batch",
        {"mode": "all", "movements": [{"itemId": "{id}", "delta": -9, "reason": "sale"}]},
    ),
    "an edit": ("PATCH", "/items/{id}", {"minThreshold": 11}),
}


async def lost_answer(
    room: Stockroom, who: Account, place: Path, method: str, path: str, body: bytes,
    headers: dict[str, str],
) -> bytes:  # fmt: skip
    """Make the change in a process that is killed before it answers; what it wanted to say."""
    key, answer, port = place / "key.pem", place / "answer", free_port()
    key.write_bytes(PUBLIC_KEYS[KID].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    url = room.service.context.settings.database_url
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.inventory.cut_off", str(port), url, str(key), str(answer)
    )
    sent = headers | {"Authorization": f"Bearer {who.token}", "Content-Type": "application/json"}
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while process.returncode is None:
                try:
                    async with session.request(
                        method, f"http://127.0.0.1:{port}/api/inventory{path}",
                        data=body, headers=sent,
                    ) as answered:  # fmt: skip
                        raise AssertionError(f"it answered {answered.status}")
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.02)  # it isn't up yet
                except aiohttp.ClientError:
                    assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return answer.read_bytes()


@pytest.mark.parametrize("what", CHANGES)
async def test_the_answer_that_was_lost_is_given_again(
    room: Stockroom, ada: Account, tmp_path: Path, what: str
) -> None:
    item = await room.made(ada, quantity=12, minThreshold=4)
    method, path, content = CHANGES[what]
    path = path.replace("{id}", item["id"])
    body = msgspec.json.encode(content).replace(b"{id}", item["id"].encode())
    headers = {"Idempotency-Key": "cut-off"}
    if what == "an edit":
        headers["If-Match"] = f'"{item["version"]}"'
    lost = await lost_answer(room, ada, tmp_path, method, path, body, headers)
    done = await effects(room, ada)
    for _ in range(2):
        again = await room.service.ask(
            method, f"/api/inventory{path}", token=ada.token, body=body, headers=headers
        )
        assert again.status in (200, 201)
        assert again.body == lost
    assert await effects(room, ada) == done
    assert len(done) == (3 if what == "an edit" else 4)  # the item before it made two


async def effects(room: Stockroom, who: Account) -> list[tuple[str, str]]:
    """Every row of the workspace's ledger and outbox."""
    rows = await room.service.fetch(
        """
        SELECT 'ledger' AS what, id::text FROM ledger WHERE workspace_id = $1
        UNION ALL SELECT 'event', id::text FROM outbox WHERE workspace_id = $1
        ORDER BY 1, 2
        """,
        who.workspace_id,
    )
    return [(row["what"], row["id"]) for row in rows]
