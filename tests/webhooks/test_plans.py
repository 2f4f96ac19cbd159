"""A claim reads what it takes, however much waits for other reasons or has been told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from django_smtpx import ledger
from tests.ledger.crowds import analyze, events, reading

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor == "mysql", reason="It says less of its plans."),
]

COUNT = 3_000
FEW = 300
DAY = timedelta(days=1)


def crowd(count, now):
    """Insert what has been told, what waits for later, for another endpoint, and what is due."""
    events(count, "crm", state="done", next_attempt_at=None, done_at=now)
    events(count, "crm", next_attempt_at=now + DAY)
    events(count, "other")
    events(count, "crm", next_attempt_at=now - DAY)


@pytest.mark.parametrize("statistics", ["stale", "fresh"])
def test_what_a_claim_reads(statistics):
    """Along the index of what is due, and that of a delivery's events.

    (PostgreSQL that has never analyzed the table puts all that is due in order; it does so within
    a minute of the first events.)
    """
    now = timezone.now()
    if statistics == "stale":
        crowd(COUNT // 10, now)
        analyze()
    crowd(COUNT, now)
    if statistics == "fresh":
        analyze()
    with reading() as read:
        assert ledger.due_endpoints(["crm"], now) == ["crm"]
        assert ledger.posting_now("crm", now) == 0
        lease, claimed = ledger.claim_events("crm", 20, 300.0)
        ledger.release_events("crm", lease)
    assert len(claimed) == 20
    assert len(read.plans) >= 4
    for plan in read.plans:
        assert "SCAN django_smtpx" not in plan, plan
    assert read.rows <= FEW, read.text
