"""PostgreSQL from its wheel: only the programs are used, `initdb` and `postgres` run by us.

It listens on a Unix socket in a private directory and asks everybody for a password (SCRAM).
`cluster` has the files, this module the server and its databases and roles.
"""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from signal import SIGINT, SIGQUIT
from typing import Any

import asyncpg
from asyncpg import Connection, Record

from restock.engines.account import NAME, postgres_account
from restock.engines.cluster import BOOTSTRAPPED, Cluster, environment
from restock.engines.datadir import DataDir, log_end, read_json, write_json
from restock.engines.failures import EngineError
from restock.engines.names import (
    SERVICES,
    SUPERUSER,
    Secret,
    database_environment,
    database_of,
    database_url,
    login_of,
    owner_of,
    password_of,
)
from restock.engines.running import Engine
from restock.kernel.supervisor import Child

LEAST_MAJOR = 18  # RETURNING old/new, uuidv7()
BOOTSTRAP = 1  # raise it when bootstrap makes something new


class PostgresEngine(Engine):
    """One PostgreSQL server on a claimed data directory.

    `options` are further lines of postgresql.conf (tests may want to trade durability for time);
    `account_name` is the system user that runs it when we are root.
    """

    name = "postgres"

    def __init__(
        self,
        directory: DataDir,
        *,
        options: Mapping[str, str] | None = None,
        account_name: str = NAME,
        log: Any = None,
    ) -> None:
        self._log_file = directory.log_path("postgres")
        super().__init__(self._log_file, directory.records, log)
        self.socket_directory = directory.root
        self._directory = directory
        self._options = dict(options or {})
        self._account_name = account_name
        self._cluster: Cluster | None = None
        self._remove_socket_directory = False

    @property
    def place(self) -> Path:
        """The directory with PostgreSQL's files, once it was started: not always the data
        directory, see `cluster`."""
        return self._cluster.place if self._cluster is not None else self._directory.root

    async def start(self) -> None:
        """Make the cluster if there is none, start it, wait until it answers. Raises EngineError.

        After a crash it may first have to recover; that is waited for.
        """
        account = await asyncio.to_thread(postgres_account, self._account_name)
        cluster = await asyncio.to_thread(Cluster.at, self._directory, account)
        self._cluster = cluster
        await cluster.initialise(self._directory, durable=self._options.get("fsync") != "off")
        self.socket_directory, self._remove_socket_directory = cluster.find_socket_directory(
            self._directory.identity
        )
        configuration = cluster.configure(self.socket_directory, self._options)
        await self.launch(self._child(cluster, configuration))
        try:
            await self._finish()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Fast shutdown: sessions are cut, nothing committed is lost."""
        await super().stop()
        if self._remove_socket_directory:
            shutil.rmtree(self.socket_directory, ignore_errors=True)

    async def ready(self) -> bool:
        """Whether the server that runs now accepts connections."""
        return self._cluster is not None and self._cluster.status(self.pid) == "ready"

    async def look(self) -> None:
        """End it where somebody has told it to stop once nobody is connected (SIGTERM).

        The services' connections never end by themselves, and it lets no new ones in meanwhile.
        """
        if self._cluster is not None and self._cluster.status(self.pid) == "stopping":
            self._send(SIGINT)

    def service_url(self, service: str, *, database: str | None = None) -> str:
        """The database as the service sees it."""
        return self._url(login_of(service), database or database_of(service))

    def owner_url(self, service: str, *, database: str | None = None) -> str:
        """The database as its migrations see it."""
        return self._url(owner_of(service), database or database_of(service))

    def admin_url(self, *, database: str = "postgres") -> str:
        """As superuser."""
        return self._url(SUPERUSER, database)

    def env_for(self, service: str) -> dict[str, str]:
        """What the service's environment says of its database."""
        return database_environment(service, str(self.socket_directory), self._directory.secret)

    async def create_database(
        self, name: str, *, service: str, template: str | None = None
    ) -> None:
        """A further database for the service's two roles. `name` is trusted, not quoted."""
        connection = await self._connect()
        try:
            await make_database(connection, name, service, template)
        finally:
            await connection.close()

    async def drop_database(self, name: str) -> None:
        """Drop it, whoever is connected."""
        connection = await self._connect()
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await connection.close()

    def _child(self, cluster: Cluster, configuration: Path) -> Child:
        async def prepare() -> None:
            await asyncio.to_thread(cluster.clear)

        return Child(
            name=self.name,
            argv=[
                str(cluster.programs / "bin" / "postgres"),
                "-D",
                str(cluster.data),
                f"--config-file={configuration}",
            ],
            env=environment(),
            cwd=cluster.data,
            user=cluster.identity.get("user"),
            group=cluster.identity.get("group"),
            stop_signal=SIGINT,
            stop_timeout_s=60.0,
            insist_signal=SIGQUIT,
            log_path=self.log_path,
            prepare=prepare,
        )

    async def _finish(self) -> None:
        """Check the version; at the first start make databases and roles.

        Raises EngineError, also when there is no room for them.
        """
        connection = await self._connect()
        try:
            require_version(connection)
            done = self._directory.root / BOOTSTRAPPED
            if read_json(done).get("bootstrap") != BOOTSTRAP:
                await bootstrap(connection, self._directory.secret)
                write_json(done, {"bootstrap": BOOTSTRAP})
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise EngineError(
                f"PostgreSQL runs but its databases can't be made: {error}\n"
                f"{log_end(self._log_file)}"
            ) from error
        finally:
            await connection.close()

    async def _connect(self) -> "Connection[Record]":
        try:
            return await asyncpg.connect(self.admin_url(), timeout=10)
        except (OSError, asyncpg.PostgresError, TimeoutError) as error:
            raise EngineError(
                f"PostgreSQL runs but does not let us in: {error}\n{log_end(self._log_file)}"
            ) from error

    def _url(self, role: str, database: str) -> str:
        return database_url(role, database, str(self.socket_directory), self._directory.secret)


def require_version(connection: "Connection[Record]") -> None:
    """Raise EngineError when the server is older than what Restock's SQL needs."""
    found = connection.get_server_version()
    if found.major < LEAST_MAJOR:
        raise EngineError(f"PostgreSQL {LEAST_MAJOR} or later is needed, this is {found.major}")


async def bootstrap(connection: "Connection[Record]", secret: Secret) -> None:
    """Make the databases and roles that are missing, with the passwords in `secret`.

    Run as superuser, any number of times.
    """
    for database in ("postgres", "template1"):
        await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    there = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
    for service in SERVICES:
        for role in (owner_of(service), login_of(service)):
            verb = "ALTER" if role in there else "CREATE"
            # Passwords are url-safe tokens of ours: there is nothing in them to quote.
            await connection.execute(
                f"{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION "
                f"PASSWORD '{password_of(role, secret)}'"
            )
    made = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    for service in SERVICES:
        if database_of(service) in made:
            await _close_to_others(connection, database_of(service), service)
        else:
            await make_database(connection, database_of(service), service)


async def make_database(
    connection: "Connection[Record]", name: str, service: str, template: str | None = None
) -> None:
    """A database for the service, a copy of `template` if one is named, closed to others."""
    copied = f" TEMPLATE {template}" if template else ""
    await connection.execute(f"CREATE DATABASE {name} OWNER {owner_of(service)}{copied}")
    await _close_to_others(connection, name, service)


async def _close_to_others(connection: "Connection[Record]", name: str, service: str) -> None:
    """Let nobody connect but the service's two roles."""
    await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    await connection.execute(f"GRANT CONNECT ON DATABASE {name} TO {login_of(service)}")
