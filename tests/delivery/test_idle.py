"""The sweep, and delivering in this process until nothing is due."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import idle
from django_smtpx.mailer import Way
from django_smtpx.models import Delivery
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue
from tests.factories import booking, claimed, statuses, stored

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _close_sessions():
    yield
    default_pool.close()
    pacing.forget_resting()


def swept():
    """Sweep, and return whom it woke."""
    woken = []
    delivery.sweep(woken.append)
    return woken


def test_the_sweep_wakes_who_has_mail_and_a_slot():
    """A mailer whose slots are all in use is not woken: whoever has them looks again."""
    with real_queue(host="127.0.0.1", port=1, max_connections=1):
        stored()
        slot = pacing.take_slot(Way(get_mailer("default")), ledger.now(), 1)
        assert swept() == []
        pacing.free_slot(slot, ledger.now())
        idle.ledger.take_turn("sweep", 0, ledger.now() + timedelta(days=2))
        assert swept() == ["default"]


def test_one_sweep_an_interval():
    """Of many workers' sweeps one does the work."""
    with real_queue(host="127.0.0.1", port=1):
        assert delivery.sweep(lambda name: None)
        assert not delivery.sweep(lambda name: None)


def test_upkeep_promotes_reclaims_and_expires():
    """What has come due, what a dead worker held and what is too old all find their place."""
    with real_queue(host="127.0.0.1", port=1):
        due = stored("due@example.com", send_at=timezone.now() + timedelta(hours=1))
        due.deliveries.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        stored("old@example.com").deliveries.update(
            expires_at=timezone.now() - timedelta(seconds=1)
        )
        claimed(1)
        Delivery.objects.filter(status="sending").update(
            lease_expires_at=timezone.now() - timedelta(seconds=1)
        )
        idle.upkeep()
    assert statuses() == ["queued", "failed"]
    assert Delivery.objects.get(recipient="due@example.com").lane == Delivery.Lane.READY


def test_until_nothing_is_due_or_once():
    """One round, or as many as there is something to do; each is told of."""
    with ScriptedServer() as server, real_queue(server, mailers={"other": {}}):
        stored("a@example.com")
        stored("b@example.com", mailer="other")
        told = []
        assert delivery.run_until_idle(["default"], once=True, progress=told.append) == 1
        assert told == [1]
        assert delivery.run_until_idle() == 1
        assert len(server.messages) == 2


def test_purge_counts():
    """The retention says how much went."""
    stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0])])
    assert delivery.purge() == (0, 0)
