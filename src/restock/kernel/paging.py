"""Pages of a list: keyset cursors, opaque to the client, linked as RFC 8288 says."""

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from restock.kernel.faults import FieldError, Invalid
from restock.kernel.reply import Reply
from restock.kernel.wire import encode

T = TypeVar("T")

LIMIT_DEFAULT = 50
LIMIT_MOST = 200
CURSOR = "[A-Za-z0-9_-]+"  # base64url without padding, as `reply` writes it


class BadCursor(Invalid):
    """The cursor isn't one that this list gave out."""

    code = "request.bad_cursor"
    title = "This cursor was not given out by this list"


@dataclass(frozen=True, slots=True)
class Page:
    """Which page is asked for: at most `limit` rows after `cursor` (None: from the start).

    `cursor` holds the values that `reply`'s `after` gave for the last row of the page before,
    as JSON gives them back: text, numbers, true, false, None.
    """

    limit: int
    cursor: tuple[Any, ...] | None
    path: str
    query: tuple[tuple[str, str], ...]

    def after(self, kind: type[T]) -> T | None:
        """The cursor's values as `kind`, such as tuple[datetime, UUID]; None from the start.

        Raises BadCursor when they are something else.
        """
        if self.cursor is None:
            return None
        try:
            return msgspec.convert(self.cursor, kind, strict=False)
        except msgspec.ValidationError:
            raise BadCursor() from None

    def reply(self, rows: list[T], *, after: Callable[[T], Sequence[Any]]) -> Reply[list[T]]:
        """Answer with `rows`, of which one more than `limit` was fetched where there are more."""
        if len(rows) <= self.limit:
            return Reply(rows)
        rows = rows[: self.limit]
        cursor = base64.urlsafe_b64encode(encode(list(after(rows[-1])))).rstrip(b"=").decode()
        query = urlencode([*self.query, ("limit", str(self.limit)), ("cursor", cursor)])
        link = f'<{quote(self.path, safe="/:@")}?{query}>; rel="next"'
        return Reply(rows, headers={"Link": link})


def read_page(path: str, query: Iterable[tuple[str, str]], filters: Collection[str] = ()) -> Page:
    """The page asked for by a query string; the next one's has its `filters` too, and no others.

    Raises Invalid for a limit outside 1–200 and BadCursor for a cursor that isn't ours.
    """
    rest: dict[str, str] = {}
    limit, cursor = LIMIT_DEFAULT, None
    for name, value in query:
        if name == "limit":
            limit = _limit(value)
        elif name == "cursor":
            cursor = _cursor(value)
        elif name in filters:
            rest[name] = value  # the last of several counts
    return Page(limit, cursor, path, tuple(rest.items()))


def _limit(text: str) -> int:
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 1 <= limit <= LIMIT_MOST:
        error = FieldError("/limit", f"Expected a whole number from 1 to {LIMIT_MOST}")
        raise Invalid(errors=[error])
    return limit


def _cursor(text: str) -> tuple[Any, ...]:
    if not re.fullmatch(CURSOR, text):
        raise BadCursor()  # the decoder would pass over what it doesn't know
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        values = msgspec.json.decode(raw, type=list[str | int | float | bool | None])
    except (ValueError, UnicodeError, binascii.Error, msgspec.DecodeError, RecursionError):
        raise BadCursor() from None
    return tuple(values)
