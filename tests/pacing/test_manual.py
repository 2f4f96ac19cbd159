"""What a person closes and opens: no failure and no success changes it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import ledger, pacing
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Delivery, RefusedCredential, Route
from django_smtpx.pacing import Gate, Resting
from django_smtpx.pacing.manual import LATE
from django_smtpx.smtp import AuthenticationError, ConnectError, SenderRefused
from django_smtpx.smtp.options import Credential, Options, Security
from tests.factories import stored

pytestmark = pytest.mark.django_db

HOST = Options(
    host="smtp.example.com",
    port=587,
    security=Security.STARTTLS,
    credential=Credential("u", "p"),
)
MAILER = Mailer(name="default", hosts=(HOST,))
WAY = Way(MAILER)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def another_password():
    """Return the way of a worker that knows another password."""
    return Way(replace(MAILER, hosts=(replace(HOST, credential=Credential("u", "q")),)))


def refused(category="auth_failed"):
    """Return the error of a login that was refused."""
    return AuthenticationError(
        "no", phase="auth", code=535, reply="Bad credentials", category=category, action="hold"
    )


def unreachable():
    """Return the error of a server that is away."""
    return ConnectError("refused", phase="connect", category="unreachable", action="pause")


def route(**key):
    """Return the one route that ``key`` names."""
    return Route.objects.get(mailer="default", **{"domain": "", "sender": "", "host": "", **key})


def due():
    """Return when each delivery is due, in order."""
    return list(Delivery.objects.order_by("pk").values_list("next_attempt_at", flat=True))


def lanes():
    """Return the lane of each delivery, in order."""
    return list(Delivery.objects.order_by("pk").values_list("lane", flat=True))


def test_a_hold_lasts_until_it_is_resumed():
    """Without a time the mailer is closed, however late it is; resumed it is open."""
    at = timezone.now()
    pacing.pause("default", at, until=None, reason="moving house", by="ann")
    assert (route().state, route().pause_reason) == ("held", "moving house")
    assert pacing.gate(WAY, at + 1000 * HOUR) == Gate(False, None)
    assert pacing.resume("default", at)
    assert (route().state, route().pause_reason) == ("open", "")
    assert pacing.gate(WAY, at) == Gate(True)
    assert not pacing.resume("default", at)


def test_what_was_never_closed_is_open():
    """There is nothing to resume, and nothing is written for it."""
    assert not pacing.resume("default", timezone.now())
    assert not pacing.resume("default", timezone.now(), domain="example.com")
    assert not Route.objects.exists()


def test_a_pause_ends_by_itself():
    """With a time it rests until then; the sweep opens it and its mail comes."""
    at = timezone.now()
    stored()
    pacing.pause("default", at, until=at + HOUR, reason="")
    assert pacing.gate(WAY, at + HOUR - MINUTE) == Gate(False, at + HOUR)
    ledger.park("default", at + 5 * HOUR, at)
    pacing.end_pauses(at + HOUR - MINUTE)
    assert route().state == "paused"
    pacing.end_pauses(at + HOUR)
    assert route().state == "open"
    assert pacing.gate(WAY, at + HOUR) == Gate(True)
    assert due() == [at + HOUR]


def test_mail_may_go_before_the_sweep_has_seen_that_a_pause_is_over():
    """Where no sweep runs, a pause that has ended keeps nothing either."""
    at = timezone.now()
    pacing.pause("default", at, until=at + MINUTE, reason="")
    assert pacing.gate(WAY, at + MINUTE).is_open
    assert pacing.survey(WAY, at + MINUTE).rests is None
    pacing.book_success(WAY, at + MINUTE)
    assert route().state == "open"


def test_a_pause_of_the_past_is_refused():
    """It would close nothing."""
    at = timezone.now()
    with pytest.raises(ValueError, match="has to end after"):
        pacing.pause("default", at, until=at, reason="")
    assert not Route.objects.exists()


@pytest.mark.parametrize("until", [None, HOUR])
def test_no_failure_and_no_success_changes_it(until):
    """What a drain finds that was under way neither opens nor shortens nor renames it."""
    at = timezone.now()
    until = until and at + until
    pacing.book_failure(WAY, unreachable(), at - HOUR)
    pacing.pause("default", at, until=until, reason="by hand")
    before = Route.objects.values().get()
    for error in (unreachable(), refused(), refused("quota_exhausted")):
        assert pacing.book_failure(WAY, error, at) == until
    assert pacing.book_failure(another_password(), refused(), at) == until
    RefusedCredential.objects.all().delete()
    for way in (WAY, another_password()):
        pacing.book_success(way, at)
        pacing.reopen_changed({"default": way.mailer}, at)
        assert pacing.gate(way, at) == Gate(False, until)
    assert Route.objects.values().get() == before


def test_a_destination_is_as_well_kept():
    """A success that was under way does not open a destination that a person paused."""
    at = timezone.now()
    way = Way(MAILER, "example.com")
    pacing.pause("default", at, domain="example.com", until=at + HOUR, reason="")
    pacing.book_success(way, at)
    assert pacing.book_failure(way, unreachable(), at) == at + HOUR
    assert pacing.gate(way, at) == Gate(False, at + HOUR, domain="example.com")
    assert pacing.gate(Way(MAILER, "example.org"), at) == Gate(True)
    assert pacing.gate(WAY, at) == Gate(True)


def test_a_persons_pause_wins_over_the_breakers():
    """Its time counts and its words are read; one message goes first when it is over."""
    at = timezone.now()
    breaker = pacing.book_failure(WAY, unreachable(), at)
    pacing.pause("default", at, until=at + 5 * HOUR, reason="the server is being moved")
    assert not pacing.gate(WAY, breaker).is_open
    assert route().category == ""
    pacing.end_pauses(at + 5 * HOUR)
    assert pacing.gate(WAY, at + 5 * HOUR) == Gate(True, probing=True)
    pacing.book_success(WAY, at + 5 * HOUR)
    assert pacing.gate(WAY, at + 5 * HOUR) == Gate(True)


def test_the_latest_word_counts():
    """A pause becomes a hold, and a hold a pause that ends."""
    at = timezone.now()
    stored()
    pacing.pause("default", at, until=at + HOUR, reason="")
    pacing.pause("default", at, until=None, reason="longer")
    ledger.park("default", None, at)
    assert pacing.gate(WAY, at + 2 * HOUR) == Gate(False, None)
    pacing.pause("default", at, until=at + MINUTE, reason="sooner")
    pacing.end_pauses(at + MINUTE)
    assert pacing.gate(WAY, at + MINUTE) == Gate(True)
    assert due() == [at + MINUTE]


@pytest.mark.parametrize("error", [refused(), refused("quota_exhausted"), unreachable()])
def test_a_person_opens_what_failures_closed(error):
    """The mailer is open at once, and one message goes first; the next pause is short again."""
    at = timezone.now()
    stored()
    stored()
    for hours in range(4):
        until = pacing.book_failure(WAY, error, at + hours * 2 * HOUR)
    at += 6 * HOUR
    ledger.park("default", until, at)
    assert not pacing.gate(WAY, at).is_open
    assert pacing.resume("default", at)
    assert not RefusedCredential.objects.exists()
    assert pacing.gate(WAY, at) == Gate(True, probing=True)
    assert lanes() == [Delivery.Lane.READY] * 2
    assert (route().category, route().pause_reason, route().paused_until) == ("", "", None)
    assert pacing.book_failure(WAY, error, at) <= at + HOUR / 4


def test_a_refused_login_of_an_open_mailer_is_forgotten():
    """A worker whose password was refused, while another one's works, tries it at once."""
    at = timezone.now()
    pacing.book_success(another_password(), at)
    pacing.book_failure(WAY, refused(), at)
    pacing.resume("default", at)
    pacing.book_failure(WAY, refused(), at)
    Route.objects.update(state="open", consecutive_failures=0)
    assert not pacing.gate(WAY, at).is_open
    assert pacing.resume("default", at)
    assert pacing.gate(WAY, at) == Gate(True)


def test_only_that_mailers_refusals_are_forgotten():
    """And not for a destination of it, which is about no login."""
    at = timezone.now()
    pacing.book_failure(WAY, refused(), at)
    pacing.book_failure(Way(replace(MAILER, name="other")), refused(), at)
    pacing.pause("default", at, domain="example.com", until=None, reason="")
    assert pacing.resume("default", at, domain="example.com")
    assert RefusedCredential.objects.count() == 2
    assert pacing.resume("default", at)
    assert RefusedCredential.objects.get().mailer == "other"


def test_a_paused_domain_of_a_mailer_with_a_host():
    """Its mail comes when it is resumed, and what rests with another domain does not."""
    at = timezone.now()
    stored("a@one.example")
    stored("b@two.example")
    for domain in ("one.example", "two.example"):
        pacing.pause("default", at, domain=domain, until=None, reason="")
    assert set(pacing.survey(WAY, at).domains) == {"one.example", "two.example"}
    ledger.park("default", None, at)
    assert pacing.resume("default", at, domain="one.example")
    assert pacing.survey(WAY, at).domains == {"two.example": Resting(None)}
    assert due() == [at, None]


def test_a_sender_is_resumed():
    """By the key that its route has; its mail is ready at once."""
    at = timezone.now()
    key = pacing.envelope_key("ann@example.com")
    error = SenderRefused("no", phase="mail", code=553, category="sender_rejected", action="hold")
    pacing.hold_sender(WAY, key, error, at)
    stored()
    ledger.park("default", None, at)
    assert pacing.resume("default", at, sender=key)
    assert pacing.survey(WAY, at).senders == {}
    assert lanes() == [Delivery.Lane.READY]
    assert not pacing.resume("default", at, sender=key)


def test_a_host_is_resumed():
    """One of several that rested is tried again, and no mail is touched for it."""
    at = timezone.now()
    hosts = (HOST, replace(HOST, host="two.example.com"))
    error = ConnectError(
        "no", phase="connect", host="two.example.com", category="unreachable", action="next_host"
    )
    pacing.book_host_failure(WAY, hosts, error, at)
    assert len(pacing.hosts_to_try(WAY, hosts, at).options) == 1
    stored()
    ledger.park("default", None, at)
    assert pacing.resume("default", at, host="two.example.com")
    assert len(pacing.hosts_to_try(WAY, hosts, at).options) == 2
    assert due() == [None]


@pytest.mark.parametrize("key", [{}, {"domain": "example.com"}, {"sender": "From a@b.example"}])
def test_who_parks_late_is_looked_after(key):
    """Mail that a drain put away until it is resumed, just after it was, comes all the same."""
    at = timezone.now()
    Route.objects.create(mailer="default", state="held", **key)
    stored()
    assert pacing.resume("default", at, **key)
    ledger.park("default", None, at)
    pacing.end_pauses(at + LATE / 2)
    assert due() == [None]
    pacing.end_pauses(at + LATE)
    assert due() == [at + LATE]
    assert route(**key).resumed_at is None


def test_what_is_closed_again_is_not_looked_after():
    """Whose mailer was held again since waits for the next resuming."""
    at = timezone.now()
    pacing.pause("default", at, until=None, reason="")
    pacing.resume("default", at)
    pacing.pause("default", at, until=None, reason="")
    stored()
    ledger.park("default", None, at)
    pacing.end_pauses(at + HOUR)
    assert due() == [None]
    assert route().state == "held"


def test_both_are_logged(caplog):
    """Who closed and who opened it, until when and why, is in the log."""
    at = timezone.now()
    with caplog.at_level(logging.WARNING, "django_smtpx.pacing"):
        pacing.pause("default", at, domain="example.com", until=None, reason="too slow", by="ann")
        pacing.pause("default", at, until=at + HOUR, reason="")
        pacing.resume("default", at, domain="example.com", by="bob")
        pacing.resume("default", at, domain="example.com", by="eve")
    first, second, third = (record.getMessage() for record in caplog.records)
    assert first == "Mailer 'default' (example.com) is held: too slow (ann)"
    assert (
        second
        == f"Mailer 'default' rests until {at + HOUR:%Y-%m-%d %H:%M:%S} UTC: no reason given (-)"
    )
    assert third == "Mailer 'default' (example.com) is resumed (bob)"
    assert {record.levelname for record in caplog.records} == {"WARNING"}
