"""How many connections and how fast: what the other side has let us know."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import pacing
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Route
from django_smtpx.pacing import slow, worth
from django_smtpx.smtp import ServiceUnavailable

pytestmark = pytest.mark.django_db

HOST = Way(Mailer(name="default", hosts=(), max_connections=4))
DOMAIN = Way(Mailer(name="default", hosts=(), transport="mx", max_connections=4), "a.example")
SLOW = ServiceUnavailable("slow", phase="eod", code=421, category="rate_limited", action="slow")


def test_what_is_unknown():
    """The site's own host gets all connections at once, a domain begins with two."""
    assert pacing.connections(HOST) == 4
    assert pacing.connections(DOMAIN) == 2


@pytest.mark.parametrize("way", [HOST, DOMAIN])
def test_feedback(way):
    """Each failure makes them fewer, each success more, never above the option, never none."""
    before = pacing.connections(way)
    pacing.book_connection(way, timezone.now(), made=False)
    assert pacing.connections(way) == before - 1
    for _ in range(20):
        pacing.book_connection(way, timezone.now(), made=False)
    assert pacing.connections(way) == 1
    for _ in range(20):
        pacing.book_connection(way, timezone.now(), made=True)
    assert pacing.connections(way) == 4


def test_after_a_rest_a_domain_begins_anew():
    """It comes back at the initial concurrency, not with all that it once had."""
    at = timezone.now()
    for _ in range(10):
        pacing.book_connection(DOMAIN, timezone.now(), made=True)
    assert pacing.connections(DOMAIN) == 4
    pacing.book_failure(DOMAIN, SLOW, at)
    pacing.book_success(DOMAIN, at)
    assert pacing.connections(DOMAIN) == 2


def test_free_slots_are_those_that_it_is_worth():
    """A slot beyond what the other side bears is none."""
    at = timezone.now()
    assert pacing.has_free_slot(DOMAIN, at)
    for _ in range(2):
        assert pacing.take_slot(DOMAIN, at, pacing.connections(DOMAIN)) is not None
    assert not pacing.has_free_slot(DOMAIN, at)
    assert pacing.has_free_slot(HOST, at)


def test_slow_halves_once_in_half_a_minute():
    """Whatever number of workers is told."""
    at = timezone.now()
    first = pacing.book_slow(HOST, SLOW, 10.0, at)
    assert first.limit == 5.0
    assert pacing.book_slow(HOST, SLOW, 10.0, at + timedelta(seconds=10)) == first
    assert pacing.book_slow(HOST, SLOW, 10.0, at + timedelta(seconds=31)).limit < 3
    seen = pacing.survey(HOST, at).slowdown
    assert seen == slow.slowdown_of(Route.objects.get())


def test_a_slowdown_that_is_over_is_forgotten():
    """The sweep clears it away; one that goes on stays, and one that is over limits nothing."""
    at = timezone.now()
    slowed = pacing.book_slow(HOST, SLOW, 10.0, at)
    assert pacing.end_slowdowns(at + timedelta(minutes=5)) == 0
    over = at + timedelta(minutes=16)
    assert slowed.limit_at(over.timestamp()) is None
    assert pacing.limits_on(HOST, slowed, over.timestamp()) == ()
    assert pacing.end_slowdowns(at + timedelta(minutes=20)) == 1
    assert Route.objects.get().slow_limit is None
    assert pacing.survey(HOST, at).slowdown is None


def test_many_slowdowns_end_by_one_statement(django_assert_num_queries):
    """And none is read for it: the sweep asks every ten seconds. What is no slowdown goes, too."""
    at = timezone.now()
    long_ago = at - timedelta(minutes=20)
    rows = [(f"{n}.example", at if n % 2 else long_ago) for n in range(20)]
    Route.objects.bulk_create(
        Route(mailer="default", domain=domain, slow_limit=0.5, slow_step=0.1, slow_since=since)
        for domain, since in rows
    )
    Route.objects.create(mailer="default", domain="odd.example", slow_limit=0.5)
    with django_assert_num_queries(1):
        assert pacing.end_slowdowns(at) == 11
    assert Route.objects.filter(slow_limit__isnull=False).count() == 10


def test_who_was_faster_has_said_it(monkeypatch):
    """A slowdown that another worker wrote in between stands."""
    at = timezone.now()
    original = slow.slowdown_of

    def race(route):
        monkeypatch.setattr(slow, "slowdown_of", original)
        pacing.book_slow(HOST, SLOW, 2.0, at)
        return original(route)

    monkeypatch.setattr(slow, "slowdown_of", race)
    assert pacing.book_slow(HOST, SLOW, 10.0, at).limit == 1.0
    assert Route.objects.get().slow_limit == 1.0


def test_a_destination_slows_down_alone():
    """What one domain asked for is not the others' business."""
    at = timezone.now()
    pacing.book_slow(DOMAIN, SLOW, 10.0, at)
    assert pacing.survey(DOMAIN, at).slowdown is not None
    other = Way(DOMAIN.mailer, "b.example")
    assert pacing.survey(other, at).slowdown is None
    assert worth.connections(other) == 2


def test_a_lost_race_to_rest_changes_nothing(monkeypatch):
    """Two workers fail at once, and read the route before either wrote: one failure."""
    from django_smtpx.pacing import routes

    at = timezone.now()
    original = routes.reason_of

    def race(error):
        monkeypatch.setattr(routes, "reason_of", original)
        pacing.book_failure(HOST, SLOW, at)
        return original(error)

    monkeypatch.setattr(routes, "reason_of", race)
    assert pacing.book_failure(HOST, SLOW, at) == at + timedelta(minutes=1)
    assert Route.objects.get().consecutive_failures == 1
