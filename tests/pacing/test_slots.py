"""Connection slots over all workers."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import pacing
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Slot
from django_smtpx.smtp.options import Options, Security

pytestmark = pytest.mark.django_db

HOST = Options(host="mx.example.com", port=587, security=Security.STARTTLS)
MAILER = Mailer(name="default", hosts=(HOST,), max_connections=2)


@pytest.fixture(autouse=True)
def _no_resting_slots():
    yield
    pacing.forget_resting()


def take(mailer, at):
    """Take one of as many slots as the mailer may have."""
    return pacing.take_slot(Way(mailer), at, mailer.max_connections)


def test_slots_are_limited():
    """No more than max_connections are held at once."""
    at = timezone.now()
    first, second = take(MAILER, at), take(MAILER, at)
    assert {first.number, second.number} == {0, 1}
    assert take(MAILER, at) is None
    assert not pacing.has_free_slot(Way(MAILER), at)
    pacing.free_slot(first, at)
    assert pacing.has_free_slot(Way(MAILER), at)
    assert take(MAILER, at).number == first.number


def test_a_probe_is_one_connection():
    """While a mailer is being probed there is one slot."""
    at = timezone.now()
    assert pacing.take_slot(Way(MAILER), at, 1).number == 0
    assert pacing.take_slot(Way(MAILER), at, 1) is None


def test_a_slot_runs_out_and_the_late_holder_notices():
    """A slot that nobody renewed goes to somebody else."""
    mailer = replace(MAILER, max_connections=1)
    at = timezone.now()
    slot = take(mailer, at)
    later = at + timedelta(seconds=pacing.SLOT_LEASE)
    assert take(mailer, later) is not None
    assert not pacing.renew_slot(slot, later)


def test_renewing_keeps_a_slot():
    """A renewed slot ends later."""
    at = timezone.now()
    slot = take(MAILER, at)
    assert pacing.renew_slot(slot, at + timedelta(minutes=0.3))
    assert slot.expires == at + timedelta(minutes=0.8)


def test_an_idle_session_keeps_its_slot_for_this_process():
    """The next drain of the process takes up the slot of its idle session."""
    mailer = replace(MAILER, max_connections=1)
    at = timezone.now()
    slot = take(mailer, at)
    pacing.rest_slot(slot, at, 10.0)
    assert take(mailer, at).token == slot.token
    assert take(mailer, at) is None


def test_a_resting_slot_runs_out_by_itself():
    """Nobody has to give back the slot of a session that the reaper closed."""
    mailer = replace(MAILER, max_connections=1)
    at = timezone.now()
    pacing.rest_slot(take(mailer, at), at, 10.0)
    pacing.forget_resting()
    assert take(mailer, at + timedelta(seconds=10)) is None
    assert take(mailer, at + timedelta(seconds=12)) is not None


def test_slots_of_dead_processes_come_back():
    """A process of this host that is no more holds nothing; one that lives does."""
    at = timezone.now()
    mine, other = take(MAILER, at), take(MAILER, at)
    owner = Slot.objects.get(number=mine.number).owner
    dead = owner.replace(f" {os.getpid()} ", " 4194999 ")
    Slot.objects.filter(number=other.number).update(owner=dead)
    assert pacing.free_dead_slots(at) == 1
    assert Slot.objects.get(number=mine.number).expires_at > at
    assert Slot.objects.get(number=other.number).expires_at == at


def test_a_reused_process_id_is_not_mistaken():
    """The same id with another birth is another process."""
    at = timezone.now()
    slot = take(MAILER, at)
    owner = Slot.objects.get(number=slot.number).owner
    Slot.objects.filter(number=slot.number).update(owner=owner + "9")
    assert pacing.free_dead_slots(at) == 1


def test_slots_of_other_hosts_are_left():
    """What runs elsewhere is not judged from here."""
    at = timezone.now()
    slot = take(MAILER, at)
    Slot.objects.filter(number=slot.number).update(owner="elsewhere pid:[1] 1 1")
    assert pacing.free_dead_slots(at) == 0
