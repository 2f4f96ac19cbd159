"""Recipients of one message that rest together come back together: as one content, not as many."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_smtpx import ledger
from django_smtpx.models import Delivery
from tests.factories import claimed, stored

pytestmark = pytest.mark.django_db


def _due_times():
    """Return when the recipients of each message, but the first, come due."""
    rows = Delivery.objects.exclude(message=Delivery.objects.order_by("pk").first().message)
    times = {}
    for message, at in rows.values_list("message", "next_attempt_at"):
        times.setdefault(message, set()).add(at)
    return times


def _some_mail():
    """Store a message that fills the first wave, and others of five recipients."""
    stored(*(f"{number}@first.example" for number in range(20)))
    for message in range(20):
        stored(*(f"{number}@m{message}.example" for number in range(5)))


def test_what_is_parked_comes_back_message_by_message():
    """The waves over which a backlog comes back are of messages."""
    _some_mail()
    at = ledger.now()
    assert ledger.park("default", at + timedelta(minutes=15), at) == 120
    times = _due_times()
    assert all(len(each) == 1 for each in times.values())
    assert len(set.union(*times.values())) > 5


def test_what_was_claimed_rests_message_by_message():
    """So do those of rows that a drain had in hand."""
    _some_mail()
    lease, rows = claimed(limit=200)
    assert ledger.rest(lease, rows, ledger.now() + timedelta(minutes=15)) == 120
    times = _due_times()
    assert all(len(each) == 1 for each in times.values())
    assert len(set.union(*times.values())) > 5
