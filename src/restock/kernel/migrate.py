"""Migrations: plain SQL files, numbered, one history per service, run by Alembic (decision 0004).

`<service>/migrations/0001_items.sql` is the revision 0001, and so on. Each run is one transaction
as the owner of the tables, under a lock, so that two at once do the work once.
"""

import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import sqlalchemy
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.script.base import Script
from alembic.util.exc import CommandError

from restock.kernel.revision import IS_UNFINISHED, Revision, migrations_of, not_restored, wanted

LOCK = 0x5E57_0CC5
# Whoever waits for a table in use holds up all that come after him: not for longer than services
# wait for a lock. What is given up then, or met in a deadlock, has changed nothing.
LOCK_TIMEOUT_MS = 2_000
PATIENCE_S = 60.0
HELD_UP = (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable)


class MigrationError(Exception):
    """The database can't be brought to this program's tables. The message says why."""


class SqlFiles(ScriptDirectory):
    """A directory of numbered SQL files, seen as Alembic's revisions.

    `ran` are the names of the files run so far, on `connection`.
    """

    connection: Any = None

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory))
        self.ran: list[str] = []

    def _load_revisions(self) -> Iterator[Script]:
        previous = None
        for path in sorted(Path(self.dir).glob("[0-9][0-9][0-9][0-9]_*.sql")):
            module: Any = ModuleType(path.stem)
            module.revision = path.stem[:4]
            module.down_revision = previous
            module.upgrade = partial(self._run, path)
            previous = module.revision
            yield Script(module, module.revision, str(path))

    def _run(self, path: Path) -> None:
        # the driver's own connection: several statements in one text need its simple protocol
        self.connection.connection.driver_connection.execute(path.read_text(encoding="utf-8"))
        self.ran.append(path.stem)


def migrate(service: str, url: str, *, unfinished: bool = False) -> list[str]:
    """Bring a service's database to its newest migration; the names of those that ran.

    `url` is of the owner role. Tables in use are tried again for a minute. `unfinished` is for the
    restore that is still at work on it; anybody else is refused then. Raises MigrationError for
    that, when trying again didn't help, and for a database newer than this program that doesn't
    serve it.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return _migrate_once(service, url, unfinished)
        except HELD_UP as error:
            if time.monotonic() > until:
                raise MigrationError(
                    f"the tables of {service} are too busy to be changed ({error.sqlstate}): "
                    "nothing was changed, try again when less is going on"
                ) from error
        time.sleep(random.uniform(0.1, 1.0))  # noqa: S311 – nothing secret in a delay


def _migrate_once(service: str, url: str, unfinished: bool) -> list[str]:
    files = SqlFiles(migrations_of(service))
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sqlalchemy.NullPool
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            if not unfinished and connection.exec_driver_sql(IS_UNFINISHED).scalar():
                raise MigrationError(not_restored(service))
            environment = EnvironmentContext(Config(), files)
            environment.configure(
                connection=connection, fn=lambda at, _context: files._upgrade_revs("head", at)
            )
            files.connection = connection
            with environment.begin_transaction():
                environment.run_migrations()
            _write_down(connection.connection.driver_connection, service)
            connection.commit()
    except CommandError as error:
        if standing(url).serves <= wanted(service).at:
            return []  # of a newer program: there is nothing to do for this one
        raise MigrationError(
            f"the database of {service} is newer than this program, which knows migrations up to "
            f"{wanted(service).at} ({error}): nothing was changed, use the newer program"
        ) from error
    finally:
        engine.dispose()
    return files.ran


def standing(url: str) -> Revision:
    """Where a database is that was migrated."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT version_num, coalesce(to_jsonb(v) ->> 'serves', version_num) "
            "FROM alembic_version v"
        ).fetchone()
    return Revision(*row) if row else Revision("0000", "0000")


def _write_down(driver: Any, service: str) -> None:
    """What programs ask at their start: see `revision`. The service's role may read it."""
    serves = wanted(service).serves
    known = driver.execute("SELECT to_jsonb(v) ->> 'serves' FROM alembic_version v").fetchone()
    if known != (serves,):
        driver.execute("ALTER TABLE alembic_version ADD COLUMN IF NOT EXISTS serves text")
        driver.execute("UPDATE alembic_version SET serves = %s", (serves,))
        driver.execute(f"GRANT SELECT ON alembic_version TO restock_{service}")
