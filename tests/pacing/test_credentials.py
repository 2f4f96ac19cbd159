"""Refused credentials: remembered apart from the route, each with its own next probe."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from django_smtpx import ledger, pacing
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Delivery, RefusedCredential, Route
from django_smtpx.smtp import AuthenticationError
from django_smtpx.smtp.options import Credential, Options, Security
from tests.factories import stored

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
REFUSED = AuthenticationError(
    "not authorized", phase="auth", code=535, reply="No", category="auth_failed", action="hold"
)


def way(password):
    """Return a mailer with that password, as workers of one deploy have it."""
    options = Options(
        host="mx.example.com",
        port=587,
        security=Security.STARTTLS,
        credential=Credential("user", password),
    )
    return Way(Mailer(name="default", hosts=(options,)))


OLD, NEW = way("old"), way("new")


def test_a_rolling_deploy():
    """Workers with the old password are refused once; those with the new one send meanwhile."""
    at = timezone.now()
    until = pacing.book_failure(OLD, REFUSED, at)
    assert until == at + HOUR / 4
    assert pacing.gate(NEW, at).probing
    pacing.book_success(NEW, at)
    assert pacing.gate(NEW, at) == pacing.Gate(True)
    # An old worker neither sends nor puts the mail away that a new one sends.
    assert pacing.gate(OLD, at) == pacing.Gate(False, until, parks=False)
    assert pacing.gate(OLD, until).probing
    # Its probe is refused: that closes nothing for the new ones.
    assert pacing.book_failure(OLD, REFUSED, until) == until
    assert pacing.gate(NEW, until) == pacing.Gate(True)
    assert pacing.gate(OLD, until) == pacing.Gate(False, until + HOUR, parks=False)
    assert Route.objects.get().state == "open"


def test_a_deploy_of_a_wrong_password():
    """The other way round: the old password works on, and is not held up for long."""
    at = timezone.now()
    pacing.book_failure(NEW, REFUSED, at)
    stored()
    ledger.park("default", at + HOUR, at)
    pacing.reopen_changed({"default": OLD.mailer}, at)
    assert Delivery.objects.get().next_attempt_at == at
    assert pacing.gate(OLD, at).probing
    pacing.book_success(OLD, at)
    assert pacing.book_failure(NEW, REFUSED, at + HOUR) == at + HOUR
    assert pacing.gate(OLD, at + HOUR) == pacing.Gate(True)


def test_both_refused():
    """Where neither works nobody goes on trying: each has its own probe."""
    at = timezone.now()
    first = pacing.book_failure(OLD, REFUSED, at)
    second = pacing.book_failure(NEW, REFUSED, at + HOUR / 6)
    assert second == at + HOUR / 6 + HOUR / 4
    assert not pacing.gate(OLD, at + HOUR / 6).is_open
    assert not pacing.gate(NEW, at + HOUR / 6).is_open
    pacing.reopen_changed({"default": OLD.mailer}, at + HOUR / 6)
    pacing.reopen_changed({"default": NEW.mailer}, at + HOUR / 6)
    assert Route.objects.get().state == "held"
    assert pacing.gate(OLD, first).probing


def test_success_is_remembered():
    """When the password that works is changed at the server, that is news and holds."""
    at = timezone.now()
    pacing.book_failure(OLD, REFUSED, at)
    pacing.book_success(NEW, at)
    assert pacing.book_failure(NEW, REFUSED, at) == at + HOUR / 4
    assert Route.objects.get().state == "held"
    assert RefusedCredential.objects.count() == 2


def test_two_that_were_refused_together_count_as_one():
    """The second one learns of the first one's probe."""
    at = timezone.now()
    assert pacing.book_failure(OLD, REFUSED, at) == pacing.book_failure(OLD, REFUSED, at)
    assert RefusedCredential.objects.get().refusals == 1
    assert Route.objects.get().consecutive_failures == 1


def test_a_pause_becomes_a_hold():
    """A mailer that rested for another reason is held from the refusal on."""
    at = timezone.now()
    unreachable = AuthenticationError("x", phase="connect", category="unreachable")
    pacing.book_failure(OLD, unreachable, at)
    assert pacing.book_failure(OLD, REFUSED, at) == at + HOUR / 4
    assert Route.objects.get().state == "held"


def test_what_nobody_has_tried_for_long_is_forgotten():
    """With the log's retention: an old password is no news after that."""
    at = timezone.now()
    pacing.book_failure(OLD, REFUSED, at)
    assert pacing.forget_refused(at) == 0
    assert pacing.forget_refused(at + HOUR) == 1
    assert not RefusedCredential.objects.exists()


def test_a_mailer_without_a_credential():
    """530 without a password configured holds as well, until there is one."""
    at = timezone.now()
    none = Way(replace(OLD.mailer, hosts=(replace(OLD.mailer.hosts[0], credential=None),)))
    required = AuthenticationError("x", phase="mail", code=530, category="auth_required")
    assert pacing.book_failure(none, required, at) == at + HOUR / 4
    assert not pacing.gate(none, at).is_open
    assert pacing.gate(OLD, at).probing


def test_a_refusal_is_on_record_as_a_whole():
    """Who is refused at the same moment does not read that the next probe is due already."""
    at = timezone.now()
    seen = []

    def look(execute, *statement):
        result = execute(*statement)
        if "INSERT" in statement[0] and "refused" in statement[0]:
            seen.append(RefusedCredential.objects.get())
        return result

    with connection.execute_wrapper(look):
        pacing.book_failure(OLD, REFUSED, at)
    assert [(row.refusals, row.next_probe_at) for row in seen] == [(1, at + HOUR / 4)]
