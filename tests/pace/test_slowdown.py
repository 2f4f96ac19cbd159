"""What a reply that asks for less does to a rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx.pace import Rate, Slowdown, Window
from django_smtpx.pace.slowdown import FLOOR

NOW = 1_800_000_000.0

observations = st.floats(0, 1e6)
waits = st.lists(st.floats(0, 3600), max_size=30)


def slowed_by(observed, gaps):
    """Return the slowdown after replies with these seconds between them, and when the last came."""
    at = NOW
    slowdown = Slowdown.slowed(None, observed, at)
    for gap in gaps:
        at += gap
        slowdown = Slowdown.slowed(slowdown, observed, at)
    return slowdown, at


def test_the_first_halves_what_was_observed():
    """Ten a second become five, at once."""
    slowdown = Slowdown.slowed(None, 10.0, NOW)
    assert slowdown == Slowdown(limit=5.0, step=1.0, since=NOW)
    assert slowdown.limit_at(NOW) == 5.0


def test_the_next_halves_what_the_limit_has_become():
    """A limit that has come back a little is halved as it stands, and comes back as fast as before."""
    slowdown = Slowdown.slowed(Slowdown.slowed(None, 10.0, NOW), 99.0, NOW + 60)
    assert slowdown == Slowdown(limit=3.0, step=1.0, since=NOW + 60)


def test_many_workers_are_one_piece_of_news():
    """In 30 seconds the limit is halved once, by whatever clock it is told."""
    first = Slowdown.slowed(None, 10.0, NOW)
    assert Slowdown.slowed(first, 10.0, NOW) is first
    assert Slowdown.slowed(first, 10.0, NOW + 29.9) is first
    assert Slowdown.slowed(first, 10.0, NOW - 5) is first
    assert Slowdown.slowed(first, 10.0, NOW + 30).limit == 2.75


def test_it_comes_back_by_a_tenth_a_minute():
    """The limit grows by a tenth of the rate from before, and is gone at twice that rate."""
    slowdown = Slowdown.slowed(None, 10.0, NOW)
    assert slowdown.limit_at(NOW + 60) == pytest.approx(6.0)
    assert slowdown.limit_at(NOW + 14.9 * 60) == pytest.approx(19.9)
    assert slowdown.limit_at(NOW + 15 * 60) is None
    assert slowdown.rate_at(NOW + 15 * 60) is None


def test_after_its_end_it_begins_anew():
    """A reply after the slowdown is over halves what is observed then."""
    first = Slowdown.slowed(None, 10.0, NOW)
    assert Slowdown.slowed(first, 40.0, NOW + 3600) == Slowdown(20.0, 4.0, NOW + 3600)


@pytest.mark.parametrize("observed", [0.0, 1e-9, FLOOR, 1.9 * FLOOR])
def test_the_floor_is_one_a_minute(observed):
    """However little was sent, one a minute may go."""
    slowdown = Slowdown.slowed(None, observed, NOW)
    assert slowdown.limit == FLOOR
    assert slowdown.rate_at(NOW) == Rate(1, 60.0)


@given(observations, waits, st.floats(-10, 7200))
def test_it_is_never_nothing_and_never_more_than_twice(observed, gaps, later):
    """The limit is between one a minute and twice the most that was observed, at any time."""
    slowdown, at = slowed_by(observed, gaps)
    limit = slowdown.limit_at(at + later)
    if limit is not None:
        assert FLOOR <= limit < 2 * max(observed, FLOOR)


@given(observations, waits, st.floats(0, 3600), st.floats(0, 3600))
def test_it_only_grows_while_nobody_complains(observed, gaps, first, second):
    """A later limit is no lower, and once it is gone it stays away."""
    slowdown, at = slowed_by(observed, gaps)
    sooner, later = sorted((first, second))
    one, two = slowdown.limit_at(at + sooner), slowdown.limit_at(at + later)
    if two is not None:
        assert one is not None
        assert one <= two


@given(observations, waits)
def test_it_ends(observed, gaps):
    """Twenty minutes after the last reply that asked for less there is no limit any more."""
    slowdown, at = slowed_by(observed, gaps)
    assert slowdown.limit_at(at + 20 * 60 + 1) is None


@given(observations, waits, st.floats(0, 1200))
def test_a_rate_is_within_the_limit_and_near_it(observed, gaps, later):
    """The rate that a window enforces is not above the limit, and at least half of it."""
    slowdown, at = slowed_by(observed, gaps)
    limit, rate = slowdown.limit_at(at + later), slowdown.rate_at(at + later)
    if limit is None:
        assert rate is None
        return
    assert rate is not None
    assert rate.count / rate.seconds <= limit * (1 + 1e-6)
    assert rate.count / rate.seconds > limit / 2
    # And what may go at once is little.
    assert rate.count <= max(100, limit + 1e-6)


@pytest.mark.parametrize(
    ("limit", "rate"),
    [
        (FLOOR, Rate(1, 60.0)),
        (0.1, Rate(6, 60.0)),
        (0.49, Rate(29, 60.0)),
        (0.5, Rate(5, 10.0)),
        (9.99, Rate(99, 10.0)),
        (10.0, Rate(10, 1.0)),
        (250.5, Rate(250, 1.0)),
    ],
)
def test_a_limit_is_counted_by_a_fitting_length(limit, rate):
    """The slower, the longer is the time in which contents are counted."""
    assert Slowdown(limit, limit, NOW).rate_at(NOW) == rate


def test_a_window_keeps_what_left_when_the_length_changes():
    """A limit that comes back past a bound goes on with what is counted."""
    slowdown = Slowdown(0.45, 0.1, NOW)
    slow, fast = slowdown.rate_at(NOW), slowdown.rate_at(NOW + 60)
    assert (slow, fast) == (Rate(27, 60.0), Rate(5, 10.0))
    _, window = Window(slow).take(NOW + 59, 27)
    assert Window.load(window.dump(), fast).free(NOW + 60) == 0
