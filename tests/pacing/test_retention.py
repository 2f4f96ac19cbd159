"""What is forgotten of destinations, hosts and senders that nobody has used for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_smtpx import delivery, ledger, pacing
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import RateWindow, Route, Slot
from django_smtpx.pacing import retention
from django_smtpx.smtp import ServiceUnavailable

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 1, tzinfo=UTC)
BEFORE = NOW - timedelta(days=90)
OLD = BEFORE - timedelta(days=1)
STRAIGHT = Mailer(name="default", hosts=(), transport="mx", max_connections=4)
WAY = Way(STRAIGHT, "a.example")
SLOW = ServiceUnavailable("slow", phase="eod", code=421, category="rate_limited", action="slow")


@pytest.mark.parametrize(
    "values",
    [
        {"domain": "a.example", "concurrency": 2.5, "used_at": OLD},
        {"domain": "a.example"},
        {"host": "smtp.example"},
        {"sender": "MAIL FROM <a@example.com>", "login_until": OLD},
    ],
)
def test_what_says_nothing_any_more_goes(values):
    """It is sound, and nobody has used it since."""
    Route.objects.create(mailer="default", **values)
    assert pacing.forget_unused(BEFORE)
    assert not Route.objects.exists()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"used_at": BEFORE},
        {"used_at": NOW},
        {"login_until": NOW},
        {"state": "paused", "paused_until": OLD},
        {"state": "held", "pause_reason": "550 no"},
        {"category": "auth_failed"},
        {"consecutive_failures": 1},
        {"slow_limit": 1.0, "slow_step": 0.1, "slow_since": OLD},
        {"resumed_at": OLD},
        {"working_mac": "ab"},
    ],
)
def test_what_says_something_stays(values):
    """A mailer as a whole, what has been used since, and whatever rests, is slow or was resumed."""
    domain = {"domain": "a.example"} if values else {}
    Route.objects.create(mailer="default", **{"used_at": OLD, **domain, **values})
    assert pacing.forget_unused(BEFORE)
    assert Route.objects.count() == 1


def test_slots_of_destinations_go():
    """Those of a mailer as a whole stay, and those that were in use since."""
    kept = [
        Slot(mailer="default", number=1, expires_at=OLD),
        Slot(mailer="default", domain="a.example", number=1, expires_at=BEFORE),
    ]
    gone = Slot(mailer="default", domain="a.example", number=2, expires_at=OLD)
    Slot.objects.bulk_create([*kept, gone])
    assert pacing.forget_unused(BEFORE)
    assert set(Slot.objects.values_list("domain", "number")) == {("", 1), ("a.example", 1)}


def test_windows_go_with_their_slowdown():
    """What is counted for a mailer as a whole stays, and what a slow destination's limit needs."""
    for mailer, domain in (("default", ""), ("default", "a.example"), ("other", "a.example")):
        RateWindow.objects.create(mailer=mailer, domain=domain, seconds=60)
    Route.objects.create(mailer="default", domain="a.example", slow_limit=1.0, used_at=NOW)
    assert pacing.forget_unused(BEFORE)
    assert list(RateWindow.objects.order_by("domain").values_list("mailer", "domain")) == [
        ("default", ""),
        ("default", "a.example"),
    ]


def test_a_day_of_use_is_one_write(django_assert_num_queries):
    """A destination that is connected to again and again is written once a day."""
    for _ in range(20):
        pacing.book_connection(WAY, OLD, made=True)
    with django_assert_num_queries(1):
        pacing.book_connection(WAY, OLD + timedelta(hours=24), made=True)
    pacing.book_connection(WAY, OLD + timedelta(hours=25), made=True)
    assert Route.objects.get().used_at == OLD + timedelta(hours=25)


def test_who_comes_back_is_unknown_and_is_served():
    """Slots, route and slowdown are made anew."""
    for _ in range(20):
        pacing.book_connection(WAY, OLD, made=True)
    assert pacing.take_slot(WAY, OLD, pacing.connections(WAY)) is not None
    assert pacing.forget_unused(BEFORE)
    assert (Route.objects.count(), Slot.objects.count()) == (0, 0)
    assert pacing.connections(WAY) == 2
    assert pacing.take_slot(WAY, NOW, 2) is not None
    pacing.book_slow(WAY, SLOW, 10.0, NOW)
    assert pacing.book_failure(WAY, SLOW, NOW) == NOW + timedelta(minutes=1)


def test_a_pause_outlasts_the_retention(monkeypatch):
    """The row that it was about to be written to is deleted at that moment: it is made again."""
    Route.objects.create(mailer="default", domain="a.example")
    original = pacing.manual.rows
    raced = []

    def rows(key):
        if not raced:
            raced.append(pacing.forget_unused(BEFORE))
        return original(key)

    monkeypatch.setattr(pacing.manual, "rows", rows)
    pacing.pause("default", NOW, domain="a.example", until=None, reason="lunch")
    assert raced == [True]
    assert Route.objects.get().pause_reason == "lunch"


def test_what_is_used_meanwhile_stays(monkeypatch):
    """The condition is looked at again as a batch is deleted."""
    for number in range(5):
        Route.objects.create(mailer="default", domain=f"{number}.example")
    monkeypatch.setattr(retention, "_BATCH", 2)
    used = []

    def over():
        if not used:
            used.append(Route.objects.filter(domain="1.example").update(used_at=NOW))
        return False

    assert pacing.forget_unused(BEFORE, over)
    assert [route.domain for route in Route.objects.all()] == ["1.example"]


def test_it_ends_between_two_batches(monkeypatch):
    """And says that it was not all: the next run goes on."""
    for number in range(5):
        Route.objects.create(mailer="default", domain=f"{number}.example")
    monkeypatch.setattr(retention, "_BATCH", 2)
    answers = iter([False, True])
    assert not pacing.forget_unused(BEFORE, lambda: next(answers))
    assert Route.objects.count() == 3


def test_the_purge_does_it(settings):
    """After ``SMTPX_LOG_RETENTION``."""
    settings.SMTPX_LOG_RETENTION = timedelta(days=10)
    now = ledger.now()
    for domain, days in (("old.example", 11), ("young.example", 9)):
        Route.objects.create(
            mailer="default", domain=domain, used_at=now - timedelta(days=days), concurrency=2.0
        )
    delivery.purge()
    assert [route.domain for route in Route.objects.all()] == ["young.example"]
