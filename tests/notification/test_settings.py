"""Notification's settings: what would keep it busy for nothing is refused."""

import pytest

from restock.kernel.settings import SettingsError, load
from restock.notification.settings import Settings


@pytest.mark.parametrize("seconds", ["1e-9", "0", "0.09", "nan"])
def test_looks_that_would_leave_no_time_between_them_are_refused(seconds: str) -> None:
    with pytest.raises(SettingsError, match="HEAD_CHECK: must be a number of seconds"):
        load(Settings, "notification", {"RESTOCK_NOTIFICATION_HEAD_CHECK": seconds})


def test_the_shortest_time_between_two_looks() -> None:
    environ = {"RESTOCK_NOTIFICATION_HEAD_CHECK": "0.1"}
    assert load(Settings, "notification", environ).head_check == 0.1
