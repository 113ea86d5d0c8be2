"""Which columns of the services' databases hold secrets, as `columns.toml` says."""

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

DECIDED = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
# Numbers, times and ids have no room for a secret; whatever else there is may have.
COLUMNS = r"""
SELECT relname, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE relkind IN ('r', 'p', 'v', 'm') AND attnum > 0 AND NOT attisdropped
  AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  AND format_type(atttypid, NULL) NOT IN ('uuid', 'boolean', 'smallint', 'integer', 'bigint',
      'numeric', 'interval', 'timestamp with time zone')
"""


class Column(NamedTuple):
    """A column of a service's database."""

    service: str
    table: str
    name: str


def decided(kind: str) -> list[Column]:
    """The columns that are `secret`, or `not_secret`."""
    return [
        Column(service, table, name)
        for service, tables in DECIDED[kind].items()
        for table, names in tables.items()
        for name in names
    ]


async def columns_of(service: str, database: Any) -> list[Column]:
    """Those of a database that can hold text or bytes."""
    return [Column(service, *row) for row in await database.fetch(COLUMNS)]


def pieces(value: str | bytes) -> list[str | bytes]:
    """What of a secret would give it away: of a key's lines or a hash's fields the long ones."""
    return [value] if isinstance(value, bytes) else list(re.findall(r"[\w+/=]{16,}", value))
