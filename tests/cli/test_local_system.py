"""The whole system on one machine: what each worker is told, and that everything is ended."""

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import IO

import pytest

from restock.cli.addresses import plan
from restock.cli.local_system import LocalSystem, StartFailed
from restock.cli.story import Story
from restock.engines.datadir import DataDir
from restock.engines.local import FACTS, write_facts
from restock.kernel.supervisor import Child, Process, Supervisor
from restock.system import PARTS


@pytest.fixture
def directory(tmp_path: Path):
    claimed = DataDir.claim(tmp_path / "data")
    yield claimed
    claimed.release()


def system(directory: DataDir, environ: dict[str, str] | None = None) -> LocalSystem:
    found = environ or {}
    return LocalSystem(directory, plan(found, offset=0), {}, found, Story(directory.log_path("up")))


@pytest.mark.parametrize("service", PARTS)
def test_no_worker_is_told_who_the_operator_is(directory: DataDir, service: str) -> None:
    secrets = {
        "RESTOCK_NATS_OPERATOR_USER": "operator",
        "RESTOCK_NATS_OPERATOR_PASSWORD": "of the operator",
        "RESTOCK_NATS_URL": "nats://127.0.0.1:4222",
    }
    found = system(directory, secrets)._environment(service, 0)
    assert [name for name in found if "OPERATOR" in name] == []
    assert found["RESTOCK_NATS_URL"] == secrets["RESTOCK_NATS_URL"]


class Taking:
    """A fork server that takes any command and says it went well; none of its forks is made."""

    async def run(self, child: Child) -> int:
        self.child = child
        return 0

    async def fork(self, _child: Child, _output: IO[bytes] | None) -> Process:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


async def test_a_command_knows_what_is_no_setting_and_no_secret_besides_its_own(
    directory: DataDir,
) -> None:
    outside = {"PGSSLROOTCERT": "/etc/of/the/operator.pem", "HOME": "/home/operator"}
    place = "postgresql://db.example/restock_auth"
    secrets = {
        "RESTOCK_AUTH_DATABASE_URL": f"{place}?of=auth",
        "RESTOCK_AUTH_MIGRATE_URL": f"{place}?of=its-owner",
    }
    own, forks = {"RESTOCK_AUTH_MIGRATE_URL": "of the cluster"}, Taking()
    await system(directory, outside | secrets)._run(
        forks,  # type: ignore[arg-type]
        ["migrate", "auth"],
        own,
        "not migrated",
    )
    assert forks.child.env == outside | own


async def test_a_worker_that_can_never_be_forked_ends_the_start(
    directory: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(*_: object, **__: float) -> dict[str, object]:
        return {}

    monkeypatch.setattr("restock.cli.local_system.ask_health", nobody)
    monkeypatch.setattr("restock.kernel.supervisor.FIRST_DELAY_S", 0.001)
    starting = system(directory)
    starting._sockets = dict.fromkeys(PARTS, socket.socket())
    children = starting._children(Taking())  # type: ignore[arg-type]
    stop = asyncio.Event()
    running = asyncio.create_task(Supervisor(children).run(stop))
    with pytest.raises(StartFailed, match="didn't start"):
        await starting._until_ready()
    stop.set()
    await running


class Stubborn:
    """An engine that says what it was asked, and may fail to stop."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked = 0
        self.error = error

    async def stop(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


async def test_one_engine_that_fails_to_stop_leaves_no_other_running(directory: DataDir) -> None:
    running = system(directory)
    postgres, nats = Stubborn(), Stubborn(OSError("no room left"))
    running._postgres, running._nats = postgres, nats  # type: ignore[assignment]
    write_facts(directory.root, {"public": "127.0.0.1:3000"})
    sleeper = await asyncio.create_subprocess_exec("sleep", "600")
    directory.records.note("auth", sleeper.pid)
    started = asyncio.create_task(asyncio.sleep(0))
    with pytest.raises(OSError, match="no room left"):
        await running._drain(started, None, asyncio.Event())
    assert (postgres.asked, nats.asked) == (1, 1)
    assert await sleeper.wait() != 0
    assert not (directory.root / FACTS).exists()
