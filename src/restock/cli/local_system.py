"""The whole system on one machine: engines, databases, workers, gateway; from start to drain."""

import asyncio
import shutil
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg import Connection, Record

from restock.cli.addresses import Address, Addresses
from restock.cli.health import ask_health, failing
from restock.cli.story import Story
from restock.engines.datadir import DataDir, log_end
from restock.engines.failures import EngineError
from restock.engines.forkserver import ForkServer
from restock.engines.local import forget_facts, write_facts
from restock.engines.names import OPERATOR_PASSWORD
from restock.engines.nats import NatsEngine
from restock.engines.postgres import PostgresEngine, require_version
from restock.engines.running import Engine
from restock.kernel.revision import WrongTables, is_current
from restock.kernel.supervisor import Child, Supervisor
from restock.system import PARTS

PATIENCE = 3  # exits before it was ever ready, after which a worker is given up
POLL_S = 0.03
TELL_EVERY_S = 10.0  # while something isn't ready
DRAIN_TIMEOUT_S = 60.0  # longer than a worker gives each of its parts
SERVICES_STAGE, GATEWAY_STAGE = 1, 2
OF_THE_OPERATOR = "RESTOCK_NATS_OPERATOR_"  # streams and dead letters: no worker's business
SECRET_ENDINGS = ("_DATABASE_URL", "_MIGRATE_URL", "_NATS_USER", "_NATS_PASSWORD")


class StartFailed(Exception):
    """The system can't be brought up. The message says why, and where to read more."""


class LocalSystem:
    """Everything `restock up` starts. `start`, then `run` until told to stop."""

    def __init__(
        self,
        directory: DataDir,
        addresses: Addresses,
        sockets: Mapping[str, socket.socket],
        environ: Mapping[str, str],
        story: Story,
    ) -> None:
        self._directory = directory
        self._addresses = addresses
        self._sockets = sockets
        self._environ = environ
        self._story = story
        self._postgres: PostgresEngine | None = None
        self._nats: NatsEngine | None = None
        self._forks: ForkServer | None = None
        self._supervisor: Supervisor | None = None
        self._exits: dict[str, int] = {}
        self._unready: dict[str, dict[str, Any]] = {}  # what each said of itself last

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Start, call `on_ready` once every part is, drain when `stop` is set.

        Raises StartFailed and EngineError; whatever was started has ended then too.
        """
        stopping = asyncio.create_task(stop.wait())
        starting = asyncio.create_task(self._start_engines())
        halt = asyncio.Event()
        supervising: asyncio.Task[None] | None = None
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return
            forks = await starting
            self._supervisor = Supervisor(
                self._children(forks), self._story, records=self._directory.records
            )
            supervising = asyncio.create_task(self._supervisor.run(halt))
            waiting = asyncio.create_task(self._until_ready())
            await asyncio.wait(
                {waiting, stopping, supervising}, return_when=asyncio.FIRST_COMPLETED
            )
            if not waiting.done():
                waiting.cancel()
            else:
                await waiting
                on_ready()
            parts = [engine.task for engine in self._engines() if engine.task is not None]
            await asyncio.wait({stopping, supervising, *parts}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await self._drain(starting, supervising, halt)

    async def _drain(
        self,
        starting: "asyncio.Task[ForkServer]",
        supervising: "asyncio.Task[None] | None",
        halt: asyncio.Event,
    ) -> None:
        """Gateway, services, NATS, PostgreSQL: each may still need the next."""
        if not starting.done():
            starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        halt.set()
        steps: list[Callable[[], Awaitable[Any]]] = []
        if supervising is not None:
            steps.append(partial(asyncio.wait_for, supervising, None))
        steps += [engine.stop for engine in reversed(self._engines())]
        steps.append(partial(asyncio.to_thread, self._directory.records.end_all))
        steps.append(partial(asyncio.to_thread, forget_facts, self._directory.root))
        failures = []
        for step in steps:  # each is taken whatever became of those before it
            try:
                await step()
            except BaseException as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _engines(self) -> list[Engine]:
        parts = (self._postgres, self._nats, self._forks)
        return [engine for engine in parts if engine is not None]

    async def _start_engines(self) -> ForkServer:
        """The fork server and the engines no URL replaces, side by side, then the tables."""
        self._forks = ForkServer(
            self._environ,
            records=self._directory.records,
            log_path=self._directory.log_path(ForkServer.name),
            log=self._story,
        )
        jobs = [self._forks.start()]
        databases = [name for name, part in PARTS.items() if part.database]
        if not all(self._environ.get(_url_variable(name)) for name in databases):
            self._postgres = PostgresEngine(
                self._directory,
                options={"max_connections": str(self._addresses.connections)},
                log=self._story,
            )
            jobs.append(self._start_postgres(self._postgres))
        if self._addresses.nats is not None:
            self._nats = NatsEngine(
                self._directory, port=self._addresses.nats.port, log=self._story
            )
            jobs.append(self._nats.start())
        # All of them are waited for even when one fails: what was started must be stopped whole.
        for result in await asyncio.gather(*jobs, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        write_facts(self._directory.root, self._facts())
        running = [f"{engine.name} (pid {engine.pid})" for engine in self._engines()]
        self._story.say(f"engines ready: {', '.join(running) or 'those of the settings'}")
        urls = {name: self._migrate_url(name) for name in databases}
        await self._bring_streams(self._forks)
        await self._migrate(self._forks, urls)
        for name in databases:
            if url := self._environ.get(_url_variable(name)):
                await (await _connect(name, url)).close()
        return self._forks

    async def _start_postgres(self, postgres: PostgresEngine) -> None:
        await postgres.start()
        if postgres.place != self._directory.root:
            self._story.say(
                f"PostgreSQL's files are in {postgres.place}: the user it runs as can't reach "
                f"{self._directory.root}",
                kind="warn",
            )

    async def _bring_streams(self, forks: ForkServer) -> None:
        names = ("RESTOCK_NATS_URL", "RESTOCK_NATS_OPERATOR_USER", OPERATOR_PASSWORD)
        env = {name: self._environ[name] for name in names if self._environ.get(name)}
        if self._nats is not None:
            env = self._nats.operator_env()
        elif OPERATOR_PASSWORD not in env:
            self._story.say(
                f"streams are left as they are: {OPERATOR_PASSWORD} is not set", kind="warn"
            )
            return
        if replicas := self._environ.get("RESTOCK_STREAM_REPLICAS"):
            env["RESTOCK_STREAM_REPLICAS"] = replicas
        await self._run(forks, ["streams"], env, "the streams were not made")

    async def _run(
        self, forks: ForkServer, words: list[str], env: Mapping[str, str], failed: str
    ) -> None:
        """A command in a process of its own, so that what it imports is not kept here.

        Besides `env` it gets what is no setting of ours: where certificates are, say.
        """
        kept = {name: to for name, to in self._environ.items() if not name.startswith("RESTOCK_")}
        log_path = self._directory.log_path(words[0])
        child = Child(
            name=words[0],
            argv=words,
            env={**kept, **env},
            cwd=self._directory.root,
            log_path=log_path,
        )
        if await forks.run(child):
            raise StartFailed(f"{failed}; the log is {log_path} and ends with\n{log_end(log_path)}")

    async def _migrate(self, forks: ForkServer, urls: Mapping[str, str]) -> None:
        current = await asyncio.gather(*(_is_current(name, url) for name, url in urls.items()))
        behind = [name for name, done in zip(urls, current, strict=True) if not done]
        if not behind:
            return
        given = {f"RESTOCK_{name.upper()}_MIGRATE_URL": urls[name] for name in behind}
        await self._run(forks, ["migrate", *behind], given, f"not migrated: {', '.join(behind)}")
        for name in behind:
            self._story.say(f"database of {name}: migrated")

    def _migrate_url(self, service: str) -> str:
        given = self._environ.get(f"RESTOCK_{service.upper()}_MIGRATE_URL")
        if self._environ.get(_url_variable(service)):
            if not given:
                raise StartFailed(
                    f"RESTOCK_{service.upper()}_MIGRATE_URL is missing: the same database as "
                    f"{_url_variable(service)}, as the owner of its tables"
                )
            return given
        if self._postgres is None:
            raise StartFailed(f"{_url_variable(service)} is missing")
        return self._postgres.owner_url(service)

    def _children(self, forks: ForkServer) -> list[Child]:
        children = []
        for name, count in self._addresses.workers.items():
            stage = GATEWAY_STAGE if name == "gateway" else SERVICES_STAGE
            for number in range(count):
                label = name if count == 1 else f"{name}-{number}"
                children.append(
                    Child(
                        name=label,
                        argv=["run", name],
                        env=self._environment(name, number),
                        sockets=[self._sockets[name]],
                        cwd=self._directory.root,
                        stop_timeout_s=DRAIN_TIMEOUT_S,
                        stage=stage,
                        log_path=self._directory.log_path(label),
                        start=forks.fork,
                        on_exited=partial(self._count_exit, label),
                        on_failed=partial(self._count_exit, label),
                    )
                )
        return children

    def _count_exit(self, label: str, _how: int | OSError) -> None:
        """Also of one that could not be started: then the story has just told why."""
        self._exits[label] = self._exits.get(label, 0) + 1

    def _environment(self, service: str, number: int) -> dict[str, str]:
        """A worker's environment: what we were given without the secrets of others, and ours."""
        auth = self._addresses.services["auth"]
        found = {
            variable: value
            for variable, value in self._environ.items()
            if not _is_secret_of_others(variable, service)
        }
        found.setdefault("RESTOCK_JWKS_URL", f"http://{auth}/.well-known/jwks.json")
        found.setdefault("RESTOCK_INVENTORY_URL", f"http://{self._addresses.services['inventory']}")
        if PARTS[service].database:
            if self._postgres is not None and not found.get(_url_variable(service)):
                found |= self._postgres.env_for(service)
            if self._nats is not None:
                found |= self._nats.env_for(service)
        found.pop(f"RESTOCK_{service.upper()}_MIGRATE_URL", None)
        if self._addresses.workers[service] > 1:
            found["PROMETHEUS_MULTIPROC_DIR"] = str(self._fresh_metrics(service, number))
        if service == "gateway":
            found["RESTOCK_GATEWAY_LISTEN_HOST"] = self._addresses.public.host
            found["RESTOCK_GATEWAY_ENVOY_DIRECTORY"] = str(self._directory.root / "envoy")
        return found | {
            "RESTOCK_PORT_OFFSET": str(self._addresses.offset),
            "RESTOCK_WORKER": str(number),
        }

    def _fresh_metrics(self, service: str, number: int) -> Path:
        """Where the workers of one service put their counts together; emptied at a start."""
        place = self._directory.root / "run" / f"metrics-{service}"
        if number == 0:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o700)
        return place

    async def _until_ready(self) -> None:
        """Wait for every worker that can be asked, then for the gateway, from the outside in."""
        telling = asyncio.create_task(self._tell_who_is_not_ready())
        try:
            await self._ask_until_ready()
        finally:
            telling.cancel()

    async def _tell_who_is_not_ready(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            waiting = [f"{what} ({failing(said)})" for what, said in self._unready.items()]
            self._story.say(f"not ready yet: {', '.join(waiting)}", kind="warn")

    async def _ask_until_ready(self) -> None:
        services = [name for name in PARTS if name != "gateway"]
        asked = [
            self._is_ready(name, self._addresses.services[name], self._addresses.workers[name])
            for name in services
        ]
        asked += [self._is_ready("notification", place) for place in self._addresses.sockets]
        await asyncio.gather(*asked)
        self._story.say("services ready: " + ", ".join(services))
        public = self._addresses.public
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(public.host, public.host)  # noqa: S104
        await self._is_ready("gateway", Address("the gateway", host, public.port, public.setting))

    async def _is_ready(self, service: str, address: Address, workers: int = 1) -> None:
        """Ask until all workers behind the address said ready.

        Raises StartFailed when one keeps ending instead.
        """
        seen: set[int] = set()
        while len(seen) < workers:
            self._require_alive(service)
            # Workers of one port take turns as they like: ask several times at once.
            asked = [
                ask_health(address.host, address.port, timeout_s=2.0)
                for _ in range(1 if workers == 1 else 2 * workers)
            ]
            for found in await asyncio.gather(*asked):
                if found.get("http") == 200 and found.get("status") == "ready":
                    seen.add(found.get("worker", 0))
                else:
                    self._unready[address.what] = found
            if len(seen) < workers:
                self._unready.setdefault(address.what, {})
                await asyncio.sleep(POLL_S)
        self._unready.pop(address.what, None)

    def _require_alive(self, service: str) -> None:
        for label, exits in self._exits.items():
            if label.split("-")[0] == service and exits >= PATIENCE:
                path = self._directory.log_path(label)
                raise StartFailed(
                    f"{label} didn't start; its log is {path} and ends with\n{log_end(path)}"
                )

    def _facts(self) -> dict[str, Any]:
        return {
            "public": str(self._addresses.public),
            "services": {
                name: {
                    "host": address.host,
                    "port": address.port,
                    "workers": self._addresses.workers[name],
                }
                for name, address in self._addresses.services.items()
            },
            "nats_url": self._nats.url if self._nats is not None else None,
            "postgres_socket": (
                str(self._postgres.socket_directory) if self._postgres is not None else None
            ),
        }


def _url_variable(service: str) -> str:
    return f"RESTOCK_{service.upper()}_DATABASE_URL"


def _is_secret_of_others(variable: str, service: str) -> bool:
    own = f"RESTOCK_{service.upper()}_"
    return variable.startswith(OF_THE_OPERATOR) or (
        variable.startswith("RESTOCK_")
        and variable.endswith(SECRET_ENDINGS)
        and not variable.startswith(own)
    )


async def _is_current(service: str, url: str) -> bool:
    """Whether nothing is to be migrated. Raises EngineError and StartFailed: not for us."""
    connection = await _connect(service, url)
    try:
        require_version(connection)
        return await is_current(service, connection)
    except WrongTables as error:
        raise StartFailed(str(error)) from error
    finally:
        await connection.close()


async def _connect(service: str, url: str) -> "Connection[Record]":
    """Raises EngineError."""
    try:
        return await asyncpg.connect(url, timeout=10)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise EngineError(
            f"the database of {service} does not let us in: {error or repr(error)} "
            f"({_url_variable(service)} or RESTOCK_{service.upper()}_MIGRATE_URL, where given)"
        ) from error
