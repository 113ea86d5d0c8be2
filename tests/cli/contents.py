"""What is put into databases that are backed up, and how all of it is read for comparison."""

from typing import Any

import asyncpg

Urls = dict[str, str]

ADA = "01900000-0000-7000-8000-00000000000a"
KEPT_ANSWER = """
    INSERT INTO kept_answers (workspace_id, user_id, key, request_hash, status, headers, body)
    VALUES (uuidv7(), uuidv7(), 'k', sha256('x'), 201, '[["a", "b"]]', '{}');
"""
TOLD_AND_HEARD = """
    INSERT INTO outbox (subject, data) VALUES ('x.y.happened', '{}');
    INSERT INTO inbox (consumer, event_id) VALUES ('x', uuidv7());
"""
SEEDED = {
    "auth": f"""
        WITH w AS (INSERT INTO workspaces (name) VALUES ('café ☕') RETURNING id)
        INSERT INTO accounts (id, workspace_id, email, name, role, password_hash)
        SELECT '{ADA}', id, 'ada@example.com', 'Ada', 'user', '$argon2id$' FROM w;
        INSERT INTO members (workspace_id, account_id, role)
        SELECT workspace_id, id, 'owner' FROM accounts;
        INSERT INTO sessions (id, account_id, workspace_id, counter, user_agent, address,
                              created_at, rotated_at, last_used_at, access_until, over_at)
        SELECT uuidv7(), id, workspace_id, 3, 'Firefox', '192.0.2.1', now(), now(), now(), now(),
               now() + interval '14 days'
        FROM accounts;
        INSERT INTO secrets (name, value) VALUES ('refresh', sha256('x'));
        INSERT INTO signing_keys (kid, state, private_pem, public_jwk, activated_at)
        VALUES ('k', 'active', 'pem', '{{}}', now());
        INSERT INTO sign_in_failures (key, failures, failed_at) VALUES (sha256('x'), 3, now());
        INSERT INTO known_places (key, seen_at) VALUES (sha256('x'), now());
        {TOLD_AND_HEARD}
    """,
    "inventory": f"""
        INSERT INTO items (workspace_id, id, user_id, name, unit, category, quantity,
                           min_threshold, created_at, updated_at)
        SELECT uuidv7(), uuidv7(), uuidv7(), 'item ' || n, 'kg', 'dry', n + 0.000001, 10,
               now(), now()
        FROM generate_series(1, 500) n;
        INSERT INTO ledger (workspace_id, item_id, seq, user_id, previous_quantity, new_quantity,
                            reason, occurred_at, created_at)
        SELECT workspace_id, id, 1, user_id, 0, quantity, 'Initial stock', now(), now() FROM items;
        INSERT INTO outbox (subject, data, published_at) VALUES
            ('inventory.item.changed', '{{}}', now() - interval '6 days'),
            ('inventory.item.changed', '{{}}', now() - interval '9 days'),
            ('inventory.item.changed', '{{}}', NULL);
        INSERT INTO inbox (consumer, event_id) VALUES ('inventory', uuidv7());
        {KEPT_ANSWER}
    """,
    "notification": f"""
        INSERT INTO feeds (user_id, head, unread, revision) VALUES ('{ADA}', 7, 2, 9);
        INSERT INTO notifications (user_id, seq, id, type, message, data, read, event_id)
        VALUES ('{ADA}', 6, uuidv7(), 'low_stock', 'Low stock alert: Tea', '{{"q": 1}}', true,
                uuidv7());
        INSERT INTO announcements (user_id, seq, name, data, event_id)
        VALUES ('{ADA}', 7, 'vendor_contact_request', '{{}}', uuidv7());
        INSERT INTO vendor_people (user_id, vendor_id) VALUES ('{ADA}', uuidv7());
        INSERT INTO outbox (subject, data) VALUES ('x.y.happened', '{{}}');
        INSERT INTO inbox (consumer, event_id, seen_at)
        VALUES ('notification', uuidv7(), now() - interval '7 days 23 hours');
        {KEPT_ANSWER}
    """,
    "vendor": f"""
        INSERT INTO vendors (workspace_id, name, email, phone, category, address, city)
        VALUES (uuidv7(), 'Ben', 'ben@example.com', '+49', 'Dairy', 'Hof 1', 'Köln');
        INSERT INTO vendor_people (workspace_id, user_id)
        SELECT workspace_id, uuidv7() FROM vendors;
        INSERT INTO contact_requests (vendor_workspace_id, vendor_id, buyer_workspace_id,
            buyer_user_id, client_name, item_id, item_name, item_unit, quantity, message)
        SELECT workspace_id, id, uuidv7(), '{ADA}', 'Ada', uuidv7(), 'Tea', 'kg', 2.5, 'Please'
        FROM vendors;
        INSERT INTO request_steps (vendor_workspace_id, request_id, seq, status, user_id)
        SELECT vendor_workspace_id, id, 1, status, buyer_user_id FROM contact_requests;
        {TOLD_AND_HEARD}
        {KEPT_ANSWER}
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
