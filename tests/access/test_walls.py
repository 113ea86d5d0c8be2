"""The second wall: what PostgreSQL itself keeps from a statement that forgot for whom it runs.

The roles here are the services' own, which own no table; the tables' owner sees all.
"""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import restock
from restock.kernel.ids import new_id
from restock.kernel.tenants import NOBODY, Tenant
from tests.access.calls import LINES, Line, call_of
from tests.access.matrix import play
from tests.access.openings import closed, forgetful, without_tenant
from tests.access.stage import CANARY, SERVICES, Stage
from tests.fixtures.figures import Figures

WALLED = {
    "auth": {"accounts", "members", "sessions", "workspaces"},
    "inventory": {"items", "kept_answers", "ledger"},
    "notification": {"announcements", "feeds", "kept_answers", "notifications", "vendor_people"},
    "vendor": {"contact_requests", "kept_answers", "request_steps", "vendor_people", "vendors"},
}
# which say whose a row is, and yet have no wall: why stands in tables.sql
NOT_WALLED = {(service, "outbox") for service in SERVICES}
DOORS = {"auth": [("account_signing_in", ["restock_auth"])]}
OPEN_TO_READ = {("vendor", "vendors")}
TENANT_COLUMNS = re.compile("(.*_)?(workspace_id|account_id|user_id)")
STRANGERS = (
    NOBODY,
    Tenant(new_id(), (new_id(), new_id())),
)
CALLERS = ("stranger", "foreign_admin", "colleague", "buyer", "user")
KNOWN = [
    replace(line, expected={who: line.expected[who] for who in CALLERS if who in line.expected})
    for line in LINES
    if line.service != "gateway" and not line.operation.is_public
]
EVERY = [(service, table) for service in SERVICES for table in sorted(WALLED[service])]


@pytest.mark.parametrize("service", SERVICES)
async def test_every_tenant_table_has_its_wall(service: str, stage: Stage) -> None:
    owner = stage.owners[service]
    columns = await owner.fetch(
        """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public'
        """
    )
    of_tenants = {table for table, column in columns if TENANT_COLUMNS.fullmatch(column)}
    walls = await owner.fetch(
        """
        SELECT relname FROM pg_class c
        WHERE relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)
        """
    )
    walled = {name for (name,) in walls}
    assert walled == WALLED[service]
    assert {(service, table) for table in of_tenants - walled} <= NOT_WALLED
    text = Path(restock.__file__).parent.joinpath(service, "tables.sql").read_text("utf-8")
    assert "outbox" in text[: text.index("CREATE TABLE")]


@pytest.mark.parametrize("service", SERVICES)
async def test_nobody_else_may_call_what_runs_with_the_owners_rights(
    service: str, stage: Stage
) -> None:
    """And the service may; a SECURITY DEFINER function is a door in the wall."""
    doors = await stage.owners[service].fetch(
        """
        SELECT p.proname,
               array_agg(a.grantee::regrole::text) FILTER (WHERE a.grantee <> p.proowner) AS may
        FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace GROUP BY 1
        """
    )
    assert [tuple(door) for door in doors] == DOORS.get(service, [])


@pytest.mark.parametrize(("service", "table"), EVERY)
async def test_no_statement_meets_another_tenants_rows(
    service: str, table: str, stage: Stage
) -> None:
    await fill(stage)
    owner, before = stage.owners[service], await stage.digest(service)
    assert await owner.fetchval(f"SELECT count(*) FROM {table}")
    columns = await owner.fetch(
        """
        SELECT privilege_type, column_name FROM information_schema.column_privileges
        WHERE grantee = $1 AND table_name = $2
        """,
        f"restock_{service}",
        table,
    )
    may: dict[str, list[str]] = {}
    for right, column in columns:
        may.setdefault(right, []).append(column)
    row = json.loads(await owner.fetchval(f"SELECT to_json(t)::text FROM {table} t LIMIT 1"))
    for tenant in STRANGERS:
        database = stage.services[service].context.database
        if (service, table) not in OPEN_TO_READ:
            async with database.tx(tenant=tenant) as tx:
                assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0
                assert await tx.fetchval("SELECT $1::int", 7) == 7
        if "UPDATE" in may:
            same = ", ".join(f"{column} = {column}" for column in may["UPDATE"])
            async with database.tx(tenant=tenant) as tx:
                assert await tx.execute(f"UPDATE {table} SET {same}") == "UPDATE 0"
        if await owner.fetchval(
            "SELECT has_table_privilege($1, $2, 'DELETE')", f"restock_{service}", table
        ):
            async with database.tx(tenant=tenant) as tx:
                assert await tx.execute(f"DELETE FROM {table}") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await copy(stage, service, table, may["INSERT"], row, tenant)
    assert await stage.digest(service) == before


async def copy(
    stage: Stage, service: str, table: str, columns: list[str], row: Any, tenant: Tenant
) -> None:
    """Add another tenant's row once more, as somebody else."""
    made = await stage.owners[service].fetch(
        """
        SELECT column_name FROM information_schema.columns
        WHERE table_name = $1 AND is_generated = 'NEVER'
        """,
        table,
    )
    names = ", ".join(name for (name,) in made if name in columns)
    async with stage.services[service].context.database.tx(tenant=tenant) as tx:
        await tx.execute(
            f"INSERT INTO {table} ({names}) "
            f"SELECT {names} FROM jsonb_populate_record(NULL::{table}, $1)",
            row,
        )


async def fill(stage: Stage) -> None:
    """At least a row in every table."""
    for service in SERVICES:
        if not await stage.owners[service].fetchval("SELECT true FROM outbox LIMIT 1"):
            await stage.make_things(service)
    owner = stage.people["owner"]
    for service, method, path, body in (
        ("inventory", "PATCH", f"/api/inventory/items/{stage.things['item_id']}", {"unit": "box"}),
        ("notification", "POST", "/api/notifications/read-all", None),
        ("vendor", "PATCH", f"/api/vendors/{stage.things['vendor_id']}", {"city": "York"}),
    ):
        headers = {"Idempotency-Key": "a", "If-Match": "*"}
        more = {} if body is None else {"json": body}
        await stage.ask(service, owner, method, path, headers=headers, **more)
    await stage.tell_of_vendor()


@pytest.mark.parametrize("line", KNOWN, ids=str)
async def test_the_matrix_holds_though_every_statement_forgot_its_tenant(
    stage: Stage, line: Line, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    counted: Counter[str] = Counter()
    with forgetful(monkeypatch) as forgotten:
        wrong = await play(stage, line, counted)
    assert not wrong, "\n".join(wrong)
    assert not forgotten.closed, "nothing was taken out of these"
    figures.add("calls whose statements had forgotten the tenant", counted.total())
    figures.add("conditions taken out of statements", forgotten.taken.total())


async def test_what_is_heard_has_no_closed_statement_either(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forgetful(monkeypatch) as forgotten:
        await stage.tell_of_vendor()
    assert not forgotten.closed, "nothing was taken out of these"


async def test_the_matrix_holds_without_the_second_wall(stage: Stage, figures: Figures) -> None:
    """Else it would hide a statement that has forgotten its tenant until it is gone itself."""
    counted: Counter[str] = Counter()
    wrong = []
    for service, table in EVERY:
        await stage.owners[service].execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    try:
        for line in KNOWN:
            wrong += await play(stage, line, counted)
    finally:
        for service, table in EVERY:
            await stage.owners[service].execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    assert not wrong, "\n".join(wrong)
    figures.add("calls without the second wall", counted.total())


async def test_without_either_wall_a_stranger_gets_in(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is the wall that holds in the test above, and the conditions are truly out there."""
    await stage.make_things("inventory")
    [line] = [line for line in LINES if line.name == "get_item"]
    path = call_of(stage, line).path
    owner = stage.owners["inventory"]
    await owner.execute("ALTER TABLE items DISABLE ROW LEVEL SECURITY")
    try:
        with forgetful(monkeypatch):
            seen = await stage.ask("inventory", stage.people["stranger"], "GET", path)
        missed = await stage.ask("inventory", stage.people["stranger"], "GET", path)
    finally:
        await owner.execute("ALTER TABLE items ENABLE ROW LEVEL SECURITY")
    assert (seen.status, missed.status) == (200, 404)
    assert CANARY.encode() in seen.body


def test_conditions_of_tenants_are_told_from_joins() -> None:
    sql = (
        "SELECT 1 FROM a JOIN b ON b.workspace_id = a.workspace_id "
        "WHERE a.workspace_id = $1 AND user_id = ANY($2) AND id = $3"
    )
    changed, number = without_tenant(sql)
    assert number == 2
    assert changed == (
        "SELECT 1 FROM a JOIN b ON b.workspace_id = a.workspace_id "
        "WHERE ((a.workspace_id = $1) IS NOT NULL) "
        "AND ((user_id = ANY($2)) IS NOT NULL) AND id = $3"
    )
    assert closed(sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM items WHERE workspace_id IS NOT DISTINCT FROM $1",
        "SELECT * FROM items WHERE $1 IS NOT DISTINCT FROM workspace_id",
        "SELECT * FROM items WHERE $1 = workspace_id",
        "SELECT * FROM items i WHERE id = $2 AND i.workspace_id IN ($1)",
        "SELECT * FROM items WHERE workspace_id::text = $1",
        "SELECT * FROM items WHERE (workspace_id, id) = ($1, $2)",
        "SELECT * FROM items WHERE (id, workspace_id) IN (SELECT $2, $1)",
        "SELECT * FROM items WHERE coalesce(workspace_id, $1) = $1",
        "SELECT * FROM items WHERE workspace_id = coalesce($1, $2)",
        "SELECT * FROM items WHERE NOT (workspace_id <> $1)",
        "SELECT * FROM items WHERE workspace_id BETWEEN $1 AND $1",
        "SELECT * FROM items WHERE ARRAY[workspace_id] && $1",
        "SELECT * FROM items WHERE EXISTS (SELECT WHERE workspace_id >= $1)",
        "SELECT * FROM requests r JOIN vendors v ON r.id = $2 AND buyer_workspace_id IN ($1)",
        "SELECT * FROM items JOIN unnest($1::uuid[]) mine (workspace_id) USING (workspace_id)",
        "SELECT * FROM items i, unnest($1::uuid[]) AS m (n, workspace_id) "
        "WHERE i.workspace_id = m.workspace_id",
        "WITH me AS (SELECT $1::uuid AS user_id) SELECT * FROM me m JOIN feeds f "
        "ON f.user_id = m.user_id",
        "SELECT sum(moves) FILTER (WHERE workspace_id IN ($1)) FROM items",
        "UPDATE items SET name = $2 WHERE workspace_id IN ($1) RETURNING id",
        "DELETE FROM feeds USING accounts WHERE feeds.user_id IN ($1)",
        "SELECT 1 FROM a WHERE workspace_id = $1 UNION SELECT 1 FROM b WHERE workspace_id IN ($1)",
    ],
)
def test_a_condition_that_is_written_otherwise_is_noticed(sql: str) -> None:
    """One that was not taken out would be taken for the second wall."""
    assert closed(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT workspace_id, user_id FROM items WHERE workspace_id = $1 ORDER BY user_id",
        "INSERT INTO items (workspace_id) VALUES ($1) ON CONFLICT (workspace_id) DO NOTHING",
        "INSERT INTO steps (user_id) SELECT user_id FROM old WHERE id = $1 RETURNING user_id",
        "UPDATE items SET user_id = $2 WHERE workspace_id = $1 AND id = $3",
        "SELECT id FROM items WHERE id IN (SELECT user_id FROM items WHERE workspace_id = $1)",
    ],
)
def test_a_tenant_that_is_in_no_condition_is_none(sql: str) -> None:
    assert closed(sql) == []
