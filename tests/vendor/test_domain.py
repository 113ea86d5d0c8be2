"""The rules alone: no fixtures, no I/O."""

from decimal import Decimal
from itertools import product
from uuid import UUID, uuid4

import pytest

from restock.vendor.domain import (
    OPEN,
    CategoryRefused,
    EditRefused,
    Position,
    PositionRefused,
    QuantityRefused,
    Status,
    StepRefused,
    advance,
    check_category,
    check_edit,
    check_quantity,
    position_at,
    request_at,
)

OWNER = UUID(int=1)
STRANGER = UUID(int=2)


def test_a_request_walks_its_two_steps_and_no_other():
    allowed = {
        (Status.PENDING, Status.RESPONDED),
        (Status.RESPONDED, Status.FULFILLED),
    }
    for current, asked in product(Status, Status):
        if (current, asked) in allowed:
            assert advance(current, asked) is asked
        else:
            with pytest.raises(StepRefused) as refused:
                advance(current, asked)
            assert (refused.value.current, refused.value.asked) == (current, asked)


def test_a_refused_step_says_what_is_possible():
    with pytest.raises(StepRefused, match="pending request can only become responded"):
        advance(Status.PENDING, Status.FULFILLED)
    with pytest.raises(StepRefused, match="fulfilled request is at its end"):
        advance(Status.FULFILLED, Status.RESPONDED)


def test_open_is_what_still_has_a_step_to_take():
    for status in Status:
        steps = []
        for asked in Status:
            try:
                steps.append(advance(status, asked))
            except StepRefused:
                continue
        assert bool(steps) is (status in OPEN)


@pytest.mark.parametrize("quantity", ["0", "-0", "-1", "-0.000001"])
def test_nothing_can_not_be_asked_for(quantity):
    with pytest.raises(QuantityRefused):
        check_quantity(Decimal(quantity))


@pytest.mark.parametrize("quantity", ["0.000001", "1", "999999999.999999"])
def test_any_amount_above_nothing_can_be_asked_for(quantity):
    check_quantity(Decimal(quantity))


@pytest.mark.parametrize("category", ["a/b", "/", "\\", ".", ".."])
def test_a_category_that_no_address_can_name_is_refused(category):
    with pytest.raises(CategoryRefused):
        check_category(category)


@pytest.mark.parametrize("category", ["Drinks", "a.b", "...", "50 % off", "C++"])
def test_any_other_category_may_be_made_up(category):
    check_category(category)


@pytest.mark.parametrize(
    ("workspace", "role", "contact_fields", "activity", "allowed"),
    [
        (OWNER, "user", True, False, True),
        (OWNER, "vendor", True, False, True),
        (OWNER, "vendor", False, True, False),
        (OWNER, "vendor", True, True, False),
        (OWNER, "admin", True, True, True),
        (STRANGER, "user", True, False, False),
        (STRANGER, "user", False, True, False),
        (STRANGER, "admin", False, True, True),
        (STRANGER, "admin", True, False, False),
        (STRANGER, "admin", True, True, False),
    ],
)
def test_each_part_of_an_edit_needs_its_own_right(
    workspace, role, contact_fields, activity, allowed
):
    def check():
        check_edit(
            owner=OWNER,
            workspace=workspace,
            role=role,
            contact_fields=contact_fields,
            activity=activity,
        )

    if allowed:
        check()
    else:
        with pytest.raises(EditRefused):
            check()


def test_a_cursor_comes_back_as_the_position_it_names():
    vendor_id = uuid4()
    assert position_at(("4.25", str(vendor_id))) == Position(Decimal("4.25"), vendor_id)
    assert request_at((str(vendor_id),)) == vendor_id


@pytest.mark.parametrize(
    "cursor",
    [
        (),
        ("4",),
        (4, str(OWNER)),
        ("4", 5),
        ("4", "not an id"),
        ("four", str(OWNER)),
        ("NaN", str(OWNER)),
        ("sNaN", str(OWNER)),
        ("Infinity", str(OWNER)),
        ("-1", str(OWNER)),
        ("1e999999999", str(OWNER)),
        ("1e-20000", str(OWNER)),
        ("4.125", str(OWNER)),
        ("5.01", str(OWNER)),
        ("4\n", str(OWNER)),
        ("4", str(OWNER), "more"),
        (None, None),
    ],
)
def test_a_made_up_directory_cursor_is_refused(cursor):
    with pytest.raises(PositionRefused):
        position_at(cursor)


@pytest.mark.parametrize("cursor", [(), (1,), ("x",), (None,), (str(OWNER), str(OWNER))])
def test_a_made_up_request_cursor_is_refused(cursor):
    with pytest.raises(PositionRefused):
        request_at(cursor)
