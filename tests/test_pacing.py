"""The live state of mailers and their connection slots."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import ledger, pacing
from django_smtpx.config.logins import TokenSource
from django_smtpx.mailer import Mailer
from django_smtpx.models import Delivery, Route, Slot
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


@pytest.fixture(autouse=True)
def _no_resting_slots():
    yield
    pacing._Resting.forget()


def minutes(count):
    """Return so many minutes."""
    return timedelta(minutes=count)


def test_a_mailer_without_a_route_is_open():
    """Nothing on record means nothing in the way."""
    assert pacing.gate(MAILER, timezone.now()) == pacing.Gate(True)


def test_a_failed_session_rests_the_mailer_ever_longer():
    """1, 2, 5, 15, 30, 60 minutes, and 60 again."""
    at = timezone.now()
    for expected in (1, 2, 5, 15, 30, 60, 60):
        until = pacing.book_failure(MAILER, UNREACHABLE, at)
        assert until - at == minutes(expected)
        assert not pacing.gate(MAILER, until - minutes(0.1)).is_open
        assert pacing.gate(MAILER, until) == pacing.Gate(True, probing=True)
        at = until


def test_who_comes_second_changes_nothing():
    """Two workers that fail together count as one failure."""
    at = timezone.now()
    first = pacing.book_failure(MAILER, UNREACHABLE, at)
    assert pacing.book_failure(MAILER, UNREACHABLE, at) == first
    assert Route.objects.get().consecutive_failures == 1


def test_a_refused_login_holds_the_mailer(caplog):
    """A 535 holds, with a probe after 15 minutes and then hourly, and says so at ERROR."""
    at = timezone.now()
    assert pacing.book_failure(MAILER, REFUSED, at) == at + minutes(15)
    route = Route.objects.get()
    assert (route.state, route.category) == ("held", "auth_failed")
    assert route.pause_reason == "auth 535 No"
    assert caplog.records[-1].levelno == logging.ERROR
    at += minutes(15)
    assert pacing.book_failure(MAILER, REFUSED, at) == at + minutes(60)


def test_a_changed_password_is_tried_at_once():
    """The hold is keyed on the credential: a new one opens it, and wakes the parked mail."""
    at = timezone.now()
    until = pacing.book_failure(MAILER, REFUSED, at)
    stored()
    ledger.park("default", until, at)
    assert not pacing.gate(MAILER, at).is_open
    pacing.reopen_changed({"default": MAILER}, at)
    assert Delivery.objects.get().next_attempt_at == until
    changed = replace(MAILER, hosts=(replace(OPTIONS, credential=Credential("user", "new")),))
    assert pacing.gate(changed, at) == pacing.Gate(True, probing=True)
    pacing.reopen_changed({"default": changed}, at)
    assert Delivery.objects.get().next_attempt_at == at


def test_another_source_of_tokens_is_tried_at_once():
    """A changed oauth_token is a changed credential; the same path is the same one."""

    def mailer(path):
        credential = Credential("user", token=TokenSource(path))
        return replace(MAILER, hosts=(replace(OPTIONS, credential=credential),))

    at = timezone.now()
    pacing.book_failure(mailer("site.token"), REFUSED, at)
    assert not pacing.gate(mailer("site.token"), at).is_open
    assert pacing.gate(mailer("site.other_token"), at).is_open


@pytest.mark.parametrize(("error", "state"), [(REFUSED, "held"), (UNREACHABLE, "paused")])
def test_a_changed_password_that_fails_too_is_not_tried_for_ever(error, state):
    """What rests it then is its own failure: it is neither open nor woken by the old hold."""
    at = timezone.now()
    pacing.book_failure(MAILER, REFUSED, at)
    changed = replace(MAILER, hosts=(replace(OPTIONS, credential=Credential("user", "new")),))
    until = pacing.book_failure(changed, error, at)
    assert Route.objects.get().state == state
    assert pacing.gate(changed, at) == pacing.Gate(False, until)
    stored()
    ledger.park("default", until, at)
    pacing.reopen_changed({"default": changed}, at)
    assert Delivery.objects.get().next_attempt_at == until
    assert pacing.book_failure(changed, error, at) == until
    assert Route.objects.get().consecutive_failures == 1


def test_a_failed_session_leaves_a_persons_hold():
    """A drain that was under way when a person held the mailer does not make a pause of it."""
    Route.objects.create(mailer="default", state=Route.State.HELD, pause_reason="maintenance")
    assert pacing.book_failure(MAILER, UNREACHABLE, timezone.now()) is None
    route = Route.objects.get()
    assert (route.state, route.paused_until, route.pause_reason) == ("held", None, "maintenance")


def test_no_credential_is_on_record():
    """What is stored of a credential is a keyed fingerprint."""
    pacing.book_failure(MAILER, REFUSED, timezone.now())
    values = " ".join(str(value) for value in Route.objects.values_list().get())
    assert "secret" not in values
    assert pacing.credential_mac(MAILER) in values


def test_success_opens_the_mailer_and_wakes_its_mail():
    """After a probe succeeded the route is clean and parked mail is due."""
    at = timezone.now()
    until = pacing.book_failure(MAILER, UNREACHABLE, at)
    stored()
    ledger.park("default", until, at)
    pacing.book_success(MAILER, at)
    route = Route.objects.get()
    assert (route.state, route.consecutive_failures, route.paused_until) == ("open", 0, None)
    assert Delivery.objects.get().next_attempt_at == at


def test_a_person_holds_until_resumed():
    """A hold without a time never opens by itself, and success does not open it."""
    Route.objects.create(mailer="default", state=Route.State.HELD, pause_reason="maintenance")
    at = timezone.now() + timedelta(days=365)
    gate = pacing.gate(MAILER, at)
    assert gate == pacing.Gate(False, None)
    pacing.book_success(MAILER, at)
    assert not pacing.gate(MAILER, at).is_open
    assert "maintenance" in str(pacing.closed_error(MAILER, gate))


def test_slots_are_limited():
    """No more than max_connections are held at once."""
    at = timezone.now()
    first, second = pacing.take_slot(MAILER, at), pacing.take_slot(MAILER, at)
    assert {first.number, second.number} == {0, 1}
    assert pacing.take_slot(MAILER, at) is None
    assert not pacing.has_free_slot(MAILER, at)
    pacing.free_slot(first, at)
    assert pacing.has_free_slot(MAILER, at)
    assert pacing.take_slot(MAILER, at).number == first.number


def test_a_probe_is_one_connection():
    """While a mailer is being probed there is one slot."""
    at = timezone.now()
    assert pacing.take_slot(MAILER, at, probing=True).number == 0
    assert pacing.take_slot(MAILER, at, probing=True) is None


def test_a_slot_runs_out_and_the_late_holder_notices():
    """A slot that nobody renewed goes to somebody else."""
    mailer = replace(MAILER, max_connections=1)
    at = timezone.now()
    slot = pacing.take_slot(mailer, at)
    later = at + timedelta(seconds=pacing.SLOT_LEASE)
    assert pacing.take_slot(mailer, later) is not None
    assert not pacing.renew_slot(slot, later)


def test_renewing_keeps_a_slot():
    """A renewed slot ends later."""
    at = timezone.now()
    slot = pacing.take_slot(MAILER, at)
    assert pacing.renew_slot(slot, at + minutes(0.3))
    assert slot.expires == at + minutes(0.8)


def test_an_idle_session_keeps_its_slot_for_this_process():
    """The next drain of the process takes up the slot of its idle session."""
    mailer = replace(MAILER, max_connections=1)
    at = timezone.now()
    slot = pacing.take_slot(mailer, at)
    pacing.rest_slot(slot, at, 10.0)
    assert pacing.take_slot(mailer, at).token == slot.token
    assert pacing.take_slot(mailer, at) is None


def test_a_resting_slot_runs_out_by_itself():
    """Nobody has to give back the slot of a session that the reaper closed."""
    mailer = replace(MAILER, max_connections=1)
    at = timezone.now()
    pacing.rest_slot(pacing.take_slot(mailer, at), at, 10.0)
    pacing._Resting.forget()
    assert pacing.take_slot(mailer, at + timedelta(seconds=10)) is None
    assert pacing.take_slot(mailer, at + timedelta(seconds=12)) is not None


def test_slots_of_dead_processes_come_back():
    """A process of this host that is no more holds nothing; one that lives does."""
    at = timezone.now()
    mine, other = pacing.take_slot(MAILER, at), pacing.take_slot(MAILER, at)
    owner = Slot.objects.get(number=mine.number).owner
    dead = owner.replace(f" {os.getpid()} ", " 4194999 ")
    Slot.objects.filter(number=other.number).update(owner=dead)
    assert pacing.free_dead_slots(at) == 1
    assert Slot.objects.get(number=mine.number).expires_at > at
    assert Slot.objects.get(number=other.number).expires_at == at


def test_a_reused_process_id_is_not_mistaken():
    """The same id with another birth is another process."""
    at = timezone.now()
    slot = pacing.take_slot(MAILER, at)
    owner = Slot.objects.get(number=slot.number).owner
    Slot.objects.filter(number=slot.number).update(owner=owner + "9")
    assert pacing.free_dead_slots(at) == 1


def test_slots_of_other_hosts_are_left():
    """What runs elsewhere is not judged from here."""
    at = timezone.now()
    slot = pacing.take_slot(MAILER, at)
    Slot.objects.filter(number=slot.number).update(owner="elsewhere pid:[1] 1 1")
    assert pacing.free_dead_slots(at) == 0
