"""Rows of now mode."""

from __future__ import annotations

import pytest

from django_smtpx import ledger
from django_smtpx.models import Delivery, Message
from tests.factories import booking, claimed, composed, statuses

pytestmark = pytest.mark.django_db


def test_stored_claimed_and_marked():
    """No worker can take what this process is sending, and its death would be seen."""
    message, lease, rows = ledger.store_now("default", composed(("a@x.example", "b@x.example")), 60)
    assert [row.recipient for row in rows] == ["a@x.example", "b@x.example"]
    assert all(row.marked for row in rows)
    assert (message.mode, statuses()) == ("now", ["sending", "sending"])
    assert claimed()[1] == []
    assert ledger.settle(lease, [booking(row) for row in rows]) == 2


def test_a_known_key_gives_no_lease():
    """A second mail with the key is the first one."""
    first, _, _ = ledger.store_now("default", composed(idempotency_key="k"), 60)
    second, lease, rows = ledger.store_now("default", composed(idempotency_key="k"), 60)
    assert (second, lease, rows) == (first, None, [])


def test_what_failed_may_be_resumed():
    """A key whose mail failed can be used once more; one that is under way or sent cannot."""
    message, lease, rows = ledger.store_now("default", composed(idempotency_key="k"), 60)
    assert ledger.resume_now(message, 60)[1] == []
    ledger.settle(lease, [booking(row, "failed") for row in rows])
    assert ledger.resumable(message) == ("to@example.com",)
    lease, rows = ledger.resume_now(message, 60)
    assert (len(rows), rows[0].attempts) == (1, 1)
    assert Message.objects.get().settled_at is None
    ledger.settle(lease, [booking(row) for row in rows])
    assert ledger.resumable(message) == ()
    assert ledger.resume_now(message, 60)[1] == []
    assert Delivery.objects.get().status == "sent"
