"""The log's record of each attempt: what it says, when, and that it can break nothing."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import telling
from django_smtpx.models import Delivery
from django_smtpx.signals import delivery_sent
from tests.factories import booking, claimed, result, stored

pytestmark = pytest.mark.django_db

DOCS = Path(__file__).parents[2] / "docs" / "observe.md"


@pytest.fixture
def records(caplog):
    """Listen to the attempts' logger."""
    caplog.set_level(logging.INFO, logger="django_smtpx.delivery")
    return lambda: [one for one in caplog.records if hasattr(one, "smtpx_delivery")]


def test_each_attempt_has_a_record(records, django_capture_on_commit_callbacks):
    """After the commit, with what the server said, and when it is tried again."""
    message = stored("a@example.com")
    lease, rows = claimed()
    again = timezone.now() + timedelta(minutes=5)
    reply = result("a@example.com", "deferred", code=450, enhanced_code="4.2.0", reply="not\nnow")
    one = booking(rows[0], "deferred", result=reply, next_attempt_at=again, duration=0.25)
    with django_capture_on_commit_callbacks(execute=True):
        ledger.settle(lease, [one])
        assert records() == []
    (record,) = records()
    assert record.getMessage() == (
        f"Attempt 1 of delivery {rows[0].pk} (default to example.com): deferred, 450 4.2.0 not now"
    )
    said = {name: getattr(record, f"smtpx_{name}") for name in telling.FIELDS}
    assert said["age"] >= 0.25
    assert said == said | {
        "delivery": rows[0].pk,
        "message": str(message.uuid),
        "mailer": "default",
        "domain": "example.com",
        "attempt": 1,
        "outcome": "deferred",
        "status": "deferred",
        "code": 450,
        "enhanced_code": "4.2.0",
        "reply": "not\nnow",
        "host": "mx.example.com",
        "ip": "192.0.2.1",
        "port": 25,
        "duration": 0.25,
        "next_attempt_at": again.isoformat(),
    }
    assert record.levelno == logging.INFO


def test_a_record_names_no_recipient_and_no_content(records, django_capture_on_commit_callbacks):
    """What the server itself says is all that can."""
    stored("secret-person@example.com", subject="Secret subject", from_header="boss@example.com")
    lease, rows = claimed()
    answer = result("secret-person@example.com", reply="Ok")
    with django_capture_on_commit_callbacks(execute=True):
        ledger.settle(lease, [booking(rows[0], result=answer)])
    (record,) = records()
    for word in ("secret", "boss"):
        assert word not in str(record.__dict__).lower()


def test_what_changed_nothing_yet_is_an_attempt_too(records, django_capture_on_commit_callbacks):
    """A host that failed before another one is tried."""
    stored()
    lease, rows = claimed()
    with django_capture_on_commit_callbacks(execute=True):
        ledger.note(lease, [booking(rows[0], "deferred")])
        ledger.settle(lease, [booking(rows[0].tried_once_more())])
    assert [one.smtpx_attempt for one in records()] == [1, 2]


def test_a_lost_lease_is_on_record(records, django_capture_on_commit_callbacks):
    """The sweep books it as unknown, and says so."""
    stored()
    lease, rows = claimed()
    ledger.mark(lease, rows)
    with django_capture_on_commit_callbacks(execute=True):
        assert ledger.reclaim(lease.now() + timedelta(hours=1)) == 1
    (record,) = records()
    assert (record.smtpx_outcome, record.smtpx_category) == ("unknown", "unknown_outcome")


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_told(records):
    """It did not happen."""
    stored()
    lease, rows = claimed()
    with transaction.atomic():
        ledger.settle(lease, [booking(rows[0])])
        transaction.set_rollback(True)
    assert records() == []


@pytest.mark.django_db(transaction=True)
def test_a_filter_that_raises_breaks_nothing(records):
    """The outcome stands, and the signals are told."""

    def fail(record):
        raise RuntimeError("a site's own")

    heard = []

    def hear(sender, delivery, attempt, **_):
        heard.append(attempt.number)

    logger = logging.getLogger("django_smtpx.delivery")
    logger.addFilter(fail)
    delivery_sent.connect(hear)
    try:
        stored()
        lease, rows = claimed()
        assert ledger.settle(lease, [booking(rows[0])]) == 1
    finally:
        logger.removeFilter(fail)
        delivery_sent.disconnect(hear)
    assert Delivery.objects.get().status == "sent"
    assert heard == [1]


def test_nobody_listens(caplog, django_capture_on_commit_callbacks):
    """Where the level is above INFO, as it is by default, nothing is put together."""
    caplog.set_level(logging.WARNING, logger="django_smtpx.delivery")
    stored()
    lease, rows = claimed()
    with django_capture_on_commit_callbacks(execute=True):
        ledger.settle(lease, [booking(rows[0])])
    assert not [one for one in caplog.records if hasattr(one, "smtpx_delivery")]


@pytest.mark.parametrize("name", telling.FIELDS)
def test_each_field_is_documented(name):
    """Under the name that it has in the record."""
    assert f"| `smtpx_{name}` |" in DOCS.read_text(encoding="utf-8")
