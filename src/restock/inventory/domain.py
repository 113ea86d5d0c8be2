"""The pure rules of stock: what a change leads to, and when it is refused."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

STOCK_LIMIT = Decimal(10) ** 9

# Far inside what PostgreSQL and every client can say. Moments are compared as such, so it doesn't
# matter in which zone one was written.
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
END_OF_TIME = datetime(9000, 1, 1, tzinfo=UTC)


class Obstacle(StrEnum):
    """Why a change of stock can't be made."""

    MISSING = "missing"
    SHORT = "short"
    TOO_LARGE = "too_large"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Stock:
    """An item's stock at a moment: `moves` is how many rows its ledger has."""

    quantity: Decimal
    version: int
    moves: int
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A movement of a batch that is made: `place` is its index in the request."""

    place: int
    item_id: UUID
    previous: Decimal
    new: Decimal
    seq: int
    version: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A movement of a batch that isn't made; `available` is None where there is no item."""

    place: int
    obstacle: Obstacle
    available: Decimal | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a batch does, in the order it is done, and what it can't do."""

    steps: list[Step]
    refused: list[Refused]


Wanted = Sequence[tuple[UUID, Decimal]]


def obstacle_to_movement(stock: Stock | None, delta: Decimal) -> Obstacle | None:
    """What stands in the way of adding `delta`; None: nothing."""
    if stock is None or stock.archived:
        return Obstacle.MISSING
    if stock.quantity + delta < 0:
        return Obstacle.SHORT
    if stock.quantity + delta >= STOCK_LIMIT:
        return Obstacle.TOO_LARGE
    return None


def obstacle_to_change(stock: Stock | None, versions: Sequence[int] | None) -> Obstacle | None:
    """What stands in the way of a change meant for one of `versions` (None: for any)."""
    if stock is None or stock.archived:
        return Obstacle.MISSING
    if versions is not None and stock.version not in versions:
        return Obstacle.CHANGED
    return None


def plan_each(wanted: Wanted, stocks: Mapping[UUID, Stock]) -> Plan:
    """Each movement on its own, one after the other: as if they were sent alone."""
    stocks, steps, refused = dict(stocks), [], []
    for place, (item_id, delta) in enumerate(wanted):
        stock = stocks.get(item_id)
        obstacle = obstacle_to_movement(stock, delta)
        if stock is None or obstacle is not None:
            refused.append(_refused(place, stock, obstacle or Obstacle.MISSING))
        else:
            step = _step(place, item_id, stock, delta)
            stocks[item_id] = _after(step)
            steps.append(step)
    return Plan(steps, refused)


def plan_all(wanted: Wanted, stocks: Mapping[UUID, Stock]) -> Plan:
    """All movements or none: an item's movements are judged by their sum.

    They are made in the order asked for, unless a takeaway would come before the arrival that
    covers it: then that item's arrivals go first.
    """
    by_item: dict[UUID, list[tuple[int, Decimal]]] = defaultdict(list)
    for place, (item_id, delta) in enumerate(wanted):
        by_item[item_id].append((place, delta))
    steps: list[Step] = []
    refused: list[Refused] = []
    for item_id, moves in by_item.items():
        stock = stocks.get(item_id)
        if stock is not None and (made := _in_order(item_id, stock, moves)):
            steps += made
            continue
        obstacle = obstacle_to_movement(stock, sum((delta for _, delta in moves), Decimal(0)))
        if stock is None or obstacle is not None:
            obstacle = obstacle or Obstacle.MISSING
            refused += [
                _refused(place, stock, obstacle)
                for place, delta in moves
                if _stands_in_the_way(delta, obstacle)
            ]
            continue
        made = _in_order(item_id, stock, sorted(moves, key=lambda move: move[1] < 0))
        if made is None:
            arrivals = [(place, delta) for place, delta in moves if delta > 0]
            refused += [_refused(place, stock, Obstacle.TOO_LARGE) for place, _ in arrivals]
        else:
            steps += made
    return Plan(steps, sorted(refused, key=lambda refusal: refusal.place))


def _in_order(
    item_id: UUID, stock: Stock, moves: Sequence[tuple[int, Decimal]]
) -> list[Step] | None:
    """The steps when made in this order; None where one of them isn't possible."""
    steps = []
    for place, delta in moves:
        if obstacle_to_movement(stock, delta) is not None:
            return None
        step = _step(place, item_id, stock, delta)
        stock = _after(step)
        steps.append(step)
    return steps


def _stands_in_the_way(delta: Decimal, obstacle: Obstacle) -> bool:
    match obstacle:
        case Obstacle.SHORT:
            return delta < 0
        case Obstacle.TOO_LARGE:
            return delta > 0
        case _:
            return True


def _step(place: int, item_id: UUID, stock: Stock, delta: Decimal) -> Step:
    return Step(
        place,
        item_id,
        previous=stock.quantity,
        new=stock.quantity + delta,
        seq=stock.moves + 1,
        version=stock.version + 1,
    )


def _after(step: Step) -> Stock:
    return Stock(step.new, step.version, step.seq)


def _refused(place: int, stock: Stock | None, obstacle: Obstacle) -> Refused:
    available = None if stock is None or obstacle is Obstacle.MISSING else stock.quantity
    return Refused(place, obstacle, available)
