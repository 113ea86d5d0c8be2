"""A data directory is ours or refused, has one owner at a time, and keeps its secrets."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from restock.engines.datadir import DataDir
from restock.engines.failures import DataDirInUse, DataDirNotOurs, EngineError
from restock.engines.local import environment_of, forget_facts, read_facts, write_facts


def test_it_is_made_private(tmp_path: Path) -> None:
    directory = DataDir.claim(tmp_path / "a" / "b")
    directory.secret("one")
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (directory.root, *directory.root.iterdir())
    }
    directory.release()
    assert not any(mode & 0o077 for mode in modes.values()), modes


def test_secrets_are_kept(tmp_path: Path) -> None:
    directory = DataDir.claim(tmp_path / "data")
    first, second = directory.secret("one"), directory.secret("two")
    directory.release()
    again = DataDir.claim(tmp_path / "data")
    assert (again.secret("one"), again.secret("two")) == (first, second)
    assert first != second
    assert len(first) >= 32
    again.release()


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    directory = DataDir.claim(tmp_path / "data")
    with pytest.raises(DataDirInUse, match="already running"):
        DataDir.claim(tmp_path / "data")
    directory.release()
    DataDir.claim(tmp_path / "data").release()


async def test_a_child_does_not_hold_the_claim(tmp_path: Path) -> None:
    directory = DataDir.claim(tmp_path / "data")
    child = await asyncio.create_subprocess_exec("sleep", "600", close_fds=False)
    directory.release()
    DataDir.claim(tmp_path / "data").release()
    child.kill()
    await child.wait()


def test_a_directory_of_others_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "papers"
    place.mkdir(mode=0o755)
    (place / "letter.txt").write_text("dear")
    with pytest.raises(DataDirNotOurs, match="--data-dir"):
        DataDir.claim(place)
    assert [path.name for path in place.iterdir()] == ["letter.txt"]
    assert stat.S_IMODE(place.stat().st_mode) == 0o755


def test_an_empty_directory_is_taken_and_closed_to_others(tmp_path: Path) -> None:
    place = tmp_path / "empty"
    place.mkdir(mode=0o755)
    DataDir.claim(place).release()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_one_of_a_later_version_is_refused(tmp_path: Path) -> None:
    DataDir.claim(tmp_path / "data").release()
    marker = tmp_path / "data" / "restock.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 99}))
    with pytest.raises(DataDirNotOurs, match="another version"):
        DataDir.claim(tmp_path / "data")


def test_others_learn_where_the_engines_are_while_it_runs(tmp_path: Path) -> None:
    root = tmp_path / "data"
    directory = DataDir.claim(root)
    passwords = {
        name: directory.secret(name)
        for name in (
            "postgres.restock_auth",
            "postgres.restock_auth_owner",
            "nats.auth",
            "nats.operator",
        )
    }
    write_facts(root, {"postgres_socket": "/run/x", "nats_url": "nats://127.0.0.1:3107"})
    found = environment_of(root, "auth")
    assert found["RESTOCK_AUTH_NATS_PASSWORD"] == passwords["nats.auth"]
    assert passwords["postgres.restock_auth"] in found["RESTOCK_AUTH_DATABASE_URL"]
    assert passwords["postgres.restock_auth_owner"] in found["RESTOCK_AUTH_MIGRATE_URL"]
    operator = environment_of(root, "operator")
    assert operator["RESTOCK_NATS_OPERATOR_PASSWORD"] == passwords["nats.operator"]
    directory.release()
    with pytest.raises(EngineError, match="nothing runs"):
        read_facts(root)
    directory = DataDir.claim(root)
    forget_facts(root)
    with pytest.raises(EngineError, match="nothing runs"):
        read_facts(root)
    directory.release()


def test_a_first_claim_cut_short_can_be_made_again(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.mkdir()
    (place / "restock.json.new").write_text('{"form')
    DataDir.claim(place).release()
    assert json.loads((place / "restock.json").read_text())["format"] == 1
    assert not (place / "restock.json.new").exists()
