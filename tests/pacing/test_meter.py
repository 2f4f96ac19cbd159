"""The rate over all workers, in rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_smtpx import pacing
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import RateWindow
from django_smtpx.pace import Rate, Slowdown
from django_smtpx.pacing import meter as module
from django_smtpx.pacing.meter import Limit, Meter, take

pytestmark = pytest.mark.django_db

START = 1_800_000_000.0


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self):
        self.now = START

    def __call__(self):
        """Return the time."""
        return self.now

    def sleep(self, seconds):
        """Move on."""
        self.now += seconds


def way(rate=None, domain=""):
    """Return a way with a rate of its own."""
    return Way(Mailer(name="default", hosts=(), rate=Rate.parse(rate) if rate else None), domain)


def meter(clock, *rates, domains=None):
    """Return a meter with a limit for each rate."""
    domains = domains or [""] * len(rates)
    limits = [
        Limit("default", domain, Rate.parse(rate))
        for rate, domain in zip(rates, domains, strict=True)
    ]
    return Meter(limits, clock, sleep=clock.sleep)


def test_without_a_limit_nothing_is_asked(django_assert_num_queries):
    """A mailer without a rate pays nothing for it."""
    free = Meter((), Clock())
    with django_assert_num_queries(0):
        assert free.soon()
        assert free.admit()
        free.close()


def test_a_full_number_goes_at_once_and_then_its_rate():
    """14/s is 14 at once, and 14 each second from then on."""
    clock = Clock()
    counter = meter(clock, "14/s")
    times = []
    for _ in range(140):
        assert counter.admit()
        times.append(clock.now)
    assert times[13] == START
    assert times[14] >= START + 1
    assert times[-1] - START <= 9 * 1.05
    for first, last in zip(times, times[14:], strict=False):
        assert last - first >= 1.0


def test_meters_share_one_window():
    """What one worker lets go is counted by the others."""
    clock = Clock()
    meters = [meter(clock, "10/h") for _ in range(4)]
    sent = sum(one.admit() for one in meters for _ in range(10))
    assert sent == 10
    assert not any(one.soon() for one in meters)


def test_it_does_not_wait_for_long():
    """Where its turn is more than ten seconds away, nothing is begun, and nobody sleeps."""
    clock = Clock()
    counter = meter(clock, "1/m")
    assert counter.soon()
    assert counter.admit()
    assert not counter.soon()
    assert not counter.admit()
    assert clock.now == START
    clock.now += 52
    assert counter.soon()
    assert counter.admit()
    assert clock.now >= START + 60


def test_it_waits_only_where_it_may():
    """While answers are outstanding nobody sleeps on them."""
    clock = Clock()
    counter = meter(clock, "1/s")
    assert counter.admit()
    assert not counter.admit(lambda: False)
    assert clock.now == START
    assert not counter.waited
    assert counter.admit(lambda: True)
    assert counter.waited


def test_what_was_not_used_comes_back():
    """A grant that a drain ends with is free for the next one."""
    clock = Clock()
    first, second = meter(clock, "10/h"), meter(clock, "10/h")
    for _ in range(3):
        assert first.admit()
    first.close()
    assert sum(second.admit() for _ in range(10)) == 7


def test_what_ran_out_comes_back():
    """A grant is for now: one that was kept too long is asked for again."""
    clock = Clock()
    counter = meter(clock, "10/m")
    assert counter.soon()
    clock.now += 30
    assert sum(counter.admit() for _ in range(10)) == 10
    assert not counter.soon()


def test_two_limits_the_scarcer_decides():
    """A mailer's rate and a slowed destination's both hold, and neither is charged in vain."""
    clock = Clock()
    both = meter(clock, "5/h", "2/h", domains=["", "slow.example"])
    assert sum(both.admit() for _ in range(5)) == 2
    both.close()
    assert sum(meter(clock, "5/h").admit() for _ in range(5)) == 3


def test_limits_of_a_way():
    """The option of the mailer, and what a server asked for; of two alike the smaller."""
    slowed = Slowdown(0.05, 0.01, START)
    assert pacing.limits_on(way(), None, START) == ()
    assert [str(one.rate) for one in pacing.limits_on(way("14/s"), slowed, START)] == [
        "14/s",
        "3/m",
    ]
    assert [str(one.rate) for one in pacing.limits_on(way("500/m"), slowed, START)] == ["3/m"]
    found = pacing.limits_on(way("500/m", "slow.example"), slowed, START)
    assert [(one.domain, str(one.rate)) for one in found] == [
        ("", "500/m"),
        ("slow.example", "3/m"),
    ]
    assert pacing.limits_on(way(), slowed, START + 7 * 86400) == ()


def test_when_a_way_opens():
    """The sweep asks when the next content may leave."""
    at = datetime.fromtimestamp(START, UTC)
    assert pacing.opens_at(way(), at) == at
    assert pacing.opens_at(way("2/h"), at) == at
    pacing.count(way("2/h"), 2, at)
    opens = pacing.opens_at(way("2/h"), at)
    assert timedelta(hours=1) <= opens - at <= timedelta(hours=1.05)


def test_counting_without_waiting():
    """Now mode counts what it sends, whatever the rate says."""
    at = datetime.fromtimestamp(START, UTC)
    for _ in range(3):
        pacing.count(way("2/h"), 1, at)
    assert not Meter(pacing.limits_on(way("2/h"), None, START), lambda: START).soon()


def test_a_lost_swap_is_done_again(monkeypatch):
    """Whoever changes the row in between is counted as well."""
    limit = Limit("default", "", Rate.parse("10/h"))
    read = module._read

    def race(of):
        found = read(of)
        monkeypatch.setattr(module, "_read", read)
        take(limit, START, 4)
        return found

    take(limit, START, 1)
    monkeypatch.setattr(module, "_read", race)
    grant, _ = take(limit, START, 10)
    assert grant.count == 5
    assert RateWindow.objects.get().version == 3
