"""A service's database as a stream of bytes, and back: pg_dump and pg_restore, run as its owner.

The programs of the wheel are used whoever runs the server. A password reaches them by their
environment, which only their own user can read; their command line everybody can.
"""

import hashlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from restock.engines.binaries import postgres_programs
from restock.engines.failures import EngineError
from restock.kernel.outbox import KEPT
from restock.kernel.revision import IS_UNFINISHED, not_restored
from restock.kernel.settings import environment

CHUNK = 1 << 20
LOCK_TIMEOUT = "60s"  # a migration may be running
SESSIONS_END_S = 5.0  # one that was closed is still listed for a moment

# The mark of a restore that isn't finished: gone with all that is there when a database is emptied.
MARK = "CREATE TABLE IF NOT EXISTS public.restore_unfinished ()"
UNMARK = "DROP TABLE public.restore_unfinished"
TABLES = """
    SELECT tablename FROM pg_tables
    WHERE schemaname = 'public' AND tablename <> 'restore_unfinished' ORDER BY tablename
"""

# What makes a restored database fit to go on, see `go_on`.
SEND_AGAIN = "UPDATE outbox SET published_at = NULL WHERE published_at >= %s"
# What was told once more is published anew: by when it happened, so that a week stays a week.
TELL_AGAIN = """
    UPDATE outbox SET published_at = NULL
    WHERE published_at >= now() - %(within)s AND occurred_at >= now() - %(kept)s
"""
REMEMBER_LONGER = "UPDATE inbox SET seen_at = now()"
ACCOUNTS = "SELECT id FROM accounts"
BEGIN_FEEDS = """
    INSERT INTO feeds (user_id, head, unread, revision) SELECT unnest(%s::uuid[]), 0, 0, 0
    ON CONFLICT DO NOTHING
"""
LEAP_AHEAD = """
    UPDATE feeds
    SET head = greatest(head, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
"""
# Clients alone: PostgreSQL's own workers are nobody's.
OTHER_SESSIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
"""


@dataclass(frozen=True)
class Contents:
    """What a database holds: its revision, rows by table, and the moment, by its own clock."""

    revision: str
    rows: dict[str, int]
    at: datetime


@dataclass
class Digest:
    """The length and sha256 of what went by."""

    size: int = 0
    _sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._sha256.update(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


@contextmanager
def connected(service: str, url: str) -> Iterator["psycopg.Connection[Any]"]:
    """A transaction as the owner, for the block. Raises EngineError, whose text has no password."""
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            yield connection
    except psycopg.Error as error:
        raise EngineError(f"the database of {service}: {why(error)}") from error


def why(error: Exception) -> str:
    """What the database said, also by way of SQLAlchemy; of a row that it refused, nothing."""
    cause = getattr(error, "orig", None) or error
    if not isinstance(cause, psycopg.Error):
        return str(cause)
    if isinstance(cause, psycopg.ProgrammingError) and cause.sqlstate is None:
        return "its URL can't be read"  # the driver would repeat it, the password too
    return cause.diag.message_primary or str(cause)


def dump(service: str, url: str, into: IO[bytes]) -> tuple[Contents, Digest]:
    """Write the whole database into `into`, as pg_dump's custom format.

    What is returned is of the very snapshot that was written. Others go on working meanwhile.
    Raises EngineError, also while a restore into it isn't finished; and OSError where `into` can't
    be written.
    """
    with connected(service, url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        _require_restored(service, connection)
        snapshot = str(_value(connection, "SELECT pg_export_snapshot()"))
        contents = read_contents(service, connection)
        digest = Digest()
        words = ["--format=custom", "--no-owner", f"--snapshot={snapshot}"]
        words.append(f"--lock-wait-timeout={LOCK_TIMEOUT}")
        with _program("pg_dump", service, url, words, reads=False) as output:
            while chunk := output.read(CHUNK):
                digest.add(chunk)
                into.write(chunk)
    return contents, digest


def list_dump(service: str, source: IO[bytes]) -> None:
    """Have pg_restore read a dump's table of contents. Raises EngineError when it can't."""
    with _program("pg_restore", service, None, ["--list"], reads=True) as input_:
        _copy(source, input_)


def load(service: str, url: str, source: IO[bytes]) -> None:
    """Fill an empty database from a dump, wholly or not at all. Raises EngineError."""
    words = ["--no-owner", "--exit-on-error", "--single-transaction"]
    with _program("pg_restore", service, url, words, reads=True) as input_:
        _copy(source, input_)


def require_empty(service: str, url: str) -> None:
    """Raises EngineError when the database holds anything, or others are at work on it.

    The mark alone is nothing: a restore that is begun again may find it.
    """
    with connected(service, url) as connection:
        if connection.execute(TABLES).fetchone() is not None:
            _require_restored(service, connection)
            raise EngineError(
                f"the database of {service} is not empty: a backup is restored into empty ones only"
            )
        until = time.monotonic() + SESSIONS_END_S
        while others := _value(connection, OTHER_SESSIONS):
            if time.monotonic() > until:
                raise EngineError(
                    f"{others} other sessions are open on the database of {service}: stop the "
                    "services first"
                )
            connection.commit()  # within one transaction the list stays as it was
            time.sleep(0.05)


def mark(urls: Mapping[str, str]) -> None:
    """Let nobody migrate, serve or back up these databases until `unmark`. Raises EngineError."""
    _on_all(urls, MARK)


def unmark(urls: Mapping[str, str]) -> None:
    """A restore into these databases is finished. Raises EngineError."""
    _on_all(urls, UNMARK)


def _require_restored(service: str, connection: "psycopg.Connection[Any]") -> None:
    """Raises EngineError while a restore into the database isn't finished."""
    if _value(connection, IS_UNFINISHED):
        raise EngineError(not_restored(service))


def _on_all(urls: Mapping[str, str], statement: LiteralString) -> None:
    """Run it on each; it is committed only once all of them have done it."""
    with ExitStack() as stack:
        for service, url in urls.items():
            stack.enter_context(connected(service, url)).execute(statement)


def contents_of(service: str, url: str) -> Contents:
    """What a database holds now. Raises EngineError."""
    with connected(service, url) as connection:
        return read_contents(service, connection)


def read_contents(service: str, connection: "psycopg.Connection[Any]") -> Contents:
    """What a database holds, as this transaction sees it. Raises EngineError: no tables of ours."""
    tables = [str(name) for (name,) in connection.execute(TABLES)]
    if "alembic_version" not in tables:
        raise EngineError(f"the database of {service} was never migrated: there is nothing in it")
    rows = {}
    for table in tables:
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", table))
        ((rows[table],),) = connection.execute(count)
    revision = _value(connection, "SELECT version_num FROM alembic_version")
    return Contents(revision, rows, _value(connection, "SELECT now()"))


def go_on(service: str, url: str, *, backup_began: datetime) -> int:
    """Make a restored database fit to go on; how many events will be published again.

    Streams are not in a backup, so what the outbox has kept of a week is published again, and who
    had handled an event knows it by its inbox. That forgets by age: were the age of its rows the
    backup's, they might be forgotten before those events come. Raises EngineError.
    """
    with connected(service, url) as connection:
        again = connection.execute(SEND_AGAIN, [backup_began - KEPT]).rowcount
        connection.execute(REMEMBER_LONGER)
    return again


def tell_again(service: str, url: str, within: timedelta) -> int:
    """Have what was published during that time published again; how many events.

    Raises EngineError.
    """
    with connected(service, url) as connection:
        _require_restored(service, connection)
        return connection.execute(TELL_AGAIN, {"within": within, "kept": KEPT}).rowcount


def leap_ahead(auth: str, notification: str) -> None:
    """Have no feed of a restored system give out a number that a client may have seen.

    A client may have heard more than the backup knows, from before or from an earlier restore of
    it, and its account's feed may have begun only then. So all feeds, begun or not, go on from the
    time of day in milliseconds, which no feed catches up with. Takes the URLs of two databases.
    Raises EngineError.
    """
    with connected("auth", auth) as connection:
        accounts = [account for (account,) in connection.execute(ACCOUNTS)]
    with connected("notification", notification) as connection:
        connection.execute(BEGIN_FEEDS, [accounts])
        connection.execute(LEAP_AHEAD)


def _value(connection: "psycopg.Connection[Any]", query: LiteralString) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row is not None else None


@contextmanager
def _program(
    name: str, service: str, url: str | None, words: list[str], *, reads: bool
) -> Iterator[IO[bytes]]:
    """A program of PostgreSQL's for the block: its input if it reads, else its output.

    Relative names of files in the URL are read from where we are. Raises EngineError when it fails.
    """
    environ = {to: value for to, value in environment().items() if not to.startswith("RESTOCK_")}
    command = [str(postgres_programs() / "bin" / name), *words]
    if url is not None:
        place = {name: str(value) for name, value in conninfo_to_dict(url).items()}
        if password := place.pop("password", None):
            environ["PGPASSWORD"] = password
        if "sslpassword" in place:
            raise EngineError(
                f"the database of {service}: {name} could be told sslpassword only where everybody "
                "can read it: use a key without a password"
            )
        command += ["--no-password", f"--dbname={make_conninfo(**place)}"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ | {"LC_ALL": "C"},
    ) as running:
        try:
            with suppress(BrokenPipeError):  # it reads no further: its exit code says why
                pipe = cast(IO[bytes], running.stdin if reads else running.stdout)
                yield pipe
                pipe.close()
        except BaseException:
            running.kill()
            raise
        said = cast(IO[bytes], running.stderr).read().decode("utf-8", "replace")
        if running.wait() != 0:
            # its own lines: PostgreSQL's further ones may hold rows
            own = [line for line in said.splitlines() if line.startswith(f"{name}: ")]
            raise EngineError(f"the database of {service}: {' '.join(own)[-2000:]}")


def _copy(source: IO[bytes], into: IO[bytes]) -> None:
    while chunk := source.read(CHUNK):
        into.write(chunk)
