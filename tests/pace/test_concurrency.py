"""How many connections a destination bears at once."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx.pace import Concurrency

caps = st.integers(1, 50)


def run(outcomes, cap, start=None):
    """Return what is known after these outcomes."""
    known = start or Concurrency.initial(cap)
    for good in outcomes:
        known = known.after_success(cap) if good else known.after_failure()
    return known


def postfix(concurrency, good, count, cap):
    """Return the concurrency after so many equal outcomes, by the README's pseudocode with 1/N."""
    success = failure = Fraction(0)
    for _ in range(count):
        if good:
            success += Fraction(1, concurrency)
            while success >= 1:
                concurrency, success = concurrency + 1, success - 1
            concurrency = min(concurrency, cap)
        else:
            failure -= Fraction(1, concurrency)
            while failure < 0:
                concurrency, failure = concurrency - 1, failure + 1
            concurrency = max(concurrency, 1)
    return concurrency


@pytest.mark.parametrize(("cap", "begins"), [(0, 1), (1, 1), (2, 2), (3, 2), (20, 2)])
def test_it_begins_with_two(cap, begins):
    """A destination that nothing is known of gets two connections, if it may have two."""
    assert Concurrency.initial(cap).allowed(cap) == begins


@given(st.integers(1, 20), st.integers(0, 60), caps)
def test_successes_raise_it_as_in_postfix(begin, count, cap):
    """N successes make one more connection."""
    begin = min(begin, cap)
    known = run([True] * count, cap, Concurrency(float(begin)))
    assert known.allowed(cap) == postfix(begin, True, count, cap)


@given(st.integers(1, 20), st.integers(0, 60))
def test_failures_lower_it_as_in_postfix(begin, count):
    """The first failure takes one connection, and each round after it another."""
    known = run([False] * count, 20, Concurrency(float(begin)))
    assert known.allowed(20) == postfix(begin, False, count, 20)


def test_one_success_does_not_undo_a_failure():
    """After a failure it takes a whole round of successes to get back."""
    known = run([False], 20, Concurrency(4.0))
    assert known.allowed(20) == 3
    assert run([True, True], 20, known).allowed(20) == 3
    assert run([True, True, True], 20, known).allowed(20) == 4


def test_it_settles_near_what_the_destination_bears():
    """A server that refuses the seventh connection is offered six or seven of them."""
    known, seen = Concurrency.initial(20), []
    for _ in range(500):
        open_now = known.allowed(20)
        seen.append(open_now)
        known = run([number < 6 for number in range(open_now)], 20, known)
    assert set(seen[50:]) <= {5, 6, 7}


@given(st.lists(st.booleans(), max_size=200), caps)
def test_it_stays_between_one_and_the_cap(outcomes, cap):
    """Whatever happens, at least one connection may be open, and no more than the cap."""
    known = run(outcomes, cap)
    assert 1 <= known.allowed(cap) <= cap
    assert 1 <= known.window <= cap
    assert known.allowed(1) == 1


@given(st.lists(st.booleans(), max_size=50), caps)
def test_a_success_is_a_sign_of_life(outcomes, cap):
    """After a success no failure counts that was before it."""
    known = run([*outcomes, True], cap)
    assert known.failed_cohorts == 0


def test_two_columns_are_enough():
    """What two floating-point columns give back is the same."""
    known = run([True, True, True, False, False], 20)
    assert Concurrency(known.window, known.failed_cohorts) == known


def test_a_column_out_of_range_does_no_harm():
    """A number below one, from wherever, is one."""
    assert Concurrency(0.0).allowed(5) == 1
    assert Concurrency(0.0).after_failure().allowed(5) == 1
    assert Concurrency(-3.0).after_success(5).allowed(5) >= 1
