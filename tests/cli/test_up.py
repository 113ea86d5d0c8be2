"""`restock up` on a whole system: ready, told apart from another, killed, started again, ended."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio
from nats.aio.client import Client

from restock.engines.datadir import read_json
from restock.engines.local import environment_of
from restock.engines.names import OPERATOR, login_of
from restock.engines.nats import Credential
from restock.engines.processes import ENGINES, alive, mark
from restock.engines.streams import connect
from tests.cli.commands import Up, ran
from tests.fixtures.ports import free_offset

ACCOUNT = {"email": "kept@example.com", "name": "Kept", "password": "a long enough one"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def up() -> AsyncIterator[Up]:
    """One system for this file; the tests follow its life in their order."""
    place = _reachable_place()
    system = Up(place / "data", free_offset())
    await system.start()
    await system.ready()
    yield system
    if system.process is not None and system.process.returncode is None:
        system.process.terminate()
        await system.ended()
    shutil.rmtree(place)


async def test_one_line_says_where_it_answers(up: Up) -> None:
    assert up.out == [f"ready {up.url}\n"]
    status, health = await _get(f"{up.url}/health")
    assert (status, health["status"]) == (200, "ready")
    assert set(health["services"]) >= {"auth", "inventory", "notification", "vendor"}


async def test_a_second_start_on_the_directory_is_refused(up: Up) -> None:
    second = await ran("up", "--data-dir", str(up.root), "--port-offset", str(free_offset()))
    assert second.code == 1
    assert second.out == ""
    assert f"already running on {up.root} (pid {up.pid})" in second.err


async def test_a_second_start_on_the_ports_says_which_and_how_to_move(
    up: Up, tmp_path: Path
) -> None:
    second = await ran("up", "--data-dir", str(tmp_path / "b"), "--port-offset", str(up.offset))
    assert second.code == 1
    assert f"port {3000 + up.offset} on 127.0.0.1 is taken" in second.err
    assert "--port-offset" in second.err


async def test_a_worker_knows_no_secrets_but_its_own(up: Up) -> None:
    # what stands in memory: a fork inherits that of the fork server
    secrets = read_json(up.root / "secrets.json")
    for name, known in up.note_processes().items():
        if name in ("envoy", *ENGINES):
            continue
        found = {whose for whose in secrets if _holds(known.pid, secrets[whose].encode())}
        own = {f"nats.{name}", f"postgres.{login_of(name)}"} if f"nats.{name}" in secrets else set()
        assert found == own, name


async def test_nothing_secret_is_readable_by_others(up: Up) -> None:
    open_to_others = [
        path
        for path in up.root.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o004
        if not any(part.stat().st_mode & 0o001 == 0 for part in path.parents)
    ]
    assert open_to_others == []
    assert (up.root / "secrets.json").stat().st_mode & 0o777 == 0o600


async def test_status_shows_every_part(up: Up) -> None:
    shown = await ran("status", "--data-dir", str(up.root))
    assert shown.code == 0, shown.out + shown.err
    assert up.url in shown.out
    for name in ("auth", "inventory", "notification", "vendor", "gateway", "nats", "postgres"):
        assert name in shown.out


async def test_dead_letters_are_listed_and_replayed_once(up: Up) -> None:
    client = await _operator(up)
    jetstream = client.jetstream(timeout=5)
    for number in (1, 2):
        await jetstream.publish(
            "deadletters.notification.vendor.nothing.happened",
            b'{"id": "%d", "type": "vendor.nothing.happened"}' % number,
            headers={"Restock-Error": "it broke", "Restock-Deliveries": "8"},
        )
    listed = await ran("deadletters", "list", "--data-dir", str(up.root))
    assert [line.split("\t")[:4] for line in listed.out.splitlines()] == [
        ["1", "notification", "vendor.nothing.happened", "1"],
        ["2", "notification", "vendor.nothing.happened", "2"],
    ]
    assert "it broke" in listed.out
    unknown = await ran("deadletters", "replay", "9", "--data-dir", str(up.root))
    assert (unknown.code, unknown.out) == (1, "")
    replayed = await ran("deadletters", "replay", "2", "--data-dir", str(up.root))
    assert replayed.code == 0, replayed.err
    last = await jetstream.get_last_msg("VENDOR", "vendor.nothing.happened")
    assert last.data == b'{"id": "2", "type": "vendor.nothing.happened"}'
    assert (last.headers or {})["Nats-Msg-Id"] == "2.replay.2"
    await ran("deadletters", "replay", "--data-dir", str(up.root))
    assert (await jetstream.stream_info("DEADLETTERS")).state.messages == 0
    await client.close()


async def test_what_is_killed_comes_back(up: Up) -> None:
    before = up.note_processes()
    for name in ("auth", "nats", "postgres", "gateway"):
        os.kill(before[name].pid, signal.SIGKILL)
    for name in ("auth", "nats", "postgres", "gateway"):
        await up.said(f"{name} was ended by SIGKILL")
    await _until_ready(up)
    after = up.note_processes()
    assert set(after) == set(before)
    assert after["inventory"] == before["inventory"]
    assert not any(after[name] == before[name] for name in ("auth", "nats", "postgres", "gateway"))


async def test_killed_itself_it_starts_again_with_everything_kept(up: Up) -> None:
    status, _ = await _post(f"{up.url}/api/auth/register", ACCOUNT)
    assert status == 201
    before = up.note_processes()
    os.kill(up.pid, signal.SIGKILL)
    assert await up.ended() == -signal.SIGKILL
    assert alive(before["postgres"])
    await up.start()
    await up.ready()
    assert not any(alive(known) for known in before.values())
    assert "ended what an earlier start left" in "".join(up.err)
    login = {name: ACCOUNT[name] for name in ("email", "password")}
    status, _ = await _post(f"{up.url}/api/auth/login", login)
    assert status == 200


async def test_told_to_stop_it_leaves_nothing(up: Up) -> None:
    up.note_processes()
    os.kill(up.pid, signal.SIGTERM)
    assert await up.ended() == 0
    assert up.out == [f"ready {up.url}\n"]
    assert [name for name, known in up.seen.items() if alive(known)] == []
    assert list((up.root / "run").glob("*.json")) == []
    assert mark(up.pid) is None
    shown = await ran("status", "--data-dir", str(up.root))
    assert shown.code == 1
    assert "nothing runs" in shown.err


def _holds(pid: int, words: bytes) -> bool:
    """Whether the words stand anywhere in the memory that a process may write to."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *rest = line.split()
            if rights.startswith("rw") and "[v" not in rest[-1]:
                begin, end = (int(part, 16) for part in place.split("-"))
                memory.seek(begin)
                if words in memory.read(end - begin):
                    return True
    return False


def _reachable_place() -> Path:
    """A directory that PostgreSQL's own account may pass through."""
    place = Path(tempfile.mkdtemp(prefix="restock-up-"))
    place.chmod(0o711)
    return place


async def _operator(up: Up) -> Client:
    found = environment_of(up.root, OPERATOR)
    return await connect(
        found["RESTOCK_NATS_URL"],
        Credential(OPERATOR, found["RESTOCK_NATS_OPERATOR_PASSWORD"]),
    )


async def _get(url: str) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.json(content_type=None)


async def _post(url: str, body: dict[str, str]) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        return answer.status, await answer.json(content_type=None)


async def _until_ready(up: Up) -> None:
    while True:
        try:
            status, health = await _get(f"{up.url}/health")
        except aiohttp.ClientError:
            status, health = 0, {}
        if (status, health.get("status")) == (200, "ready"):
            return
        await asyncio.sleep(0.05)
