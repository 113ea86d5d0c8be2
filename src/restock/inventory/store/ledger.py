"""The ledger, read; `changes` and `batches` write to it, and `items` an item's first row.

A row written under an Idempotency-Key holds the key and the hash of its request, so a repetition
violates `ledger_key` and its statement fails as a whole; `written_under` then reads the first
answer back. What that needs beside the row itself stands in its `answer`:

- a movement's answer is the row: null
- a count's, or a new item's, is the item as it was then: the item
- a batch's is all its rows, told apart by `position`, and in row 0 what was refused (`batches`)

Only what changed something is kept; a refused request leaves no row and is judged anew.

An edit of an item is no ledger call: the edge keeps its answer in `kept_answers`, where
`ledger_key` can't see it. So that one key never has both effects, either side holds the key
(`hold_key`) from before it looks at the other's table until its own commit: an edit, and a batch,
by a statement of its own, before any item is locked; changes of stock within their statement.
"""

from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET

from restock.inventory.schemas import Item, Movement
from restock.inventory.store.parts import ROW, compose
from restock.kernel.database import Tx
from restock.kernel.identity import Principal

_LOGS = compose(
    """
SELECT {row} FROM ledger
WHERE workspace_id = $1 AND item_id = $2 AND seq < coalesce($3, 9223372036854775807)
ORDER BY seq DESC
LIMIT $4
""",
    row=ROW,
)

_WRITTEN_UNDER = compose(
    """
SELECT {row}, request_hash, answer FROM ledger
WHERE workspace_id = $1 AND user_id = $2 AND key = $3
ORDER BY position
""",
    row=ROW,
)


_HOLD_KEY = "SELECT hold_key($1, $2, $3)"

_KEPT_BESIDE = """
SELECT EXISTS (
    SELECT FROM kept_answers WHERE workspace_id = $1 AND user_id = $2 AND key = $3)
"""


class Written(NamedTuple):
    """What was written under a key: the hash of its request, its rows, the answer beside them."""

    request_hash: bytes
    rows: list[Movement]
    answer: Any

    @property
    def item(self) -> Item:
        """The item as it was, where it was the answer.

        The row is for good and items may get more fields: one that the answer didn't have then
        is UNSET, which leaves it out again.
        """
        kept: dict[str, Any] = {
            field.name: UNSET
            if field.encode_name not in self.answer
            else msgspec.convert(self.answer[field.encode_name], field.type, strict=False)
            for field in msgspec.structs.fields(Item)
        }
        return Item(**kept)


async def logs(
    tx: Tx, workspace_id: UUID, item_id: UUID, before: int | None, limit: int
) -> list[Movement]:
    """An item's rows, newest first, from the one before seq `before` on; at most `limit` + 1."""
    rows = await tx.fetch(_LOGS, workspace_id, item_id, before, limit + 1)
    return [Movement(*row) for row in rows]


async def written_under(tx: Tx, who: Principal, key: str) -> Written | None:
    """What the account wrote under a key."""
    rows = await tx.fetch(_WRITTEN_UNDER, who.workspace_id, who.user_id, key)
    if not rows:
        return None
    movements = [Movement(*row[:-2]) for row in rows]
    return Written(rows[0]["request_hash"], movements, rows[0]["answer"])


async def hold_key(tx: Tx, who: Principal, key: str) -> bool:
    """Whether a key is free of answers kept beside the ledger; it is ours until `tx` ends.

    To be called before any item is locked: whoever locks both takes them in this order.
    """
    return bool(await tx.fetchval(_HOLD_KEY, who.workspace_id, who.user_id, key))


async def kept_beside(tx: Tx, who: Principal, key: str) -> bool:
    """Whether the edge keeps an answer under the key: it was used for what is no ledger call."""
    return bool(await tx.fetchval(_KEPT_BESIDE, who.workspace_id, who.user_id, key))
