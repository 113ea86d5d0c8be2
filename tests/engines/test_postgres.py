"""Our own PostgreSQL: closed to everybody without a password, alive again after `kill -9`."""

import asyncio
import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
import pytest_asyncio

from restock.engines import cluster
from restock.engines.account import postgres_account
from restock.engines.cluster import ELSEWHERE, Cluster
from restock.engines.datadir import DataDir
from restock.engines.failures import EngineError
from restock.engines.names import SERVICES
from restock.engines.postgres import PostgresEngine, require_version
from restock.engines.processes import alive, mark

QUICK = {"fsync": "off", "shared_buffers": "16MB"}


@pytest_asyncio.fixture(loop_scope="session")
async def directory(scratch: Path, tmp_path: Path) -> AsyncIterator[DataDir]:
    claimed = DataDir.claim(scratch / tmp_path.name)
    yield claimed
    claimed.release()


@pytest_asyncio.fixture(loop_scope="session")
async def engine(directory: DataDir) -> AsyncIterator[PostgresEngine]:
    running = PostgresEngine(directory, options=QUICK)
    await running.start()
    yield running
    await running.stop()


async def test_service_roles_reach_their_own_database_only(postgres: PostgresEngine) -> None:
    for service in SERVICES:
        connection = await asyncpg.connect(postgres.service_url(service))
        owned = await connection.fetchval(
            "SELECT count(*) FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid "
            "WHERE r.rolname = current_user AND d.deptype = 'o'"
        )
        assert owned == 0
        for statement in (
            "CREATE TABLE mine (id int)",
            "CREATE SCHEMA mine",
            "CREATE TEMP TABLE mine (id int)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.close()
        others = {f"restock_{other}" for other in SERVICES if other != service}
        for database in others | {"postgres", "template1"}:
            for url in (
                postgres.service_url(service, database=database),
                postgres.owner_url(service, database=database),
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await asyncpg.connect(url)


async def test_nobody_is_trusted(postgres: PostgresEngine, scratch: Path) -> None:
    url = postgres.service_url("auth")
    password = url.split("@")[0].rpartition(":")[2]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url.replace(password, "wrong"))
    for role in ("restock_auth", "restock_auth_owner", "restock"):
        with pytest.raises(asyncpg.PostgresError):
            await asyncpg.connect(
                user=role,
                database="restock_auth",
                host=str(postgres.socket_directory),
                passfile=str(scratch / "no-such-file"),
            )
    connection = await asyncpg.connect(postgres.admin_url())
    rules = await connection.fetch("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    hashed = await connection.fetch(
        "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'"
    )
    await connection.close()
    assert [rule["auth_method"] for rule in rules] == ["scram-sha-256"]
    assert hashed == []


async def test_it_listens_on_no_port(postgres: PostgresEngine) -> None:
    assert postgres.pid is not None
    family = [psutil.Process(postgres.pid)]
    family += family[0].children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):  # the vacuum comes and goes
            assert process.net_connections("inet") == []
    assert stat.S_IMODE(postgres.socket_directory.stat().st_mode) == 0o700


async def test_durability_is_on_unless_a_test_says_otherwise(directory: DataDir) -> None:
    engine = PostgresEngine(directory)
    await engine.start()
    connection = await asyncpg.connect(engine.admin_url())
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert await connection.fetchval("SELECT current_setting($1)", setting) == "on"
    await connection.close()
    await engine.stop()


async def test_killed_it_comes_back_with_what_was_committed(engine: PostgresEngine) -> None:
    owner = await asyncpg.connect(engine.owner_url("auth"))
    await owner.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
    before = engine.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await _until_ready_as_another(engine, before)
    again = await asyncpg.connect(engine.owner_url("auth"))
    assert await again.fetchval("SELECT n FROM kept") == 1
    await again.close()
    assert len(_servers_on(engine)) == 1


async def test_told_to_stop_gently_it_does_not_wait_for_who_never_leaves(
    engine: PostgresEngine,
) -> None:
    """By somebody else, with SIGTERM: whoever is connected stays, and nobody else is let in."""
    stays = await asyncpg.connect(engine.owner_url("auth"))
    before = engine.pid
    assert before is not None
    os.kill(before, signal.SIGTERM)
    await _until_ready_as_another(engine, before)
    again = await asyncpg.connect(engine.owner_url("auth"))
    assert await again.fetchval("SELECT 1") == 1
    await again.close()
    stays.terminate()


async def test_stopped_and_started_it_keeps_data_and_passwords(engine: PostgresEngine) -> None:
    url = engine.owner_url("vendor")
    owner = await asyncpg.connect(url)
    await owner.execute("CREATE TABLE kept (n int)")
    await engine.stop()  # the open session does not hold it up
    assert engine.pid is None
    assert _servers_on(engine) == []
    await engine.start()
    assert engine.owner_url("vendor") == url
    again = await asyncpg.connect(url)
    assert await again.fetchval("SELECT count(*) FROM kept") == 0
    await again.close()


KILLED_OWNER = """
import asyncio, os, signal, sys
from pathlib import Path
from restock.engines.datadir import DataDir
from restock.engines.postgres import PostgresEngine

async def main():
    engine = PostgresEngine(DataDir.claim(Path(sys.argv[1])), options={"fsync": "off"})
    await engine.start()
    print(engine.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_a_killed_owner_left_is_ended_by_the_next(scratch: Path) -> None:
    place = scratch / "killed-owner"
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_OWNER, str(place), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await owner.communicate()
    assert owner.returncode == -signal.SIGKILL
    left = mark(int(said.splitlines()[-1]))
    assert left is not None, "the server should outlive its owner"
    directory = DataDir.claim(place)
    assert directory.ended == ["postgres"]
    assert not alive(left)
    engine = PostgresEngine(directory, options=QUICK)
    await engine.start()
    assert _servers_on(engine) == [engine.pid]
    await engine.stop()
    directory.release()


async def test_a_server_nobody_wrote_down_is_ended_too(
    directory: DataDir, engine: PostgresEngine
) -> None:
    (directory.root / "run" / "postgres.json").unlink()
    before = engine.pid
    assert before is not None
    found = mark(before)
    assert found is not None
    await asyncio.to_thread(Cluster.at(directory, postgres_account()).clear)
    assert not alive(found)


async def test_a_start_cut_short_leaves_nothing_half_made(directory: DataDir) -> None:
    first = PostgresEngine(directory, options=QUICK)
    starting = asyncio.create_task(first.start())
    while not list((first.place).glob("postgres/data.new-*/base")):
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    second = PostgresEngine(directory, options=QUICK)
    await second.start()
    connection = await asyncpg.connect(second.service_url("auth"))
    await connection.close()
    await second.stop()


async def test_a_cluster_that_was_removed_is_made_anew(
    directory: DataDir, engine: PostgresEngine
) -> None:
    await engine.stop()
    await asyncio.to_thread(shutil.rmtree, engine.place / "postgres")
    await engine.start()
    connection = await asyncpg.connect(engine.service_url("auth"))
    await connection.close()


async def test_an_engine_that_cannot_start_says_where_its_log_is(directory: DataDir) -> None:
    engine = PostgresEngine(directory, options={"shared_buffers": "much"})
    with pytest.raises(EngineError, match="shared_buffers") as refused:
        await engine.start()
    assert str(directory.log_path("postgres")) in str(refused.value)
    assert engine.pid is None
    assert _servers_on(engine) == []


async def test_a_pid_file_that_names_a_stranger_does_not_stop_it(
    directory: DataDir, engine: PostgresEngine
) -> None:
    await engine.stop()
    stranger = await asyncio.create_subprocess_exec("sleep", "600")
    pid_file = engine.place / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text(f"{stranger.pid}\n{pid_file.parent}\n0\n5432\n\n\n\nready\n")
    await engine.start()
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


async def test_a_path_too_long_for_a_socket_gets_a_private_short_one(scratch: Path) -> None:
    directory = DataDir.claim(scratch / ("long-" + "x" * 90))
    engine = PostgresEngine(directory, options=QUICK)
    await engine.start()
    place = engine.socket_directory
    assert directory.root not in place.parents
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    connection = await asyncpg.connect(engine.service_url("auth"))
    await connection.close()
    await engine.stop()
    assert not place.exists()
    directory.release()


async def test_no_permission_outside_the_data_directory_is_touched(scratch: Path) -> None:
    closed = scratch / "closed"
    closed.mkdir(mode=0o700)
    above = [closed, *closed.parents]
    before = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in above]
    directory = DataDir.claim(closed / "data")
    engine = PostgresEngine(directory, options=QUICK)
    await engine.start()
    after = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in above]
    assert after == before
    connection = await asyncpg.connect(engine.service_url("auth"))
    await connection.close()
    # Only its own user may be unable to pass: then its files are where it can.
    elsewhere = not postgres_account().is_self
    assert engine.place == (ELSEWHERE / directory.identity if elsewhere else directory.root)
    assert (directory.root / "postgres" / "data").exists()
    await engine.stop()
    directory.release()
    if elsewhere:
        shutil.rmtree(engine.place)


def test_a_copied_data_directory_does_not_share_its_databases(tmp_path: Path) -> None:
    """Where PostgreSQL's files aren't in it, a copy would name the very same ones."""
    place, root, other = (tmp_path / name for name in ("elsewhere", "data", "copy"))
    for path in (place, root, other):
        path.mkdir()
    (place / "data-directory").write_text(f"{root}\n")
    cluster._require_no_copy(root, place)
    with pytest.raises(EngineError, match="is a copy of"):
        cluster._require_no_copy(other, place)
    root.rmdir()  # it was no copy, it was moved
    cluster._require_no_copy(other, place)


async def test_the_server_cannot_change_its_configuration(engine: PostgresEngine) -> None:
    account = postgres_account()
    for path in (engine.place / "postgres-config").iterdir():
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == 0o640
        assert found.st_uid == os.geteuid()
        assert found.st_gid == account.gid


def test_an_older_server_is_refused() -> None:
    class Old:
        def get_server_version(self) -> asyncpg.types.ServerVersion:
            return asyncpg.types.ServerVersion(17, 6, 0, "final", 0)

    with pytest.raises(EngineError, match="18 or later"):
        require_version(Old())  # type: ignore[arg-type]


def _servers_on(engine: PostgresEngine) -> list[int]:
    """The postmasters that work on the engine's files."""
    data = os.path.realpath(engine.place / "postgres" / "data")
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and os.path.realpath(process.cwd()) == data:
                parent = process.parent()
                if parent is None or parent.name() != "postgres":
                    found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


async def _until_ready_as_another(engine: PostgresEngine, before: int) -> None:
    while engine.pid in (None, before) or not await engine.ready():
        await asyncio.sleep(0.005)


def test_only_what_belonged_to_a_vanished_temporary_directory_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, temporary = tmp_path / "elsewhere", tmp_path / "temporary"
    monkeypatch.setattr(cluster, "ELSEWHERE", elsewhere)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    owners = {
        "gone": temporary / "gone",
        "there": temporary / "there",
        "unmounted": tmp_path / "disk" / "data",
    }
    (temporary / "there").mkdir(parents=True)
    for name, root in owners.items():
        (elsewhere / name / "postgres").mkdir(parents=True)
        (elsewhere / name / "data-directory").write_text(f"{root}\n")
    (elsewhere / "unknown").mkdir()
    cluster.forget_vanished()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["there", "unknown", "unmounted"]
