"""Migrations: plain SQL files, numbered, one history per service, run by Alembic (decision 0004).

`<service>/migrations/0001_items.sql` is the revision 0001, and so on. Each run is one transaction
as the owner of the tables, under a lock, so that two at once do the work once.
"""

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

from restock.kernel.revision import migrations_of

LOCK = 0x5E57_0CC5


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


def migrate(service: str, url: str) -> list[str]:
    """Bring a service's database to its newest migration; the names of those that ran.

    `url` is of the owner role. Raises MigrationError for a database newer than this program.
    """
    files = SqlFiles(migrations_of(service))
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sqlalchemy.NullPool
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            environment = EnvironmentContext(Config(), files)
            environment.configure(
                connection=connection, fn=lambda at, _context: files._upgrade_revs("head", at)
            )
            files.connection = connection
            with environment.begin_transaction():
                environment.run_migrations()
            connection.commit()
    except CommandError as error:
        raise MigrationError(
            f"the database of {service} is newer than this program ({error})"
        ) from error
    finally:
        engine.dispose()
    return files.ran
