"""What the tests of booking begin with."""

from __future__ import annotations

import pytest
from django.utils import timezone

from django_smtpx import ledger, returnpaths
from django_smtpx.bounces import read
from django_smtpx.config import secret_keys
from tests.factories import booking, claimed, result, stored


@pytest.fixture
def sent():
    """Return a function that stores a mail and lets it be sent, or end in another way."""

    def run(*recipients, status="sent", **values):
        message = stored(*(recipients or ("ann@example.com",)), **values)
        lease, rows = claimed()
        ours = [row for row in rows if row.message == message.pk]
        ledger.settle(lease, [booking(row, status, **_answer(row, status)) for row in ours])
        return message

    return run


def _answer(row, status):
    outcome = {"sent": "sent", "failed": "failed", "deferred": "deferred"}.get(status, "unknown")
    category = {"unknown": "unknown_outcome"}.get(outcome)
    return {
        "result": result(row.recipient, outcome, **({"category": category} if category else {}))
    }


def path_of(message):
    """Return a message's return path."""
    return returnpaths.filled("bounce+{uuid}@site.example", message.uuid, secret_keys())


def book(data, *recipients):
    """Book a report, and return what came of each part of it."""
    return [one.fact.value for one in ledger.book_report(read(data), recipients, timezone.now())]
