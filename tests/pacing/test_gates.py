"""The live state of mailers and their connection slots."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import ledger, pacing
from django_smtpx.config.logins import TokenSource
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Delivery, RefusedCredential, Route
from django_smtpx.pacing import routes
from django_smtpx.smtp import AuthenticationError, ConnectError
from django_smtpx.smtp.options import Credential, Options, Security
from tests.factories import stored

pytestmark = pytest.mark.django_db

OPTIONS = Options(
    host="mx.example.com",
    port=587,
    security=Security.STARTTLS,
    credential=Credential("user", "secret"),
)
MAILER = Mailer(name="default", hosts=(OPTIONS,), max_connections=2)
REFUSED = AuthenticationError(
    "not authorized", phase="auth", code=535, reply="No", category="auth_failed", action="hold"
)
UNREACHABLE = ConnectError("refused", phase="connect", category="unreachable")


def minutes(count):
    """Return so many minutes."""
    return timedelta(minutes=count)


def test_a_mailer_without_a_route_is_open():
    """Nothing on record means nothing in the way."""
    assert pacing.gate(Way(MAILER), timezone.now()) == pacing.Gate(True)


def test_a_failed_session_rests_the_mailer_ever_longer():
    """1, 2, 5, 15, 30, 60 minutes, and 60 again."""
    at = timezone.now()
    for expected in (1, 2, 5, 15, 30, 60, 60):
        until = pacing.book_failure(Way(MAILER), UNREACHABLE, at)
        assert until - at == minutes(expected)
        assert not pacing.gate(Way(MAILER), until - minutes(0.1)).is_open
        assert pacing.gate(Way(MAILER), until) == pacing.Gate(True, probing=True)
        at = until


def test_who_comes_second_changes_nothing():
    """Two workers that fail together count as one failure."""
    at = timezone.now()
    first = pacing.book_failure(Way(MAILER), UNREACHABLE, at)
    assert pacing.book_failure(Way(MAILER), UNREACHABLE, at) == first
    assert Route.objects.get().consecutive_failures == 1


def test_a_refused_login_holds_the_mailer(caplog):
    """A 535 holds, with a probe after 15 minutes and then hourly, and says so at ERROR."""
    at = timezone.now()
    assert pacing.book_failure(Way(MAILER), REFUSED, at) == at + minutes(15)
    route = Route.objects.get()
    assert (route.state, route.category) == ("held", "auth_failed")
    assert route.pause_reason == "auth 535 No"
    assert caplog.records[-1].levelno == logging.ERROR
    at += minutes(15)
    assert pacing.book_failure(Way(MAILER), REFUSED, at) == at + minutes(60)


def test_a_changed_password_is_tried_at_once():
    """The hold is keyed on the credential: a new one opens it, and wakes the parked mail."""
    at = timezone.now()
    until = pacing.book_failure(Way(MAILER), REFUSED, at)
    stored()
    ledger.park("default", until, at)
    assert not pacing.gate(Way(MAILER), at).is_open
    pacing.reopen_changed({"default": MAILER}, at)
    assert Delivery.objects.get().next_attempt_at == until
    changed = replace(MAILER, hosts=(replace(OPTIONS, credential=Credential("user", "new")),))
    assert pacing.gate(Way(changed), at) == pacing.Gate(True, probing=True)
    pacing.reopen_changed({"default": changed}, at)
    assert Delivery.objects.get().next_attempt_at == at


def test_another_source_of_tokens_is_tried_at_once():
    """A changed oauth_token is a changed credential; the same path is the same one."""

    def mailer(path):
        credential = Credential("user", token=TokenSource(path))
        return replace(MAILER, hosts=(replace(OPTIONS, credential=credential),))

    at = timezone.now()
    pacing.book_failure(Way(mailer("site.token")), REFUSED, at)
    assert not pacing.gate(Way(mailer("site.token")), at).is_open
    assert pacing.gate(Way(mailer("site.other_token")), at).is_open


@pytest.mark.parametrize(("error", "state"), [(REFUSED, "held"), (UNREACHABLE, "paused")])
def test_a_changed_password_that_fails_too_is_not_tried_for_ever(error, state):
    """What rests it then is its own failure: it is neither open nor woken by the old hold."""
    at = timezone.now()
    pacing.book_failure(Way(MAILER), REFUSED, at)
    changed = replace(MAILER, hosts=(replace(OPTIONS, credential=Credential("user", "new")),))
    until = pacing.book_failure(Way(changed), error, at)
    assert Route.objects.get().state == state
    assert pacing.gate(Way(changed), at) == pacing.Gate(False, until)
    stored()
    ledger.park("default", until, at)
    pacing.reopen_changed({"default": changed}, at)
    assert Delivery.objects.get().next_attempt_at == until
    assert pacing.book_failure(Way(changed), error, at) == until
    assert Route.objects.get().consecutive_failures == 1


def test_a_failed_session_leaves_a_persons_hold():
    """A drain that was under way when a person held the mailer does not make a pause of it."""
    Route.objects.create(mailer="default", state=Route.State.HELD, pause_reason="maintenance")
    assert pacing.book_failure(Way(MAILER), UNREACHABLE, timezone.now()) is None
    route = Route.objects.get()
    assert (route.state, route.paused_until, route.pause_reason) == ("held", None, "maintenance")


def test_no_credential_is_on_record():
    """What is stored of a credential is a keyed fingerprint."""
    pacing.book_failure(Way(MAILER), REFUSED, timezone.now())
    rows = (*Route.objects.values_list(), *RefusedCredential.objects.values_list())
    values = " ".join(str(value) for row in rows for value in row)
    assert "secret" not in values
    assert pacing.credential_mac(MAILER) in values


def test_success_opens_the_mailer_and_wakes_its_mail():
    """After a probe succeeded the route is clean and parked mail is due."""
    at = timezone.now()
    until = pacing.book_failure(Way(MAILER), UNREACHABLE, at)
    stored()
    ledger.park("default", until, at)
    pacing.book_success(Way(MAILER), at)
    route = Route.objects.get()
    assert (route.state, route.consecutive_failures, route.paused_until) == ("open", 0, None)
    assert Delivery.objects.get().next_attempt_at == at


def test_a_person_holds_until_resumed():
    """A hold without a time never opens by itself, and success does not open it."""
    Route.objects.create(mailer="default", state=Route.State.HELD, pause_reason="maintenance")
    at = timezone.now() + timedelta(days=365)
    gate = pacing.gate(Way(MAILER), at)
    assert gate == pacing.Gate(False, None)
    pacing.book_success(Way(MAILER), at)
    assert not pacing.gate(Way(MAILER), at).is_open
    assert "maintenance" in str(pacing.closed_error(Way(MAILER), gate))


@pytest.mark.parametrize("held", [False, True])
def test_a_failure_that_comes_after_the_way_was_opened(monkeypatch, held):
    """Mail is not put away without a time behind a way that a probe has just opened."""
    error = REFUSED if held else UNREACHABLE
    at = timezone.now()
    until = pacing.book_failure(Way(MAILER), error, at)

    def open_it(error):
        pacing.book_success(Way(MAILER), until)
        return ""

    monkeypatch.setattr(routes, "reason_of", open_it)
    assert pacing.book_failure(Way(MAILER), error, until) == until
    assert pacing.gate(Way(MAILER), until).is_open
