"""The sweep, and delivering in this process until nothing is due."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import idle
from django_smtpx.mailer import Way
from django_smtpx.models import Content, Delivery
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


def test_what_has_come_due_is_looked_for_once_a_second(monkeypatch):
    """A round more for what came meanwhile costs no more than the drains."""
    rounds, now = [], [0.0]
    monkeypatch.setattr(idle, "upkeep", lambda: rounds.append(now[0]))
    monkeypatch.setattr(idle, "time", SimpleNamespace(monotonic=lambda: now[0]))
    counts = iter((1, 1, 1, 0))

    def drain(mailer):
        now[0] += 0.6
        return next(counts)

    monkeypatch.setattr(idle, "drain", drain)
    with ScriptedServer() as server, real_queue(server):
        assert delivery.run_until_idle(["default"]) == 3
    assert rounds == [0.0, 1.2]


def test_purge_counts():
    """The retention says how much went."""
    stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0])])
    assert delivery.purge() == (0, 0)


def test_a_purge_that_is_not_done_is_the_next_sweeps(monkeypatch):
    """It ends after some seconds, and begins anew with the next sweep, not an hour later."""
    for _ in range(2):
        stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(row) for row in rows])
    at = lease.now() + timedelta(days=8)
    monkeypatch.setattr(idle.ledger, "now", lambda: at)
    assert ledger.take_turn("purge", idle.PURGE_EVERY, at)
    monkeypatch.setattr(idle, "PURGE_SECONDS", -1.0)
    delivery.purge_a_while()
    assert Content.objects.count() == 2
    assert ledger.take_turn("purge", idle.PURGE_EVERY, at)
    delivery.purge_a_while(lambda: True)
    assert Content.objects.count() == 2
    monkeypatch.setattr(idle, "PURGE_SECONDS", 60.0)
    delivery.purge_a_while()
    assert not Content.objects.exists()
    assert ledger.take_turn("purge", idle.PURGE_EVERY, at)
    delivery.purge_a_while()
    assert not ledger.take_turn("purge", idle.PURGE_EVERY, at)


def test_what_is_left_over_is_looked_for_once_a_day(monkeypatch):
    """To list a storage costs more than a look at rows; the command looks whenever it is called."""
    looks = []
    monkeypatch.setattr(idle.ledger, "remove_orphans", lambda at, over: looks.append(at))
    at = ledger.now()
    for hours in (0, 1, 23, 25, 26):
        monkeypatch.setattr(idle.ledger, "now", lambda hours=hours: at + timedelta(hours=hours))
        delivery.purge_a_while()
    assert len(looks) == 2
    delivery.purge()
    assert len(looks) == 3
