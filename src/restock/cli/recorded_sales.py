"""Recorded sales: CSV files of a trader's till, one row a sale (or a return, when negative).

Columns `StockCode`, `Quantity`, `InvoiceNo`, `InvoiceDate` and, where there is one, `Description`;
others are passed over. A code is taken as written, letter case included. The files don't say what
stood on the shelf before, so that is set by rule: an item opens with three quarters of what the
files sell of it, rounded up, and its threshold is a quarter of that, rounded down. Sales will run
out, which is what a replay is for. A code that only ever comes back opens at 0 without threshold.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from pathlib import Path

COLUMNS = ("StockCode", "Quantity", "InvoiceNo", "InvoiceDate")
LONGEST_TEXT = 200  # characters the API takes in a name, note or ref


class UnreadableSales(Exception):
    """A file isn't what it should be; says which, where and why."""


@dataclass(frozen=True, slots=True)
class Sale:
    """One row. `key` names it for good: a digest of its file and its number in it, from 1."""

    key: str
    code: str
    quantity: Decimal  # > 0 went out, < 0 came back
    invoice: str
    occurred_at: datetime  # the files name no zone: taken as UTC
    description: str


@dataclass(frozen=True, slots=True)
class Opening:
    """An item as it stood before the first row."""

    code: str
    name: str
    stock: Decimal
    threshold: Decimal | None


@dataclass(frozen=True, slots=True)
class Recording:
    """All rows in file order, and the items they are about in order of appearance."""

    sales: list[Sale]
    openings: list[Opening]


def read_recording(paths: Sequence[Path]) -> Recording:
    """Read the files in the order given.

    Raises UnreadableSales, also when two files are the same: their rows would be one row twice.
    """
    sales: list[Sale] = []
    seen: dict[str, Path] = {}
    for path in paths:
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise UnreadableSales(f"{path}: {error.strerror}") from error
        digest = hashlib.sha256(raw).hexdigest()[:16]
        if digest in seen:
            raise UnreadableSales(f"{path} has the same content as {seen[digest]}")
        seen[digest] = path
        try:
            sales.extend(_rows(raw.decode("utf-8-sig"), digest))
        except UnicodeDecodeError as error:
            raise UnreadableSales(f"{path}: not UTF-8 at byte {error.start}") from error
        except (UnreadableSales, csv.Error) as error:
            raise UnreadableSales(f"{path}: {error}") from error
    return Recording(sales, openings_of(sales))


def openings_of(sales: Iterable[Sale]) -> list[Opening]:
    """The items the rule makes of these rows."""
    sold: dict[str, Decimal] = {}
    names: dict[str, str] = {}
    for sale in sales:
        sold[sale.code] = sold.get(sale.code, Decimal(0)) + max(sale.quantity, Decimal(0))
        if sale.description and sale.code not in names:
            names[sale.code] = sale.description
    return [_opening(code, names.get(code, code), total) for code, total in sold.items()]


def _opening(code: str, name: str, sold: Decimal) -> Opening:
    if sold == 0:
        return Opening(code, name, Decimal(0), None)
    stock = (sold * 3 / 4).to_integral_value(ROUND_CEILING)
    return Opening(code, name, stock, (stock / 4).to_integral_value(ROUND_FLOOR))


def _rows(text: str, digest: str) -> Iterable[Sale]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise UnreadableSales(f"no column {', '.join(missing)}")
    for number, row in enumerate(reader, start=1):
        try:
            yield _sale(row, f"{digest}:{number}")
        except (ValueError, InvalidOperation) as error:
            raise UnreadableSales(f"line {reader.line_num}: {error}") from error


def _sale(row: dict[str, str | None], key: str) -> Sale:
    code, quantity, invoice, date = ((row[column] or "") for column in COLUMNS)
    if not code or len(code) > LONGEST_TEXT:
        raise ValueError("a StockCode of 1 to 200 characters is needed")
    try:
        amount = Decimal(quantity)
    except InvalidOperation as error:
        raise ValueError(f"Quantity is {quantity!r}, not a number") from error
    if not amount.is_finite() or amount == 0:
        raise ValueError(f"Quantity is {quantity!r}: nothing moved")
    occurred_at = datetime.fromisoformat(date)
    return Sale(
        key=key,
        code=code,
        quantity=amount,
        invoice=invoice,
        occurred_at=occurred_at if occurred_at.tzinfo else occurred_at.replace(tzinfo=UTC),
        description=(row.get("Description") or "").strip()[:LONGEST_TEXT],
    )
