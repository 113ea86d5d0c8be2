"""Figures: what a spread, a ratio and a goal are."""

from typing import Any

import pytest

from bench.figures import Line, Spread, at_least, at_most, ratios


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_a_ratio_is_taken_within_each_round() -> None:
    # of the medians it would be 2.0
    assert ratios([10.0, 40.0, 20.0], [10.0, 10.0, 20.0]) == Spread(1.0, 1.0, 4.0)


def test_sides_with_unequal_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def line(**more: Any) -> Line:
    return Line(question="q", what="w", unit="u", ours=Spread(2.0, 2.0, 2.0), **more)


def test_a_goal_judges_the_median_ratio() -> None:
    ratio = Spread(3.0, 1.0, 5.0)
    assert line(against="it", ratio=ratio, goal=at_least(3.0)).reached is True
    assert line(against="it", ratio=ratio, goal=at_most(2.9)).reached is False


def test_without_its_other_side_nothing_is_judged() -> None:
    assert line(against="it", goal=at_least(1.0)).reached is None
    assert line().reached is None


def test_where_no_other_side_is_meant_our_own_figure_is_judged() -> None:
    assert line(goal=at_most(3.0, "s")).reached is True
