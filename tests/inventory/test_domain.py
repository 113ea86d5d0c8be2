"""The pure rules of stock."""

from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from restock.inventory.domain import (
    Obstacle,
    Stock,
    obstacle_to_change,
    obstacle_to_movement,
    plan_all,
    plan_each,
)

TEA, NUTS, NOWHERE = UUID(int=1), UUID(int=2), UUID(int=3)
LAST = Decimal("999999999.999999")


def stock(quantity: int | Decimal, *, archived: bool = False) -> Stock:
    return Stock(Decimal(quantity), version=7, moves=3, archived=archived)


def wanted(*moves: tuple[UUID, int]) -> list[tuple[UUID, Decimal]]:
    return [(item_id, Decimal(delta)) for item_id, delta in moves]


def refusals(plan):
    return [(refused.place, refused.obstacle, refused.available) for refused in plan.refused]


def test_a_movement_stays_between_zero_and_the_limit():
    assert obstacle_to_movement(stock(5), Decimal(-5)) is None
    assert obstacle_to_movement(stock(5), Decimal("-5.000001")) is Obstacle.SHORT
    assert obstacle_to_movement(stock(LAST - 1), Decimal(1)) is None
    assert obstacle_to_movement(stock(LAST), Decimal("0.000001")) is Obstacle.TOO_LARGE


def test_what_is_not_there_is_missing_whatever_is_asked_of_it():
    for absent in (None, stock(5, archived=True)):
        assert obstacle_to_movement(absent, Decimal(1)) is Obstacle.MISSING
        assert obstacle_to_change(absent, None) is Obstacle.MISSING
        assert obstacle_to_change(absent, [7]) is Obstacle.MISSING


def test_a_change_is_for_the_versions_it_names():
    assert obstacle_to_change(stock(5), None) is None
    assert obstacle_to_change(stock(5), [1, 7]) is None
    assert obstacle_to_change(stock(5), [6]) is Obstacle.CHANGED
    assert obstacle_to_change(stock(5), []) is Obstacle.CHANGED


def test_each_is_judged_after_the_ones_before_it():
    stocks = {TEA: stock(5), NUTS: stock(1)}
    plan = plan_each(wanted((TEA, -4), (TEA, -2), (NUTS, -1), (TEA, 3), (TEA, -4)), stocks)
    assert [(step.place, step.previous, step.new) for step in plan.steps] == [
        (0, 5, 1),
        (2, 1, 0),
        (3, 1, 4),
        (4, 4, 0),
    ]
    assert [(step.seq, step.version) for step in plan.steps] == [(4, 8), (4, 8), (5, 9), (6, 10)]
    assert refusals(plan) == [(1, Obstacle.SHORT, 1)]


def test_each_says_why():
    stocks = {TEA: stock(LAST), NUTS: stock(1, archived=True)}
    plan = plan_each(wanted((TEA, 1), (NUTS, 1), (NOWHERE, 1)), stocks)
    assert plan.steps == []
    assert refusals(plan) == [
        (0, Obstacle.TOO_LARGE, LAST),
        (1, Obstacle.MISSING, None),
        (2, Obstacle.MISSING, None),
    ]


def test_all_is_judged_by_the_sum_of_each_item():
    short = plan_all(wanted((TEA, -3), (NUTS, -1), (TEA, -3)), {TEA: stock(5), NUTS: stock(1)})
    assert refusals(short) == [(0, Obstacle.SHORT, 5), (2, Obstacle.SHORT, 5)]
    covered = plan_all(wanted((TEA, -6), (TEA, 1)), {TEA: stock(5)})
    assert covered.refused == []


def test_all_keeps_the_order_unless_a_takeaway_waits_for_its_arrival():
    kept = plan_all(wanted((TEA, -5), (TEA, 4), (TEA, -4)), {TEA: stock(5)})
    assert [step.place for step in kept.steps] == [0, 1, 2]
    turned = plan_all(wanted((TEA, -6), (TEA, -1), (TEA, 4)), {TEA: stock(5)})
    assert [step.place for step in turned.steps] == [2, 0, 1]


def test_all_names_every_movement_in_the_way():
    plan = plan_all(wanted((NOWHERE, 1), (TEA, 2), (TEA, -9)), {TEA: stock(5)})
    assert refusals(plan) == [(0, Obstacle.MISSING, None), (2, Obstacle.SHORT, 5)]
    full = plan_all(wanted((TEA, -1), (TEA, 2)), {TEA: stock(LAST)})
    assert refusals(full) == [(1, Obstacle.TOO_LARGE, LAST)]


def test_all_finds_an_order_that_never_passes_the_limit():
    plan = plan_all(wanted((TEA, -1), (TEA, 1)), {TEA: stock(LAST)})
    assert [step.new for step in plan.steps] == [LAST - 1, LAST]
    stuck = plan_all(wanted((TEA, 1), (TEA, -1)), {TEA: stock(LAST)})
    assert refusals(stuck) == [(0, Obstacle.TOO_LARGE, LAST)]


DELTAS = st.lists(
    st.tuples(st.sampled_from([TEA, NUTS]), st.integers(-9, 9).filter(bool).map(Decimal)),
    min_size=1,
    max_size=12,
)


@given(moves=DELTAS, tea=st.integers(0, 12), nuts=st.integers(0, 12))
def test_all_is_possible_exactly_when_every_sum_is(moves, tea, nuts):
    stocks = {TEA: stock(tea), NUTS: stock(nuts)}
    sums = {
        item_id: stocks[item_id].quantity + sum(delta for other, delta in moves if other == item_id)
        for item_id in stocks
    }
    plan = plan_all(moves, stocks)
    assert (not plan.refused) == all(total >= 0 for total in sums.values())
    if not plan.refused:
        assert sorted(step.place for step in plan.steps) == list(range(len(moves)))
        assert_chained(plan, stocks)


@given(moves=DELTAS, tea=st.integers(0, 12), nuts=st.integers(0, 12))
def test_each_makes_or_refuses_every_movement(moves, tea, nuts):
    stocks = {TEA: stock(tea), NUTS: stock(nuts)}
    plan = plan_each(moves, stocks)
    places = [step.place for step in plan.steps] + [refused.place for refused in plan.refused]
    assert sorted(places) == list(range(len(moves)))
    assert_chained(plan, stocks)


def assert_chained(plan, stocks):
    """Each step begins where the item's step before it ended, and none goes below zero."""
    now = dict(stocks)
    for step in plan.steps:
        before = now[step.item_id]
        assert step.previous == before.quantity
        assert step.new >= 0
        assert (step.seq, step.version) == (before.moves + 1, before.version + 1)
        now[step.item_id] = Stock(step.new, step.version, step.seq)
