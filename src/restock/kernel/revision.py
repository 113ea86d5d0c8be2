"""Which migration a database is at. Apart from `migrate`, whose libraries take long to load."""

from pathlib import Path

import asyncpg


def migrations_of(service: str) -> Path:
    """Where a service keeps its migrations."""
    return Path(__file__).resolve().parent.parent / service / "migrations"


def newest(service: str) -> str:
    """The number of a service's newest migration."""
    return max(path.name[:4] for path in migrations_of(service).glob("[0-9]*.sql"))


async def is_current(service: str, url: str) -> bool:
    """Whether the database is at this program's newest migration."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return False
    finally:
        await connection.close()
    return bool(found == newest(service))
