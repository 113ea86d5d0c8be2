"""What is put into databases that are backed up, and how all of it is read for comparison."""

from typing import Any

import asyncpg

Urls = dict[str, str]

SEEDED = {
    "auth": """
        WITH w AS (INSERT INTO workspaces (name) VALUES ('café ☕') RETURNING id)
        INSERT INTO accounts (id, workspace_id, email, name, role, password_hash)
        SELECT '01900000-0000-7000-8000-00000000000a', id, 'ada@example.com', 'Ada', 'user',
               '$argon2id$'
        FROM w;
        INSERT INTO secrets (name, value) VALUES ('refresh', sha256('x'));
    """,
    "inventory": """
        INSERT INTO items (workspace_id, id, user_id, name, unit, category, quantity,
                           min_threshold, created_at, updated_at)
        SELECT uuidv7(), uuidv7(), uuidv7(), 'item ' || n, 'kg', 'dry', n + 0.000001, 10,
               now(), now()
        FROM generate_series(1, 500) n;
        INSERT INTO ledger (workspace_id, item_id, seq, user_id, previous_quantity, new_quantity,
                            reason, occurred_at, created_at)
        SELECT workspace_id, id, 1, user_id, 0, quantity, 'Initial stock', now(), now() FROM items;
        INSERT INTO outbox (subject, data, published_at) VALUES
            ('inventory.item.changed', '{}', now() - interval '6 days'),
            ('inventory.item.changed', '{}', now() - interval '9 days'),
            ('inventory.item.changed', '{}', NULL);
    """,
    "notification": """
        INSERT INTO feeds (user_id, head, unread, revision)
        VALUES ('01900000-0000-7000-8000-00000000000a', 7, 2, 9);
        INSERT INTO inbox (consumer, event_id, seen_at)
        VALUES ('notification', uuidv7(), now() - interval '7 days 23 hours');
    """,
    "vendor": """
        INSERT INTO vendors (workspace_id, name, email, phone, category, address, city)
        VALUES (uuidv7(), 'Ben', 'ben@example.com', '+49', 'Dairy', 'Hof 1', 'Köln');
    """,
}
# What a restore changes, see `dumps.go_on` and `leap_ahead`.
CHANGED = {("outbox", "published_at"), ("inbox", "seen_at"), ("feeds", "head")}

# What there is besides rows: rights, policies, constraints, indexes, functions.
CATALOG = (
    "SELECT relname, relowner::regrole, relacl::text, relrowsecurity, relforcerowsecurity "
    "FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT attrelid::regclass::text, attname, attacl::text FROM pg_attribute "
    "WHERE attacl IS NOT NULL AND attrelid > 16000 ORDER BY 1, 2",
    "SELECT * FROM pg_policies ORDER BY 2, 3",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "SELECT proname, proowner::regrole, proacl::text, pg_get_functiondef(oid) FROM pg_proc "
    "WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
)


async def asked(url: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        if statement.lstrip().startswith("SELECT"):
            return await connection.fetch(statement)
        await connection.execute(statement)
        return []
    finally:
        await connection.close()


async def everything(urls: Urls) -> dict[str, Any]:
    """Every row of every table as text, what a restore changes left out; and who may do what."""
    found: dict[str, Any] = {}
    for service, url in urls.items():
        columns = await asked(
            url,
            "SELECT table_name AS t, column_name AS c FROM information_schema.columns "
            "WHERE table_schema = 'public' ORDER BY 1, 2",
        )
        for table in {row["t"] for row in columns}:
            kept = [f'"{c}"' for t, c in columns if t == table and (t, c) not in CHANGED]
            rows = await asked(url, f"SELECT ({', '.join(kept)})::text AS row FROM {table}")
            found[f"{service}.{table}"] = sorted(row["row"] for row in rows)
        for query in CATALOG:
            found[f"{service}: {query}"] = await asked(url, query)
    return found
