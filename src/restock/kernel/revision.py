"""Which programs work on which tables (decision 0025).

A database knows the newest migration it has had and the oldest program its tables still serve. A
migration that programs before it can live with says so in its first line, `-- serves 0003`: from
the program of migration 0003 on. Without that line it serves only programs that know it.

Apart from `migrate`, whose libraries take long to load.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

NEVER = "was never migrated, or only by a version that did not write down how far"
SERVES = re.compile(r"-- serves ([0-9]{4})\n")


class WrongTables(Exception):
    """This program can't work on that database's tables: they are `state`, "older" or "newer"."""

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


async def found(connection: Any) -> Revision | None:
    """Where a database is; None where `restock migrate` was never run, or only one that did not
    write it down yet."""
    try:
        row = await connection.fetchrow("SELECT version_num, serves FROM alembic_version")
    except (
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,
        asyncpg.InsufficientPrivilegeError,
    ):
        return None
    return Revision(row["version_num"], row["serves"]) if row and row["serves"] else None


async def require_served(service: str, connection: Any) -> Revision:
    """Where the database is that this program may work on. Raises WrongTables."""
    ours, theirs = wanted(service).at, await found(connection)
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
    """Whether this program has nothing to migrate. Raises WrongTables for tables too new for it."""
    ours, theirs = wanted(service), await found(connection)
    if theirs is None or theirs.at < ours.at:
        return False
    await require_served(service, connection)
    return theirs.at > ours.at or theirs == ours
