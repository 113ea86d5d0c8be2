"""Which programs work on which tables (decision 0025).

A database knows the newest migration it has had and the oldest program its tables still serve. A
migration that programs before it can live with says so in its first line, `-- serves 0003`: from
the program of migration 0003 on. Without that line it serves only programs that know it.

A database into which a restore isn't finished serves nobody, whatever is in it (decision 0023).

Apart from `migrate`, whose libraries take long to load.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

NEVER = "was never migrated, or only by a version that did not write down how far"
SERVES = re.compile(r"-- serves ([0-9]{4})\n")

# The table that marks a database of a restore, see `engines.dumps`: where it is, nothing is whole.
IS_UNFINISHED = """
    SELECT EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relname = 'restore_unfinished'
    )
"""
STANDS = f"""
    SELECT version_num, serves, ({IS_UNFINISHED}) AS unfinished FROM alembic_version
"""  # noqa: S608  it is a constant above


class WrongTables(Exception):
    """This program can't work on that database's tables, which are `state`.

    That is "older", "newer" or, not restored to the end, "unfinished".
    """

    def __init__(self, words: str, state: str) -> None:
        super().__init__(words)
        self.state = state


@dataclass(frozen=True)
class Revision:
    """A database's newest migration, and that of the oldest program its tables serve."""

    at: str
    serves: str


def migrations_of(service: str) -> Path:
    """Where a service keeps its migrations."""
    return Path(__file__).resolve().parent.parent / service / "migrations"


def newest(service: str) -> str:
    """The number of a service's newest migration."""
    return wanted(service).at


def wanted(service: str) -> Revision:
    """What a service's database is brought to by this program's migrations."""
    at = serves = "0000"
    for path in sorted(migrations_of(service).glob("[0-9][0-9][0-9][0-9]_*.sql")):
        at = path.name[:4]
        said = SERVES.match(path.read_text(encoding="utf-8"))
        serves = max(serves, said[1] if said else at)
    return Revision(at, serves)


def not_restored(service: str) -> str:
    """What is to be done about a database into which a restore isn't finished."""
    return (
        f"a restore into the database of {service} is not finished: if it was cut short, empty "
        "every database that it was for and run `restock restore` again"
    )


async def found(service: str, connection: Any) -> Revision | None:
    """Where a database is; None where `restock migrate` was never run, or only one that did not
    write it down yet.

    Raises WrongTables while a restore into it isn't finished.
    """
    try:
        row = await connection.fetchrow(STANDS)
        unfinished = row and row["unfinished"]
    except (
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,
        asyncpg.InsufficientPrivilegeError,
    ):
        row, unfinished = None, await connection.fetchval(IS_UNFINISHED)
    if unfinished:
        raise WrongTables(not_restored(service), "unfinished")
    return Revision(row["version_num"], row["serves"]) if row and row["serves"] else None


async def require_served(service: str, connection: Any) -> Revision:
    """Where the database is that this program may work on. Raises WrongTables."""
    ours, theirs = wanted(service).at, await found(service, connection)
    if theirs is None or theirs.at < ours:
        stands = f"is at migration {theirs.at}" if theirs else NEVER
        raise WrongTables(
            f"the database of {service} is older than this program: it {stands}, the program "
            f"needs {ours}; run `restock migrate` of this program first",
            "older",
        )
    if theirs.serves > ours:
        raise WrongTables(
            f"the database of {service} is newer than this program: it is at migration "
            f"{theirs.at} and serves programs from {theirs.serves} on, this one knows {ours}; "
            "start the newer program",
            "newer",
        )
    return theirs


async def is_current(service: str, connection: Any) -> bool:
    """Whether this program has nothing to migrate.

    Raises WrongTables for tables too new for it, or not restored to the end.
    """
    ours, theirs = wanted(service), await found(service, connection)
    if theirs is None or theirs.at < ours.at:
        return False
    await require_served(service, connection)
    return theirs.at > ours.at or theirs == ours
