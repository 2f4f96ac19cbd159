"""Senders that are held, domains that a person paused, and hosts of several."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import ledger, pacing
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Delivery, Route
from django_smtpx.pacing import Resting
from django_smtpx.smtp import ConnectError, SenderRefused
from django_smtpx.smtp.options import Options, Security
from tests.factories import stored

pytestmark = pytest.mark.django_db

HOST = Options(host="one.example.com", port=587, security=Security.STARTTLS)
HOSTS = (HOST, replace(HOST, host="two.example.com"))
WAY = Way(Mailer(name="default", hosts=HOSTS))
KEY = pacing.envelope_key("ann@Example.com")
HOUR = timedelta(hours=1)


def refused(code=553):
    """Return the error of a sender that may not be used."""
    return SenderRefused(
        "no", phase="mail", code=code, reply="No", category="sender_rejected", action="hold"
    )


def unreachable(host):
    """Return the error of a host that is away."""
    return ConnectError(
        "refused", phase="connect", host=host, category="unreachable", action="next_host"
    )


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (pacing.envelope_key(""), "MAIL FROM <>"),
        (pacing.envelope_key("Ann@EXAMPLE.com"), "MAIL FROM <Ann@example.com>"),
        (pacing.header_key("Ann B <Ann@EXAMPLE.com>"), "From Ann@example.com"),
        (pacing.header_key('"x, y" <a@b.example>, c@d.example'), "From a@b.example, c@d.example"),
        (pacing.key_of("mail", "a@b.example", "c@d.example"), "MAIL FROM <a@b.example>"),
        (pacing.key_of("rcpt", "a@b.example", "c@d.example"), "MAIL FROM <a@b.example>"),
        (pacing.key_of("eod", "a@b.example", "c@d.example"), "From c@d.example"),
    ],
)
def test_keys(key, expected):
    """A sender is an address, in the place that the server refused it in."""
    assert key == expected


def test_long_keys_are_told_apart():
    """Two addresses that begin alike do not rest together, however long they are."""
    one, two = (pacing.envelope_key(f"{'a' * 300}@{name}.example") for name in "xy")
    assert one != two
    assert len(one) <= 191
    pacing.hold_sender(WAY, one, refused(), timezone.now())
    assert Route.objects.get().sender == one


def test_a_refused_sender_waits_for_a_person():
    """A 5yz does not pass by itself."""
    at = timezone.now()
    assert pacing.hold_sender(WAY, KEY, refused(), at) is None
    assert pacing.survey(WAY, at + 100 * HOUR).senders == {KEY: Resting(None)}
    assert not pacing.take_sender_probe(WAY, KEY, Resting(None), at + 100 * HOUR)


def test_a_temporary_refusal_is_probed_once():
    """A 4yz is tried after 15 minutes, by one worker, and then hourly."""
    at = timezone.now()
    until = pacing.hold_sender(WAY, KEY, refused(450), at)
    assert until == at + HOUR / 4
    resting = Resting(until)
    assert not pacing.take_sender_probe(WAY, KEY, resting, at)
    assert pacing.take_sender_probe(WAY, KEY, resting, until)
    assert not pacing.take_sender_probe(WAY, KEY, resting, until)
    assert pacing.while_probed(resting, until).until > until
    assert pacing.while_probed(resting, at) == resting
    assert pacing.hold_sender(WAY, KEY, refused(450), until) == until + HOUR


def test_a_person_resumes_senders():
    """Its mail is due now; who was not held is not counted."""
    at = timezone.now()
    pacing.hold_sender(WAY, KEY, refused(), at)
    stored()
    ledger.park("default", None, at)
    assert pacing.resume_senders("default", ["MAIL FROM <other@example.com>"], at) == 0
    assert Delivery.objects.get().next_attempt_at is None
    assert pacing.resume_senders("default", [KEY, KEY], at) == 1
    assert Delivery.objects.get().next_attempt_at == at
    assert pacing.survey(WAY, at).senders == {}


def test_a_probe_that_was_taken_opens_the_sender():
    """What rested behind it comes at once."""
    at = timezone.now()
    pacing.hold_sender(WAY, KEY, refused(450), at)
    stored()
    ledger.park("default", at + HOUR, at)
    pacing.book_sender_success(WAY, [KEY], at)
    assert Route.objects.get().state == "open"
    assert Delivery.objects.get().next_attempt_at == at
    pacing.book_sender_success(WAY, [KEY], at)


def test_a_survey_tells_what_rests():
    """By one query: senders, domains that a person paused, and whether the way itself rests."""
    at = timezone.now()
    Route.objects.create(mailer="default", domain="a.example", state="held")
    Route.objects.create(mailer="default", domain="b.example", state="paused", paused_until=at)
    Route.objects.create(mailer="other", domain="c.example", state="held")
    Route.objects.create(mailer="default", host="one.example.com", state="paused")
    seen = pacing.survey(WAY, at)
    assert seen.domains == {"a.example": Resting(None)}
    assert (seen.senders, seen.rests, seen.wants_from_headers) == ({}, None, False)
    Route.objects.create(mailer="default", state="paused", paused_until=at + HOUR)
    assert pacing.survey(WAY, at).rests == Resting(at + HOUR)
    assert pacing.survey(WAY, at + HOUR).rests is None


def test_a_survey_of_a_destination():
    """Another domain's rest is none of its business; its own and the mailer's are."""
    at = timezone.now()
    straight = Way(Mailer(name="default", hosts=(), transport="mx"), "a.example")
    Route.objects.create(mailer="default", domain="b.example", state="held")
    assert pacing.survey(straight, at).rests is None
    assert pacing.survey(straight, at).domains == {}
    Route.objects.create(mailer="default", domain="a.example", state="held")
    assert pacing.survey(straight, at).rests == Resting(None)


def test_a_host_that_fails_is_left_out():
    """The others go on; after its rest one drain tries it, and success brings it back."""
    at = timezone.now()
    assert pacing.hosts_to_try(WAY, HOSTS, at).options == HOSTS
    until = pacing.book_host_failure(WAY, HOSTS, unreachable("one.example.com"), at)
    assert until == at + timedelta(minutes=1)
    found = pacing.hosts_to_try(WAY, HOSTS, at)
    assert [options.host for options in found.options] == ["two.example.com"]
    probing = pacing.hosts_to_try(WAY, HOSTS, until)
    assert (probing.options, probing.probing) == (HOSTS, {"one.example.com"})
    assert pacing.hosts_to_try(WAY, HOSTS, until).options == HOSTS[1:]
    pacing.book_host_success(WAY, "one.example.com")
    assert pacing.hosts_to_try(WAY, HOSTS, at) == pacing.Hosts(HOSTS)


def test_where_all_hosts_rest_all_are_tried():
    """It is the way itself that is being probed then."""
    at = timezone.now()
    for options in HOSTS:
        pacing.book_host_failure(WAY, HOSTS, unreachable(options.host), at)
    assert pacing.hosts_to_try(WAY, HOSTS, at).options == HOSTS


def test_a_single_host_has_no_route_of_its_own():
    """It is the mailer that rests."""
    at = timezone.now()
    assert pacing.book_host_failure(WAY, HOSTS[:1], unreachable(HOST.host), at) is None
    assert not Route.objects.exists()
    Route.objects.create(mailer="default", host=HOST.host, state="paused", paused_until=at + HOUR)
    assert pacing.hosts_to_try(WAY, HOSTS[:1], at).options == HOSTS[:1]
