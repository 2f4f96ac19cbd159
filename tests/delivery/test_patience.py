"""A database that is away for a moment, and what a drain holds until it is back."""

from __future__ import annotations

import pytest
from django.db import OperationalError

from django_smtpx import delivery, ledger, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import patience as patience_module
from django_smtpx.delivery.patience import Patience
from django_smtpx.models import Delivery, Slot
from django_smtpx.testing import ScriptedServer, real_queue
from tests.factories import statuses, stored

pytestmark = pytest.mark.django_db(transaction=True)


class Failing:
    """A call that raises a few times, and does then what it has to."""

    def __init__(self, times, call=lambda *args, **kwargs: 1):
        self.left = times
        self.call = call

    def __call__(self, *args, **kwargs):
        """Raise, or do it."""
        if self.left:
            self.left -= 1
            raise OperationalError("away")
        return self.call(*args, **kwargs)


@pytest.fixture
def waited(monkeypatch):
    """Take note of the waits instead of waiting."""
    seconds = []
    monkeypatch.setattr(patience_module.time, "sleep", seconds.append)
    return seconds


def test_what_works_again_is_done_and_restores_the_patience(waited):
    """Each outage is waited for, as long as it is short."""
    patience = Patience()
    for _ in range(2):
        assert patience.outlast(Failing(4)) == 1
    assert waited == pytest.approx([0.2, 0.4, 0.8, 1.6] * 2)


def test_an_outage_costs_a_drain_one_wait(waited):
    """Once the patience is used up, nothing else is waited for."""
    patience = Patience()
    for _ in range(3):
        with pytest.raises(OperationalError):
            patience.outlast(Failing(100))
    assert sum(waited) == pytest.approx(6.2)


@pytest.mark.usefixtures("waited")
def test_a_moment_without_the_database_leaves_no_claim_and_no_slot_behind(monkeypatch):
    """What a drain has not begun goes back when the database does, and so does its connection."""
    with ScriptedServer() as server, real_queue(server, idle_timeout=0):
        stored()
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "contents", Failing(1))
            patch.setattr(ledger, "release", release := Failing(2, ledger.release))
            patch.setattr(pacing, "free_slot", free := Failing(2, pacing.free_slot))
            with pytest.raises(OperationalError):
                delivery.drain(get_mailer("default"))
        assert (release.left, free.left) == (0, 0)
        assert statuses() == ["queued"]
        assert not Delivery.objects.exclude(lease_token=None).exists()
        assert not Slot.objects.exclude(token=None).exists()
        delivery.drain(get_mailer("default"))
        assert len(server.messages) == 1
