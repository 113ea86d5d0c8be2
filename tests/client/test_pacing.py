"""The pacer against a bucket of tokens like the gateway's, on a clock of the test's own."""

import pytest

from restock.client.pacing import Pacer


class Bucket:
    """`rate` tokens a second, `burst` at most; a second's simulated traffic at a time."""

    def __init__(self, rate: float, burst: float) -> None:
        self.now = 0.0
        self.rate = rate
        self.burst = burst
        self.tokens = burst
        self.accepted = 0
        self.refused = 0
        self.pacer = Pacer(lambda: self.now)

    def run(self, seconds: float, *, step: float = 0.001) -> None:
        end = self.now + seconds
        while self.now < end:
            if self.pacer.reserve() == 0.0:
                self._request()
            self.now += step
            self.tokens = min(self.burst, self.tokens + step * self.rate)

    def _request(self) -> None:
        if self.tokens >= 1:
            self.tokens -= 1
            self.accepted += 1
            self.pacer.accepted()
        else:
            self.refused += 1
            self.pacer.refused(1.0)


def test_nothing_is_held_back_until_something_is_refused():
    bucket = Bucket(rate=1000, burst=10**6)
    bucket.run(5)
    assert bucket.accepted == pytest.approx(5000, abs=5)
    assert bucket.pacer.rate is None


@pytest.mark.parametrize("rate", [5, 100, 400])
def test_the_allowed_rate_is_found_and_used(rate):
    bucket = Bucket(rate=rate, burst=5 * rate)
    bucket.run(20)  # the burst, and finding the rate
    bucket.accepted = bucket.refused = 0
    bucket.run(100)
    assert bucket.accepted >= 0.97 * rate * 100
    assert bucket.refused <= 10
    assert bucket.pacer.rate == pytest.approx(rate, rel=0.5)


def test_a_raised_limit_is_noticed():
    bucket = Bucket(rate=100, burst=500)
    bucket.run(30)
    bucket.rate = bucket.burst = 1000
    bucket.run(240)
    bucket.accepted = 0
    bucket.run(10)
    assert bucket.accepted > 5000


def test_many_refusals_of_one_moment_are_one():
    now = 0.0
    pacer = Pacer(lambda: now)
    pacer.refused(1.0)
    now = 10.0
    for _ in range(1000):
        pacer.accepted()
    for _ in range(16):
        pacer.refused(1.0)
    assert pacer.rate == pytest.approx(100)
    assert pacer.reserve() == pytest.approx(1.0)
