"""A small service for the kernel's own tests: notes, which a database keeps."""

from contextlib import suppress
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import asyncpg

from restock.events.inventory import ItemFellLow
from restock.kernel import outbox
from restock.kernel.database import Tx
from restock.kernel.faults import Conflict, PreconditionRequired
from restock.kernel.idempotency import RequestKey
from restock.kernel.identity import Principal
from restock.kernel.paging import Page
from restock.kernel.reply import Reply
from restock.kernel.service import Service
from restock.kernel.web import Header, delete, get, patch, post
from restock.kernel.wire import Answer, Quantity, Text, Wire

TABLE = """
CREATE TABLE notes (
    workspace_id uuid NOT NULL,
    number int GENERATED ALWAYS AS IDENTITY,
    text text NOT NULL,
    amount numeric(15, 6) NOT NULL,
    PRIMARY KEY (workspace_id, number)
);
CREATE UNIQUE INDEX notes_text ON notes (workspace_id, text);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO restock_inventory;
"""


class TextTaken(Conflict):
    code = "notes.text_taken"
    title = "This text is there already"


class NewNote(Wire):
    text: Text
    amount: Quantity = Quantity(0)
    flag: bool = False


class Note(Answer):
    number: int
    text: str
    amount: Decimal


INSERT = """
INSERT INTO notes (workspace_id, text, amount) VALUES ($1, $2, $3)
RETURNING number, text, trim_scale(amount) AS amount
"""


async def _insert(tx: Tx, who: Principal, data: NewNote) -> Note:
    row = await tx.fetchrow(INSERT, who.workspace_id, data.text, data.amount)
    assert row is not None
    return Note(**row)


@post("/api/notes", answers=201, faults=(TextTaken,))
async def create_note(who: Principal, tx: Tx, data: NewNote) -> Reply[Note]:
    note = await _insert(tx, who, data)
    return Reply(note, headers={"Location": f"/api/notes/{note.number}"})


@post("/api/notes:refused", answers=201, faults=(TextTaken,))
async def create_refused(who: Principal, tx: Tx, data: NewNote) -> Note:
    await _insert(tx, who, data)
    raise TextTaken(available=Decimal("2.50"))


@post("/api/notes:traced", answers=201, key=None)
async def create_traced(who: Principal, tx: Tx, data: NewNote) -> Note:
    await _insert(tx, who, data)
    tx.keep_on_refusal = True
    raise TextTaken()


@post("/api/notes:traced-early", answers=201)
async def create_traced_early(who: Principal, tx: Tx, data: NewNote) -> Note:
    """A trace, and a refusal that is never kept under a key."""
    await _insert(tx, who, data)
    tx.keep_on_refusal = True
    raise PreconditionRequired


@post("/api/notes:broken", answers=201)
async def create_broken(who: Principal, tx: Tx, data: NewNote) -> Note:
    await _insert(tx, who, data)
    raise RuntimeError("a bug")


@post("/api/notes:ledger", answers=201, key="ledger", single=True)
async def create_keyed(who: Principal, tx: Tx, key: RequestKey | None, data: NewNote) -> Note:
    text = f"{data.text}/{key.key}/{key.hash.hex()}" if key else data.text
    return await _insert(tx, who, NewNote(text=text))


@post("/api/notes:lost", answers=201, key=None)
async def create_lost(who: Principal, tx: Tx, data: NewNote) -> Note:
    """Its connection is lost before its commit."""
    note = await _insert(tx, who, data)
    await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    return note


@post("/api/notes:swallowed", answers=201, key=None)
async def create_swallowed(who: Principal, tx: Tx, data: NewNote) -> Note:
    """It swallows an error of PostgreSQL's, which has undone the transaction."""
    note = await _insert(tx, who, data)
    with suppress(asyncpg.PostgresError):
        await tx.execute("SELECT 1 / 0")
    return note


@post("/api/notes:noisy", answers=201, key=None)
async def create_noisy(who: Principal, tx: Tx, data: NewNote) -> Note:
    """What it does after the commit fails."""
    note = await _insert(tx, who, data)
    tx.after_commit(lambda: int("no number"))
    return note


@post("/api/notes:slow", answers=201)
async def create_slow(who: Principal, tx: Tx, resources: Any, data: NewNote) -> Note:
    """It waits for something else before its first statement."""
    await resources.wait()
    return await _insert(tx, who, data)


@post("/api/notes:headers", answers=201)
async def create_with_version(
    who: Principal,
    tx: Tx,
    if_match: Annotated[str | None, Header("If-Match")],
    data: NewNote,
) -> Note:
    if if_match is None:
        raise PreconditionRequired
    return await _insert(tx, who, data)


@get("/api/notes")
async def list_notes(who: Principal, tx: Tx, page: Page) -> Reply[list[Note]]:
    after = page.after(tuple[int])
    rows = await tx.fetch(
        """
        SELECT number, text, trim_scale(amount) AS amount FROM notes
        WHERE workspace_id = $1 AND ($2::int IS NULL OR number > $2)
        ORDER BY number LIMIT $3
        """,
        who.workspace_id,
        after[0] if after else None,
        page.limit + 1,
    )
    return page.reply([Note(**row) for row in rows], after=lambda note: [note.number])


@get("/api/notes/{note_id:uuid}")
async def get_note(
    who: Principal, note_id: UUID, if_match: Annotated[str | None, Header("If-Match")]
) -> Answer:
    return Answer()


@patch("/api/notes", key=None)
async def announce(who: Principal, tx: Tx, data: NewNote) -> None:
    event = ItemFellLow(
        item_id=who.user_id,
        workspace_id=who.workspace_id,
        user_id=who.user_id,
        name=data.text,
        unit="pcs",
        quantity=Decimal(data.amount),
        min_threshold=None,
        seq=1,
    )
    await outbox.put(tx, event, workspace_id=who.workspace_id)
    await _insert(tx, who, data)


@delete("/api/notes", answers=204)
async def delete_notes(who: Principal, tx: Tx) -> None:
    await tx.execute("DELETE FROM notes WHERE workspace_id = $1", who.workspace_id)


@get("/api/open", public=True)
async def read_open() -> dict[str, str]:
    return {"open": "yes"}


ROUTES = (
    create_note,
    create_refused,
    create_traced,
    create_traced_early,
    create_broken,
    create_keyed,
    create_lost,
    create_swallowed,
    create_noisy,
    create_slow,
    create_with_version,
    list_notes,
    get_note,
    announce,
    delete_notes,
    read_open,
)


def service(**more: object) -> Service:
    card: dict[str, Any] = {"publishes": (ItemFellLow,)} | more
    return Service(name="inventory", port=3101, package="tests.kernel", routes=ROUTES, **card)
