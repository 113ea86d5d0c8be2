"""pgbench is given the very statement, parameter by parameter."""

from pathlib import Path

import asyncpg

from bench import pgbench
from bench.questions.change_limit import BEFORE, item_of
from restock.inventory.store import changes, items


def test_each_parameter_is_a_value_of_its_type() -> None:
    text = pgbench.script("\nSELECT $2, $1::text, $10", [*["text"] * 9, "uuid"],
                          [":a", None, *[None] * 7, ":j"], "\\set a 1\n")  # fmt: skip
    assert text == "\\set a 1\nSELECT (NULL)::text, (:a)::text::text, (:j)::uuid;\n"


async def test_the_statements_of_the_store_run(make_service, tmp_path: Path) -> None:
    """They change and read as the service's own do, or the limit they set would be another's."""
    inventory = await make_service("inventory")
    url = inventory.context.settings.database_url
    connection = await asyncpg.connect(url)
    try:
        for sql in (changes.COUNT.one, items._GET):
            types = await pgbench.parameter_types(url, sql)
            values = [item_of("7") if name == "uuid" else None for name in types]
            text = pgbench.script(sql, types, values)
            assert "$" not in text
            assert await connection.fetch(text) == []
    finally:
        await connection.close()
    assert all(line.startswith("\\set ") for line in BEFORE.splitlines())
