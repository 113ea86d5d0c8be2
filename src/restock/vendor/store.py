"""Every SQL statement of vendor, one function each.

A function that acts for a caller takes his workspace and names it in its WHERE; only the
directory is open to all.
"""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import asyncpg
from asyncpg import Record

from restock.kernel.database import Tx
from restock.kernel.wire import plain
from restock.vendor.domain import Position, Status
from restock.vendor.schemas import (
    ContactRequest,
    ItemSnapshot,
    NewRequest,
    NewVendor,
    Step,
    Vendor,
)

_REQUEST = """SELECT r.id AS request_id, r.vendor_id, r.item_id, r.buyer_user_id,
        r.buyer_workspace_id, r.client_name, r.quantity, r.message,
        r.status, r.created_at, r.item_name, r.item_unit, r.item_sku,
        h.statuses, h.times, h.user_ids,
        v.id, v.name, v.email, v.phone, v.category, v.address, v.city,
        v.rating, v.is_active, v.registered_at, v.workspace_id
    FROM contact_requests r
    JOIN vendors v ON v.workspace_id = r.vendor_workspace_id AND v.id = r.vendor_id
    CROSS JOIN LATERAL (
        SELECT array_agg(s.status ORDER BY s.seq) AS statuses,
               array_agg(s.taken_at ORDER BY s.seq) AS times,
               array_agg(s.user_id ORDER BY s.seq) AS user_ids
        FROM request_steps s
        WHERE s.vendor_workspace_id = r.vendor_workspace_id AND s.request_id = r.id) h"""


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request as both sides see it, with the name its buyer went by."""

    request: ContactRequest
    client_name: str


class EmailExists(Exception):
    """Another vendor has the email: nothing was changed."""


async def add_vendor(tx: Tx, workspace_id: UUID, user_id: UUID, new: NewVendor) -> Vendor | None:
    """Enter a vendor and the account that hears of it. None: the email is taken."""
    row = await tx.fetchrow(
        """WITH v AS (
            INSERT INTO vendors (workspace_id, name, email, phone, category, address, city)
            VALUES ($1, $3, $4, $5, $6, $7, $8)
            ON CONFLICT (casefold(email COLLATE pg_unicode_fast)) DO NOTHING
            RETURNING *),
        people AS (
            INSERT INTO vendor_people (workspace_id, user_id)
            SELECT v.workspace_id, $2 FROM v
            ON CONFLICT DO NOTHING)
        SELECT * FROM v""",
        workspace_id,
        user_id,
        new.name,
        new.email,
        new.phone,
        new.category,
        new.address,
        new.city,
    )
    return row and _vendor(row)


async def find_vendor(tx: Tx, vendor_id: UUID) -> Vendor | None:
    """A vendor, active or not."""
    row = await tx.fetchrow("SELECT * FROM vendors WHERE id = $1", vendor_id)
    return row and _vendor(row)


async def list_vendors(
    tx: Tx,
    *,
    category: str | None,
    city: str | None,
    search: str | None,
    after: Position | None,
    limit: int,
) -> list[Vendor]:
    """Active vendors, best rated first, then newest; letter case never matters.

    `category` and `city` are whole words of the vendor's, `search` a part of its name, category
    or city. Answers at most `limit` + 1, so that the caller sees whether there are more.
    """
    sql = ["SELECT v.* FROM vendors v WHERE v.is_active"]
    values: list[object] = [limit + 1]
    # a condition that is there or not, rather than one that may be NULL: an index starts with it
    for condition, *given in (
        ("AND v.category_key = casefold({}::text COLLATE pg_unicode_fast)", category),
        ("AND v.city_key = casefold({}::text COLLATE pg_unicode_fast)", city),
        (_FOUND, search),
        (_AFTER, after and after.rating, after and after.vendor_id),
    ):
        if given[0] is not None:
            numbers = range(len(values) + 1, len(values) + 1 + len(given))
            sql.append(condition.format(*(f"${number}" for number in numbers)))
            values += given
    sql.append("ORDER BY v.rating DESC, v.id DESC LIMIT $1")
    return [_vendor(row) for row in await tx.fetch(" ".join(sql), *values)]


_AFTER = "AND (v.rating, v.id) < ({}::numeric, {}::uuid)"
_FOUND = """AND (
    strpos(casefold(v.name COLLATE pg_unicode_fast),
           casefold({0}::text COLLATE pg_unicode_fast)) > 0
    OR strpos(v.category_key, casefold({0}::text COLLATE pg_unicode_fast)) > 0
    OR strpos(v.city_key, casefold({0}::text COLLATE pg_unicode_fast)) > 0)"""


async def change_vendor(
    tx: Tx, owner: UUID, vendor_id: UUID, changes: dict[str, str | bool]
) -> tuple[Vendor, int | None]:
    """Set the given columns of a vendor that was found.

    With it comes its `seq` after the change; None where nothing became different, which doesn't
    raise it. Raises EmailExists.
    """
    try:
        rows = await tx.fetch(
            """UPDATE vendors AS v
            SET name = coalesce($3, v.name), email = coalesce($4, v.email),
                phone = coalesce($5, v.phone), category = coalesce($6, v.category),
                address = coalesce($7, v.address), city = coalesce($8, v.city),
                is_active = coalesce($9, v.is_active),
                seq = CASE WHEN
                        (v.name, v.email, v.phone, v.category, v.address, v.city, v.is_active)
                        IS DISTINCT FROM
                        (coalesce($3, v.name), coalesce($4, v.email), coalesce($5, v.phone),
                         coalesce($6, v.category), coalesce($7, v.address), coalesce($8, v.city),
                         coalesce($9, v.is_active))
                    THEN v.seq + 1 ELSE v.seq END
            WHERE v.workspace_id = $1 AND v.id = $2
            RETURNING v.*, new.seq > old.seq AS changed""",
            owner,
            vendor_id,
            *(changes.get(name) for name in _EDITABLE),
        )
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "vendors_email_key":
            raise EmailExists from None
        raise
    return _vendor(rows[0]), rows[0]["seq"] if rows[0]["changed"] else None


_EDITABLE = ("name", "email", "phone", "category", "address", "city", "is_active")


async def people_of(tx: Tx, workspace_id: UUID) -> list[UUID]:
    """The accounts that hear of what concerns this workspace's vendors."""
    rows = await tx.fetch(
        "SELECT user_id FROM vendor_people WHERE workspace_id = $1 ORDER BY since, user_id",
        workspace_id,
    )
    return [row["user_id"] for row in rows]


async def open_request(
    tx: Tx,
    *,
    vendor_id: UUID,
    buyer_workspace_id: UUID,
    buyer_user_id: UUID,
    client_name: str,
    new: NewRequest,
    item: ItemSnapshot,
) -> UUID | None:
    """Open a request with its first step.

    None: the vendor is unknown or inactive, or this workspace has an open request to it for this
    item. Two at once meet in the unique index: the second waits for the first, then is None.
    """
    request_id: UUID | None = await tx.fetchval(
        """WITH opened AS (
            INSERT INTO contact_requests
                (vendor_workspace_id, vendor_id, buyer_workspace_id, buyer_user_id, client_name,
                 item_id, item_name, item_unit, item_sku, quantity, message)
            SELECT v.workspace_id, v.id, $2, $3, $4, $5, $6, $7, $8, $9, $10
            FROM vendors v WHERE v.id = $1 AND v.is_active
            ON CONFLICT (vendor_workspace_id, vendor_id, buyer_workspace_id, item_id)
                WHERE status IN ('pending', 'responded')
                DO NOTHING
            RETURNING vendor_workspace_id, id, seq, status, buyer_user_id, created_at),
        step AS (
            INSERT INTO request_steps
                (vendor_workspace_id, request_id, seq, status, user_id, taken_at)
            SELECT vendor_workspace_id, id, seq, status, buyer_user_id, created_at FROM opened)
        SELECT id FROM opened""",
        vendor_id,
        buyer_workspace_id,
        buyer_user_id,
        client_name,
        new.item_id,
        item.name,
        item.unit,
        item.sku,
        Decimal(new.quantity),
        new.message,
    )
    return request_id


async def find_open_request(
    tx: Tx, vendor_workspace_id: UUID, vendor_id: UUID, buyer_workspace_id: UUID, item_id: UUID
) -> UUID | None:
    """The buyer's open request to this vendor for this item."""
    request_id: UUID | None = await tx.fetchval(
        """SELECT id FROM contact_requests
        WHERE vendor_workspace_id = $1 AND vendor_id = $2
          AND buyer_workspace_id = $3 AND item_id = $4
          AND status IN ('pending', 'responded')""",
        vendor_workspace_id,
        vendor_id,
        buyer_workspace_id,
        item_id,
    )
    return request_id


async def lock_request(tx: Tx, vendor_workspace_id: UUID, request_id: UUID) -> Status | None:
    """The status of a request to this workspace's vendor; it stays so until `tx` ends."""
    status = await tx.fetchval(
        """SELECT status FROM contact_requests
        WHERE vendor_workspace_id = $1 AND id = $2 FOR NO KEY UPDATE""",
        vendor_workspace_id,
        request_id,
    )
    return status and Status(status)


async def take_step(
    tx: Tx, vendor_workspace_id: UUID, request_id: UUID, status: Status, user_id: UUID
) -> None:
    """Put a locked request into `status`, and the step into its history."""
    await tx.execute(
        """WITH stepped AS (
            UPDATE contact_requests SET status = $3, seq = seq + 1
            WHERE vendor_workspace_id = $1 AND id = $2
            RETURNING vendor_workspace_id, id, seq, status)
        INSERT INTO request_steps (vendor_workspace_id, request_id, seq, status, user_id)
        SELECT vendor_workspace_id, id, seq, status, $4 FROM stepped""",
        vendor_workspace_id,
        request_id,
        status.value,
        user_id,
    )


async def is_sent_by(tx: Tx, buyer_workspace_id: UUID, request_id: UUID) -> bool:
    """Whether this workspace sent the request."""
    sent: bool = await tx.fetchval(
        """SELECT EXISTS (SELECT FROM contact_requests
        WHERE buyer_workspace_id = $1 AND id = $2)""",
        buyer_workspace_id,
        request_id,
    )
    return sent


async def request_of_vendor(tx: Tx, vendor_workspace_id: UUID, request_id: UUID) -> StoredRequest:
    """A request that is there, for the vendor's side."""
    rows = await tx.fetch(
        _REQUEST + " WHERE r.vendor_workspace_id = $1 AND r.id = $2",
        vendor_workspace_id,
        request_id,
    )
    return _request(rows[0])


async def request_of_buyer(tx: Tx, buyer_workspace_id: UUID, request_id: UUID) -> StoredRequest:
    """A request that is there, for the buyer's side."""
    rows = await tx.fetch(
        _REQUEST + " WHERE r.buyer_workspace_id = $1 AND r.id = $2",
        buyer_workspace_id,
        request_id,
    )
    return _request(rows[0])


async def requests_to(
    tx: Tx, vendor_workspace_id: UUID, vendor_id: UUID, *, after: UUID | None, limit: int
) -> list[ContactRequest]:
    """What a vendor was asked, newest first; at most `limit` + 1."""
    rows = await tx.fetch(
        _REQUEST
        + """ WHERE r.vendor_workspace_id = $1 AND r.vendor_id = $2
          AND ($3::uuid IS NULL OR r.id < $3)
        ORDER BY r.id DESC LIMIT $4""",
        vendor_workspace_id,
        vendor_id,
        after,
        limit + 1,
    )
    return [_request(row).request for row in rows]


async def requests_by(
    tx: Tx, buyer_workspace_id: UUID, *, after: UUID | None, limit: int
) -> list[ContactRequest]:
    """What a workspace has sent, newest first; at most `limit` + 1."""
    rows = await tx.fetch(
        _REQUEST
        + """ WHERE r.buyer_workspace_id = $1 AND ($2::uuid IS NULL OR r.id < $2)
        ORDER BY r.id DESC LIMIT $3""",
        buyer_workspace_id,
        after,
        limit + 1,
    )
    return [_request(row).request for row in rows]


def _vendor(row: Record) -> Vendor:
    return Vendor(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        phone=row["phone"],
        category=row["category"],
        address=row["address"],
        city=row["city"],
        rating=plain(row["rating"]),
        is_active=row["is_active"],
        registered_at=row["registered_at"],
        workspace_id=row["workspace_id"],
    )


def _request(row: Record) -> StoredRequest:
    request = ContactRequest(
        id=row["request_id"],
        vendor_id=row["vendor_id"],
        item_id=row["item_id"],
        user_id=row["buyer_user_id"],
        workspace_id=row["buyer_workspace_id"],
        quantity=plain(row["quantity"]),
        message=row["message"],
        status=row["status"],
        created_at=row["created_at"],
        item=ItemSnapshot(name=row["item_name"], unit=row["item_unit"], sku=row["item_sku"]),
        history=[
            Step(status=status, at=at, user_id=user_id)
            for status, at, user_id in zip(
                row["statuses"], row["times"], row["user_ids"], strict=True
            )
        ],
        vendor=_vendor(row),
    )
    return StoredRequest(request, row["client_name"])
