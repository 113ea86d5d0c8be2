"""`tables.sql` is what the migrations lead to."""

from pathlib import Path
from typing import Any

import asyncpg

import restock.auth
from restock.engines.postgres import PostgresEngine
from restock.kernel.ids import new_id
from tests.auth.conftest import Auth

SHAPES = {
    "columns": """
        SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'alembic_version'
        ORDER BY 1, 2
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
          AND conrelid <> coalesce(to_regclass('alembic_version'), 0)
        ORDER BY 1, 2
    """,
    "indexes": """
        SELECT indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1
    """,
    "rights": """
        SELECT table_name, column_name, grantee, privilege_type
        FROM information_schema.column_privileges
        WHERE table_schema = 'public' AND table_name <> 'alembic_version'
        UNION ALL
        SELECT table_name, NULL, grantee, privilege_type
        FROM information_schema.table_privileges
        WHERE table_schema = 'public' AND table_name <> 'alembic_version'
        ORDER BY 1, 2, 3, 4
    """,
}


async def shape_of(owner: Any) -> dict[str, list[tuple[Any, ...]]]:
    return {
        what: [tuple(row) for row in await owner.fetch(query)] for what, query in SHAPES.items()
    }


async def test_the_tables_as_written_are_the_tables_as_migrated(
    auth: Auth, postgres: PostgresEngine
) -> None:
    name = f"t_written_{new_id().hex}"
    await postgres.create_database(name, service="auth")
    try:
        owner = await asyncpg.connect(postgres.owner_url("auth", database=name))
        text = Path(restock.auth.__file__).with_name("tables.sql").read_text(encoding="utf-8")
        await owner.execute(text)
        written = await shape_of(owner)
        await owner.close()
    finally:
        await postgres.drop_database(name)
    migrated = await shape_of(auth.owner)
    assert all(migrated.values())
    for what, shape in migrated.items():
        assert written[what] == shape, what
