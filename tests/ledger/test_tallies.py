"""Attempts are counted by the hour, each once, and none is missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from django_smtpx import ledger
from django_smtpx.ledger import tallies
from django_smtpx.models import SENT_WITHIN, Attempt, Delivery, Message, Tally, TallyMark
from tests.admin import rows
from tests.ledger.crowds import reading

pytestmark = pytest.mark.django_db

NOW = rows.NOW
LATER = tallies.BEHIND
HOUR = timedelta(hours=1)


def tried(outcome="sent", category="ok", ended=NOW, took=2.0, host="mx.example.com", **values):
    """Store a delivery with an attempt that ended then, ``took`` seconds after it was stored."""
    message = rows.message(created_at=ended - timedelta(seconds=took), **values)
    row = rows.delivery(message, status=outcome, lane=Delivery.Lane.OUT)
    return rows.attempt(
        row,
        outcome=outcome,
        category=category,
        started_at=ended - timedelta(seconds=1),
        duration=1,
        host=host,
    )


def counted(at=NOW):
    """Let turns pass until all that is there is counted, and return what was."""
    for turn in range(3):
        ledger.tally(at + turn * LATER)
    return sums()


def sums():
    """Return what is counted, by what makes it alike."""
    names = ("hour", "mailer", "outcome", "category", "bucket", "count")
    return sorted(Tally.objects.values_list(*names))


def test_attempts_are_counted_by_what_they_have_in_common():
    """By hour, mailer, outcome, category, and how long what was sent had been on its way."""
    tried()
    tried(took=1.5)
    tried(took=60)
    tried("deferred", "greylisted")
    tried("failed", "mailbox_unknown", ended=NOW - HOUR)
    tried("unknown", "unknown_outcome", mailer="other")
    assert counted() == [
        (NOW - HOUR, "default", "failed", "mailbox_unknown", 0, 1),
        (NOW, "default", "deferred", "greylisted", 0, 1),
        (NOW, "default", "sent", "ok", 2, 2),
        (NOW, "default", "sent", "ok", 6, 1),
        (NOW, "other", "unknown", "unknown_outcome", 0, 1),
    ]


def test_attempts_are_told_apart_by_whose_server_it_was():
    """By the name of the host alone, and one without a host is nobody's; sums are over all."""
    tried(host="smtp.gmail.com")
    tried(host="aspmx.l.google.com")
    tried(host="mail.example.com")
    tried("failed", "dns_error", host="")
    counted()
    providers = Tally.objects.values_list("provider", "count")
    assert sorted(providers) == [("google", 2), ("none", 1), ("other", 1)]
    assert sorted(ledger.counted_in_all()) == [
        ("default", "failed", "dns_error", "none", 0, 1),
        ("default", "sent", "ok", "google", 2, 2),
        ("default", "sent", "ok", "other", 2, 1),
    ]
    assert ("default", "sent", "ok", 2, 3) in ledger.counted_by_kind(NOW)
    tallies.forget_tallies(NOW + HOUR)
    assert sorted(providers.all()) == [("google", 2), ("none", 1), ("other", 1)]


def test_each_try_of_a_delivery_counts():
    """What was deferred twice and then sent is three attempts, and was on its way all the time."""
    first = tried("deferred", "greylisted", took=1.0)
    for number, outcome in ((2, "deferred"), (3, "sent")):
        ended = NOW + number * HOUR
        rows.attempt(first.delivery, number, outcome=outcome, category="ok", started_at=ended)
    assert [(hour, outcome, bucket) for hour, _, outcome, _, bucket, _ in counted()] == [
        (NOW, "deferred", 0),
        (NOW + 2 * HOUR, "deferred", 0),
        (NOW + 3 * HOUR, "sent", 1 + SENT_WITHIN.index(4 * HOUR)),
    ]


def test_what_was_to_be_sent_later_is_on_its_way_from_then_on():
    """A mail that was scheduled has not been late for that."""
    tried(took=3600.0, send_at=NOW - timedelta(seconds=4))
    assert [row[4] for row in counted()] == [1 + SENT_WITHIN.index(timedelta(seconds=5))]


def test_what_is_written_just_now_waits_for_a_minute():
    """Its neighbours, with smaller keys, may not be committed yet."""
    ledger.tally(NOW)
    tried()
    ledger.tally(NOW + LATER)
    ledger.tally(NOW + LATER * 1.5)
    assert sums() == []
    assert ledger.tally(NOW + LATER * 2) == 1


def test_an_attempt_that_is_committed_late_is_counted():
    """One whose key was taken before another's that is there already."""
    early = tried()
    tried()
    late = Attempt(**{one.attname: getattr(early, one.attname) for one in Attempt._meta.fields})
    early.delete()
    ledger.tally(NOW)
    late.save(force_insert=True)
    assert ledger.tally(NOW + LATER) == 2


def test_a_turn_goes_on_where_the_one_before_it_ended():
    """Nothing is counted twice, and what is added to an hour is added."""
    tried()
    assert [row[5] for row in counted()] == [1]
    tried()
    tried(took=60)
    assert [row[4:] for row in counted(NOW + 5 * LATER)] == [(2, 2), (6, 1)]
    assert counted(NOW + 10 * LATER) == sums()
    assert sum(row[5] for row in sums()) == 3


def test_a_long_log_is_counted_in_bounded_portions(monkeypatch):
    """A turn does so many transactions, and the next one goes on at once."""
    monkeypatch.setattr(tallies, "_PORTION", 2)
    monkeypatch.setattr(tallies, "_PORTIONS", 2)
    monkeypatch.setattr(tallies, "_TRANSACTIONS", 2)
    for _ in range(11):
        tried()
    ledger.tally(NOW)
    assert ledger.tally(NOW + LATER) == 8
    assert TallyMark.objects.get().counted_until is None
    assert ledger.counted_until() is None
    assert ledger.tally(NOW + LATER) == 3
    assert ledger.counted_until() == NOW
    assert [row[5] for row in sums()] == [11]


def test_a_worker_that_dies_between_mark_and_counts_has_done_nothing(monkeypatch):
    """Both are one transaction: the next turn counts it all."""
    tried()
    ledger.tally(NOW)

    def die(*args):
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(tallies, "_add", die)
        with pytest.raises(DatabaseError):
            ledger.tally(NOW + LATER)
    assert (TallyMark.objects.get().counted_through, sums()) == (0, [])
    assert ledger.tally(NOW + LATER) == 1


def test_of_two_that_count_at_once_one_does(monkeypatch):
    """Whoever sees that the mark has moved meanwhile leaves it."""
    tried()
    ledger.tally(NOW)
    count = tallies._count
    entered = []

    def slow(*args):
        found = count(*args)
        if not entered:
            entered.append(True)
            assert ledger.tally(NOW + LATER) == 1
        return found

    monkeypatch.setattr(tallies, "_count", slow)
    assert ledger.tally(NOW + LATER) == 0
    assert [row[5] for row in sums()] == [1]


def test_two_that_begin_at_once_begin_once(monkeypatch):
    """The second finds that there is a mark."""
    last_key = tallies._last_key

    def slow(using):
        monkeypatch.setattr(tallies, "_last_key", last_key)
        ledger.tally(NOW)
        return last_key(using)

    monkeypatch.setattr(tallies, "_last_key", slow)
    assert ledger.tally(NOW + HOUR) == 0
    assert TallyMark.objects.get().next_until == NOW


def test_a_clock_that_was_wrong_stops_nothing():
    """A mark that lies days ahead is no reason to wait for that day."""
    tried()
    ledger.tally(NOW + timedelta(days=30))
    assert ledger.tally(NOW) == 1


def test_what_was_purged_meanwhile_is_left_out(monkeypatch):
    """Its delivery tells no mailer any more."""
    tried()
    tried()
    ledger.tally(NOW)
    kinds = tallies._kinds

    def purged_first(attempts, *args):
        Message.objects.filter(deliveries=attempts[0][0]).delete()
        return kinds(attempts, *args)

    monkeypatch.setattr(tallies, "_kinds", purged_first)
    assert ledger.tally(NOW + LATER) == 1


def test_the_mark_does_not_go_back():
    """Where the whole log was deleted the next attempt is still the next one."""
    attempt = tried()
    counted()
    Message.objects.all().delete()
    counted(NOW + 5 * LATER)
    assert TallyMark.objects.get().counted_through == attempt.pk


def test_counts_go_with_the_log():
    """The retention makes what is older than it one number of its kind, and nothing else."""
    tried(ended=NOW - timedelta(days=10))
    tried()
    counted()
    Message.objects.all().delete()
    ledger.purge(NOW, timedelta(days=1), timedelta(days=9))
    assert [row[0] for row in sums()] == [tallies.EVER, NOW]
    assert tallies.forget_tallies(NOW) == 0


@pytest.mark.parametrize(
    ("zone", "at", "begins"),
    [
        ("UTC", (12, 59, 59), (12, 0)),
        ("Asia/Kolkata", (12, 29, 59), (11, 30)),
        ("Asia/Kolkata", (12, 30, 0), (12, 30)),
        ("Asia/Kathmandu", (12, 14, 0), (11, 15)),
        ("America/St_Johns", (12, 29, 0), (11, 30)),
        ("Europe/Berlin", (0, 0, 0), (0, 0)),
    ],
)
def test_an_hour_is_one_of_the_sites_own_clocks(zone, at, begins):
    """Half an hour beside the others, days are whole hours all the same."""
    found = tallies.hour_of(datetime(2026, 1, 15, *at, tzinfo=UTC), ZoneInfo(zone))
    assert found == datetime(2026, 1, 15, *begins, tzinfo=UTC)
    assert found.astimezone(ZoneInfo(zone)).minute == 0


def test_hours_around_a_change_of_clocks_are_hours():
    """The hour that comes twice is two, and the one that is left out is none."""
    zone = ZoneInfo("Europe/Berlin")
    begin = datetime(2026, 10, 24, 22, tzinfo=UTC)
    hours = {tallies.hour_of(begin + minute * timedelta(minutes=1), zone) for minute in range(1500)}
    assert len(hours) == 25


def test_the_site_s_zone_is_the_one(settings):
    """Whoever looks, and from wherever the worker was started."""
    settings.TIME_ZONE = "Asia/Kolkata"
    tried()
    assert [row[0] for row in counted()] == [NOW - HOUR / 2]


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(-5, 1), (0, 1), (1, 1), (1.001, 2), (172800, 15), (172801, 16)]
)
def test_a_bound_is_within(seconds, bucket):
    """What took just as long is of that bucket; what took longer than the last is of one more."""
    assert tallies.bucket_of(timedelta(seconds=seconds)) == bucket


def test_sums_for_people():
    """By hour and outcome, and by kind, from a time on."""
    for _ in range(2):
        tried()
    tried("failed", "spam", ended=NOW - HOUR)
    tried("failed", "spam", ended=NOW - 2 * HOUR)
    counted()
    assert sorted(ledger.counted_by_hour(NOW - HOUR)) == [
        (NOW - HOUR, "failed", 1),
        (NOW, "sent", 2),
    ]
    assert sorted(ledger.counted_by_kind(NOW - 2 * HOUR)) == [
        ("default", "failed", "spam", 0, 2),
        ("default", "sent", "ok", 2, 2),
    ]
    assert {type(row[2]) for row in ledger.counted_by_hour(NOW)} == {int}


def test_what_came_of_the_latest_attempts():
    """Of those that ended within a span of time, and how many that is a second."""
    tried(ended=NOW - timedelta(minutes=10))
    tried("deferred", "greylisted", ended=NOW - timedelta(minutes=4))
    tried(ended=NOW - timedelta(minutes=1))
    found = ledger.lately(ledger.latest_attempts(), timedelta(minutes=5), NOW)
    assert (found.counts, found.cut) == ({"deferred": 1, "sent": 1}, False)
    assert found.per_second("sent") == pytest.approx(1 / 300)
    assert found.per_second("failed") == 0
    nothing = ledger.lately([], timedelta(minutes=5), NOW)
    assert (nothing.counts, nothing.span) == ({}, timedelta(minutes=5))


def test_of_a_busy_time_only_as_much_as_was_looked_at(monkeypatch):
    """It says over how long that was, and the rate is that of then."""
    monkeypatch.setattr(tallies, "LATEST", 3)
    for second in (40, 30, 20, 10):
        tried(ended=NOW - timedelta(seconds=second))
    found = ledger.lately(ledger.latest_attempts(), timedelta(minutes=5), NOW)
    assert (found.counts, found.span, found.cut) == ({"sent": 3}, timedelta(seconds=30), True)
    assert found.per_second("sent") == pytest.approx(0.1)
    assert not ledger.lately(ledger.latest_attempts(), timedelta(seconds=5), NOW).cut


def test_a_turn_with_nothing_to_count_reads_one_row():
    """The sweep has one every ten seconds."""
    ledger.tally(NOW)
    with CaptureQueriesContext(connection) as queries:
        ledger.tally(NOW + timedelta(seconds=10))
    assert len(queries) == 1


@pytest.mark.skipif(connection.vendor != "sqlite", reason="Others read small tables as a whole.")
def test_rows_are_read_by_their_keys():
    """However long the log is."""
    for _ in range(3):
        tried()
    ledger.tally(NOW)
    with reading() as read:
        assert ledger.tally(NOW + LATER) == 3
    assert len(read.plans) == 2
    assert "SCAN " not in read.text
