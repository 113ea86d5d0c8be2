"""Engines from the wheels, started once a run; services started a test."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from xdist.scheduler import LoadFileScheduling

from restock.engines.datadir import DataDir
from restock.engines.nats import NatsEngine
from restock.engines.postgres import PostgresEngine
from restock.engines.streams import bring_streams
from restock.kernel.migrate import migrate
from restock.system import load
from tests.fixtures import figures as figures_of_run
from tests.fixtures.figures import Figures
from tests.fixtures.ports import free_port
from tests.fixtures.running import RunningService, running_service
from tests.fixtures.tokens import token_for as make_token

SHARED = "tests/tokens/"
DATABASES = ("auth", "inventory", "vendor", "notification")

MakeService = Callable[..., Awaitable[RunningService]]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[figures_of_run.KEY] = Figures()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures_of_run.say(terminalreporter, config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes of the run
        session.config.workeroutput["figures"] = session.config.stash[figures_of_run.KEY].all()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    counted, told = getattr(node, "workeroutput", {}).get("figures", ({}, {}))
    node.config.stash[figures_of_run.KEY].join(counted, told)


class SideBySide(LoadFileScheduling):
    """Which tests of a run stay in one process: a file's, and all that share a whole system."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return SHARED if file.startswith(SHARED) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return SideBySide(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a test counts what it tried; the run ends with the sums."""
    return request.config.stash[figures_of_run.KEY]


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory of the run's own, on a path short enough for a Unix socket."""
    path = Path(tempfile.mkdtemp(prefix="restock-"))
    path.chmod(0o711)  # as root, PostgreSQL runs under an account that must pass through
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(scratch: Path) -> AsyncIterator[PostgresEngine]:
    """PostgreSQL with every service's database migrated; tests clone them."""
    directory = DataDir.claim(scratch / "postgres")
    # a test run's database need not survive the machine
    engine = PostgresEngine(directory, options={"fsync": "off", "max_connections": "300"})
    await engine.start()
    for service in DATABASES:
        await asyncio.to_thread(migrate, service, engine.owner_url(service))
    yield engine
    await engine.stop()
    directory.release()


@pytest_asyncio.fixture(loop_scope="session")
async def nats(scratch: Path) -> AsyncIterator[NatsEngine]:
    """NATS with its streams, empty, for one test."""
    directory = DataDir.claim(Path(tempfile.mkdtemp(prefix="nats-", dir=scratch)))
    engine = NatsEngine(directory, port=free_port())
    await engine.start()
    await bring_streams(engine.operator_env(), within_s=30)
    yield engine
    await engine.stop()
    directory.release()


@pytest_asyncio.fixture(loop_scope="session")
async def make_service(postgres: PostgresEngine) -> AsyncIterator[MakeService]:
    """`await make_service("inventory", setting="value")`: stopped at the end of the test."""
    async with AsyncExitStack() as stack:

        async def make(name: str, **options: Any) -> RunningService:
            return await stack.enter_async_context(running_service(load(name), postgres, **options))

        yield make


@pytest.fixture
def token_for() -> Callable[..., str]:
    """Makes access tokens that the services of `make_service` accept."""
    return make_token
