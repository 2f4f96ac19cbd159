"""Each transaction of ours begins with its write; every test of this suite is watched for it."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from django_smtpx import ledger
from django_smtpx.models import Delivery
from tests.factories import booking, claimed, composed, stored
from tests.writing_first import watching

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "sqlite", reason="SQLite alone refuses to write behind a read."
    ),
]


def test_a_transaction_that_reads_first_is_found():
    """The watch can tell: by what comes first behind the beginning, and by who began it."""
    with watching("tests.") as ours, watching("elsewhere.") as others:
        with transaction.atomic():
            Delivery.objects.update(priority=1)
            Delivery.objects.count()
        assert (ours.begun, ours.found) == (1, [])
        with transaction.atomic():
            pass
        Delivery.objects.count()
        with transaction.atomic():
            Delivery.objects.count()
            Delivery.objects.update(priority=1)
        assert ours.begun == 3
        assert [sql.split()[0] for sql in ours.found] == ["SELECT"]
    assert (others.begun, others.found) == (0, [])


def test_the_way_of_a_mail_begins_each_transaction_with_its_write():
    """From store() to the purge, and where mail of now mode is sent once more."""
    with watching() as watch:
        stored(idempotency_key="k")
        stored(idempotency_key="k")
        lease, rows = claimed()
        assert ledger.mark(lease, rows)
        assert ledger.settle(lease, [booking(row) for row in rows]) == 1
        stored()
        lease, rows = claimed()
        assert ledger.release(lease, rows) == 1
        message, lease, rows = ledger.store_now("default", composed(idempotency_key="n"), 60)
        ledger.settle(lease, [booking(row, "failed") for row in rows])
        lease, rows = ledger.resume_now(message, 60)
        assert len(rows) == 1
        at = ledger.now()
        assert ledger.take_turn("sweep", 10, at)
        assert ledger.reclaim(at) == 0
        assert ledger.purge(at, at - at, at - at)[:2] == (1, 1)
    assert watch.begun >= 8
    assert watch.found == []
