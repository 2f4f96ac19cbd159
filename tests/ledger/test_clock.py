"""Time, as leases know it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection

from django_smtpx.ledger import clock as clock_module
from django_smtpx.ledger.clock import Lease, Reading, _aware, boottime, database_now

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lease_at(clock, seconds=300.0):
    """Return a lease that began at NOW, by a clock of ours."""
    lease = Lease(uuid4(), seconds, NOW, boottime())
    lease.clock = lambda: lease.read_boottime + clock[0]
    return lease


@pytest.mark.django_db
def test_the_databases_clock_is_utc():
    """Whatever the session's time zone, the time is aware and in UTC."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+05:00'")
    said = database_now("default")
    assert said.tzinfo is UTC
    assert abs(said - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01 12:00:00.000",
        NOW.replace(tzinfo=None),
        NOW,
        NOW.astimezone(tz=None),
    ],
)
def test_each_databases_way_of_saying_it(value):
    """Text, naive and aware times all come out aware, in UTC."""
    assert _aware(value) == NOW


def test_the_clock_counts_suspends():
    """The process's clock is CLOCK_BOOTTIME where the system has it."""
    assert abs(boottime() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


def test_a_lease_holds_with_a_margin():
    """It is not used up to its last second."""
    clock = [0.0]
    lease = lease_at(clock)
    clock[0] = 269.0
    assert lease.valid()
    clock[0] = 271.0
    assert not lease.valid()


def test_a_short_lease_has_a_short_margin():
    """The margin is a tenth of a lease that is shorter than five minutes."""
    clock = [8.9]
    assert lease_at(clock, 10.0).valid()
    clock[0] = 9.1
    assert not lease_at(clock, 10.0).valid()


def test_a_lease_tells_the_databases_time():
    """Time goes on from what the database said, without asking it again."""
    clock = [42.0]
    assert lease_at(clock).now() == NOW + timedelta(seconds=42)
    assert lease_at(clock).renewed_until() == NOW + timedelta(seconds=342)


def test_renewing_counts_from_before_the_question():
    """The new end is counted from before the statement, so it is never later than the row's."""
    clock = [100.0]
    lease = lease_at(clock)
    lease.renew(lease.read_boottime + 90)
    assert lease.ends == lease.read_boottime + 390


def test_a_stop_while_the_database_says_the_time_shortens_the_lease(monkeypatch):
    """Who sleeps between the two clocks wakes up to a lease that has run out."""
    times = [1000.0]

    def answer(using):
        times[0] += 3600
        return NOW

    monkeypatch.setattr(clock_module, "database_now", answer)
    monkeypatch.setattr(clock_module, "boottime", lambda: times[0])
    lease = Lease.begin(300.0, "default")
    lease.clock = lambda: times[0]
    assert not lease.valid()


def test_a_reading_is_fresh_for_a_second():
    """After that the database's clock may have been set, and a lease does not begin by it."""
    clock = [10.0]
    reading = Reading(NOW, 10.0, lambda: clock[0])
    assert reading.fresh()
    clock[0] = 10.9
    assert reading.fresh()
    clock[0] = 11.1
    assert not reading.fresh()


def test_a_lease_that_begins_by_a_reading(monkeypatch):
    """It begins at the reading's time of now, and the database is not asked."""
    clock = [10.0]
    reading = Reading(NOW, 10.0, lambda: clock[0])
    clock[0] = 10.5
    monkeypatch.setattr(clock_module, "database_now", None)
    monkeypatch.setattr(clock_module, "boottime", lambda: clock[0])
    lease = Lease.begin(300.0, "default", reading)
    lease.clock = lambda: clock[0]
    assert lease.now() == NOW + timedelta(seconds=0.5)
    assert lease.ends == 310.5
    assert lease.valid()
