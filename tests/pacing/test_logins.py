"""One login at a time, over all workers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import pacing
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Route
from django_smtpx.pacing.logins import LOGIN_LEASE
from django_smtpx.smtp.options import Credential, Options, Security

pytestmark = pytest.mark.django_db

HOST = Options(
    host="mx.example.com", port=587, security=Security.STARTTLS, credential=Credential("u", "p")
)
WAY = Way(Mailer(name="default", hosts=(HOST,)))


def test_one_after_the_other():
    """The second one waits until the first one's login is over."""
    at = timezone.now()
    first = pacing.take_login(WAY, at)
    assert first == at + LOGIN_LEASE
    assert pacing.take_login(WAY, at) is None
    pacing.end_login(WAY, first)
    assert pacing.take_login(WAY, at) is not None
    assert Route.objects.get().state == "open"


def test_who_is_gone_is_not_waited_for():
    """A turn that nobody keeps runs out; one that is kept does not."""
    at = timezone.now()
    kept = pacing.keep_login(WAY, pacing.take_login(WAY, at), at + LOGIN_LEASE / 2)
    assert pacing.take_login(WAY, at + LOGIN_LEASE) is None
    later = at + 2 * LOGIN_LEASE
    mine = pacing.take_login(WAY, later)
    assert mine is not None
    # The late one neither keeps nor ends what is another's by now.
    assert pacing.keep_login(WAY, kept, later) == kept
    pacing.end_login(WAY, kept)
    assert pacing.take_login(WAY, later + timedelta(seconds=1)) is None


def test_without_a_credential_there_is_no_login():
    """Nobody waits for what does not happen."""
    nobody = Way(
        Mailer(name="default", hosts=(Options(host="h", port=25, security=Security.NONE),))
    )
    assert not pacing.logs_in(nobody)
    assert pacing.logs_in(WAY)
