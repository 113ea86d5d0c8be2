"""Where a client resumes. Pure: no service runs."""

import pytest

from restock.kernel.ids import new_id
from restock.notification.positions import BadPosition, start

ADA, BOB = new_id(), new_id()


def test_a_first_connect_begins_at_the_head_with_a_pid():
    begun = start({"token": "t"}, ADA, 7)
    assert begun.position == 7
    assert begun.mark == ""
    assert begun.pid is not None


def test_who_heard_nothing_resumes_where_he_first_connected_and_keeps_his_pid():
    pid = start({}, ADA, 7).pid
    again = start({"pid": pid}, ADA, 12)
    assert (again.position, again.pid) == (7, pid)


def test_who_heard_something_resumes_after_it():
    pid = start({}, ADA, 7).pid
    again = start({"pid": pid, "offset": "9"}, ADA, 12)
    assert (again.position, again.pid) == (9, pid)


@pytest.mark.parametrize("offset", ["", "x", "-1", "9" * 40, 9, None, "13", "6", ["9"], "٣"])
def test_an_offset_that_can_not_be_his_counts_as_none(offset):
    pid = start({}, ADA, 7).pid
    assert start({"pid": pid, "offset": offset}, ADA, 12).position == 7


@pytest.mark.parametrize("pid", ["", "x", "7", "7.abc", 7, None, {}, "7." + "0" * 12])
def test_a_pid_that_is_not_ours_is_a_first_connect(pid):
    begun = start({"pid": pid, "offset": "3"}, ADA, 12)
    assert begun.position == 12
    assert begun.pid != pid


def test_one_who_comes_back_as_another_is_not_taken_for_having_heard_the_others_feed():
    adas = start({}, ADA, 2).pid
    as_bob = start({"pid": adas, "offset": "5"}, BOB, 3)
    assert as_bob.position == 3
    # the library sends the offset of ada's feed along until bob's has given it another
    still = start({"pid": as_bob.pid, "offset": "5"}, BOB, 9)
    assert still.position == 3
    assert start({"pid": as_bob.pid, "offset": f"6{as_bob.mark}"}, BOB, 9).position == 6


def test_another_feeds_offset_is_told_from_an_equal_one_of_his_own():
    """Ada was at 7; bob begins at 3 and hears 4 to 7; ada comes back and hears 8."""
    adas = start({}, ADA, 2)
    bobs = start({"pid": adas.pid, "offset": f"7{adas.mark}"}, BOB, 3)
    heard = start({"pid": bobs.pid, "offset": f"7{bobs.mark}"}, BOB, 9)
    assert (heard.position, heard.pid, heard.mark) == (7, bobs.pid, bobs.mark)
    again = start({"pid": bobs.pid, "offset": f"7{bobs.mark}"}, ADA, 7)
    assert again.position == 7
    assert start({"pid": again.pid, "offset": f"7{bobs.mark}"}, ADA, 8).position == 7
    assert start({"pid": again.pid, "offset": f"8{again.mark}"}, ADA, 9).position == 8


def test_one_who_heard_nothing_as_the_second_account_is_still_told_from_it_as_the_third():
    adas = start({}, ADA, 2)
    bobs = start({"pid": adas.pid, "offset": f"7{adas.mark}"}, BOB, 3)
    carols = start({"pid": bobs.pid, "offset": f"7{adas.mark}"}, new_id(), 5)
    assert carols.mark == bobs.mark != adas.mark


@pytest.mark.parametrize(("last_seq", "position"), [(0, 0), (5, 5), (12, 12), (99, 12), (None, 12)])
def test_a_client_that_counts_itself_gets_no_pid(last_seq, position):
    begun = start({"lastSeq": last_seq, "pid": "x", "offset": "1"}, ADA, 12)
    assert (begun.position, begun.pid, begun.mark) == (position, None, None)


@pytest.mark.parametrize("last_seq", [-1, "5", 1.5, True, [], {}, 2**63])
def test_a_last_seq_that_is_none_is_refused(last_seq):
    with pytest.raises(BadPosition):
        start({"lastSeq": last_seq}, ADA, 12)


def test_a_feed_that_ended_earlier_than_the_pid_says_begins_at_its_end():
    pid = start({}, ADA, 20).pid
    assert start({"pid": pid}, ADA, 4).position == 4
