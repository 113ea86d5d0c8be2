"""The directory's and the requests' rules: types and pure functions, no I/O.

A request walks pending → responded → fulfilled, one step at a time, never back. Only the vendor's
side walks it; the buyer watches.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

HIGHEST_RATING = Decimal(5)

_RATING = re.compile(r"[0-9](\.[0-9]{1,2})?")  # as the column has it


class Status(StrEnum):
    """Where a request stands."""

    PENDING = "pending"
    RESPONDED = "responded"
    FULFILLED = "fulfilled"


OPEN = frozenset({Status.PENDING, Status.RESPONDED})

_NEXT = {Status.PENDING: Status.RESPONDED, Status.RESPONDED: Status.FULFILLED}


class StepRefused(Exception):
    """A request can't go from `current` to `asked`."""

    def __init__(self, current: Status, asked: Status) -> None:
        following = _NEXT.get(current)
        possible = f"can only become {following}" if following else "is at its end"
        super().__init__(f"A {current} request {possible}, not {asked}")
        self.current = current
        self.asked = asked


class EditRefused(Exception):
    """The caller may see the vendor but not change what was asked."""


class QuantityRefused(Exception):
    """A request asks for more than nothing."""


class CategoryRefused(Exception):
    """A category whose list could have no address."""


class PositionRefused(Exception):
    """A cursor that names no position in the list."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of the directory ends: lists run by falling rating, then falling id."""

    rating: Decimal
    vendor_id: UUID


def advance(current: Status, asked: Status) -> Status:
    """The status after the step. Raises StepRefused unless `asked` directly follows `current`."""
    if _NEXT.get(current) is not asked:
        raise StepRefused(current, asked)
    return asked


def check_quantity(quantity: Decimal) -> None:
    """Raises QuantityRefused for a quantity that isn't above 0."""
    if not quantity > 0:
        raise QuantityRefused("Expected a number above 0")


def check_category(category: str) -> None:
    """Raises CategoryRefused for what can't stand in the address /category/{category}.

    Slashes of both kinds, escaped ones too, are refused on the way to us; dots are taken away.
    """
    if "/" in category or "\\" in category or category in (".", ".."):
        raise CategoryRefused("Expected no / or \\ in it, and not . or .. alone")


def check_edit(
    *, owner: UUID, workspace: UUID, role: str, contact_fields: bool, activity: bool
) -> None:
    """Who may change what of a vendor: its people its contact fields, an admin its activity.

    Each part of an edit is judged on its own, so a mixed one needs both rights. Raises
    EditRefused.
    """
    if contact_fields and workspace != owner:
        raise EditRefused("Only the vendor's own people change how it is reached")
    if activity and role != "admin":
        raise EditRefused("Only an admin changes isActive")


def position_at(cursor: tuple[object, ...]) -> Position:
    """Read a directory cursor: rating and id, both as text. Raises PositionRefused."""
    match cursor:
        case (str() as rating, str() as vendor_id) if _RATING.fullmatch(rating):
            try:
                position = Position(Decimal(rating), UUID(vendor_id))
            except ValueError as error:
                raise PositionRefused from error
            if position.rating <= HIGHEST_RATING:
                return position
    raise PositionRefused


def request_at(cursor: tuple[object, ...]) -> UUID:
    """Read a cursor into a list of requests, which run by falling id. Raises PositionRefused."""
    match cursor:
        case (str() as request_id,):
            try:
                return UUID(request_id)
            except ValueError as error:
                raise PositionRefused from error
    raise PositionRefused
