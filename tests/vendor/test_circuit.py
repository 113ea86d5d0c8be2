"""When inventory is left alone, and when it is asked again: the circuit under a turned clock."""

import pytest

from restock.vendor.items import Circuit


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def circuit(clock):
    return Circuit(failures=3, rest=2.0, clock=clock)


def fail(circuit, times):
    for _ in range(times):
        circuit.failed()


def test_it_admits_all_while_failures_are_few(circuit):
    fail(circuit, 2)
    assert [circuit.admit() for _ in range(5)] == [0.0] * 5


def test_a_success_between_failures_starts_the_count_anew(circuit):
    for _ in range(5):
        fail(circuit, 2)
        circuit.succeeded()
    assert circuit.admit() == 0.0


def test_after_failures_in_a_row_it_says_how_long_to_wait(circuit, clock):
    fail(circuit, 3)
    assert circuit.admit() == 2.0
    clock.now += 1.5
    assert circuit.admit() == 0.5


def test_after_its_rest_one_tries_and_the_others_wait(circuit, clock):
    fail(circuit, 3)
    clock.now += 2
    assert circuit.admit() == 0.0
    assert circuit.admit() == 2.0
    circuit.failed()
    clock.now += 1
    assert circuit.admit() == 1.0


def test_a_trial_that_succeeds_opens_the_way_again(circuit, clock):
    fail(circuit, 3)
    clock.now += 2
    assert circuit.admit() == 0.0
    circuit.succeeded()
    assert [circuit.admit() for _ in range(3)] == [0.0] * 3


def test_a_trial_that_never_ends_is_followed_by_another(circuit, clock):
    fail(circuit, 3)
    clock.now += 2
    assert circuit.admit() == 0.0
    clock.now += 2
    assert circuit.admit() == 0.0
