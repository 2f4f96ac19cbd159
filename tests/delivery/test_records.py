"""One record in the log for each attempt, whichever way it came about: no more, and no fewer."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.core.mail import EmailMessage
from django.db import transaction

from django_smtpx import ledger, pacing
from django_smtpx.models import Attempt, Delivery, Suppression
from django_smtpx.smtp import SMTPError
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import Close, ScriptedServer, deliver, real_queue
from tests.factories import claimed

# Records are written once an outcome is committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def records(caplog):
    """Return what was written of attempts."""
    caplog.set_level(logging.INFO, logger="django_smtpx.delivery")
    return lambda: [one for one in caplog.records if hasattr(one, "smtpx_delivery")]


def send(*to):
    """Send a mail."""
    EmailMessage("Subject", "Body", "from@example.com", list(to) or ["a@example.com"]).send()


def agree(records):
    """See that each attempt on record has one record of it, which says the same; count them."""
    rows = Attempt.objects.values_list(
        "delivery", "number", "outcome", "category", "action", "phase"
    )
    told = [
        (
            one.smtpx_delivery,
            one.smtpx_attempt,
            one.smtpx_outcome,
            one.smtpx_category,
            one.smtpx_action,
            one.smtpx_phase,
        )
        for one in records()
    ]
    assert sorted(told) == sorted(rows)
    return len(told)


@pytest.mark.parametrize("mode", ["queue", "now"])
@pytest.mark.parametrize(
    ("script", "count", "outcomes"),
    [
        ({}, 3, {"sent"}),
        ({"RCPT": ["250 ok", "550 5.1.1 No", "250 ok"]}, 3, {"sent", "failed"}),
        (
            {"RCPT": ["250 ok", "452 4.5.3 Too many", "452 4.5.3 Too many", "250 ok"]},
            5,
            {"sent", "deferred"},
        ),
        ({"MAIL": "451 4.7.1 Later"}, 3, {"deferred"}),
        ({"connect": "554 5.7.1 No"}, 3, {"deferred"}),
        ({"EOD": Close()}, 3, {"unknown"}),
    ],
    ids=["sent", "one refused", "split", "deferred", "no session", "unknown"],
)
def test_each_way_that_a_server_may_answer(records, mode, script, count, outcomes):
    """In a worker and in the calling process; what is put off to the next transaction has two."""
    with ScriptedServer(script) as server, real_queue(server, mode=mode):
        try:
            send("a@example.com", "b@example.com", "c@example.com")
        except SMTPError:
            assert mode == "now"
        deliver()
    assert agree(records) == count
    if mode == "queue":
        assert {one.smtpx_outcome for one in records()} == outcomes


def test_a_host_before_the_one_that_takes_it(records):
    """Each that was tried is an attempt."""
    with ScriptedServer() as server, real_queue(server, host=["127.0.0.2", "127.0.0.1"]):
        send()
        deliver()
    assert agree(records) == 2


def test_a_callers_transaction(records):
    """Nothing is told of before it is committed, and nothing of what was rolled back."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        with transaction.atomic():
            send()
            assert records() == []
        assert agree(records) == 1
        with transaction.atomic():
            send()
            transaction.set_rollback(True)
    assert agree(records) == 1


def test_a_lease_that_was_lost(records):
    """The sweep tells of it, in place of the worker that cannot."""
    with real_queue(host="127.0.0.1", port=1):
        send()
        lease, rows = claimed()
        ledger.mark(lease, rows)
        ledger.reclaim(lease.now() + timedelta(hours=1))
    assert agree(records) == 1


def test_mail_that_has_come_to_its_end_untried(records):
    """It has no attempt where nobody tried it, and no record."""
    with real_queue(host="127.0.0.1", port=1):
        send()
        Delivery.objects.update(expires_at=ledger.now() - timedelta(hours=1))
        ledger.expire(ledger.now())
    agree(records)


def test_an_address_on_the_suppression_list(records):
    """As little as there was an attempt."""
    Suppression.objects.create(
        address="a@example.com",
        reason="bounced",
        category="mailbox_unknown",
        created_at=ledger.now(),
    )
    with ScriptedServer() as server, real_queue(server, suppression=True):
        send("a@example.com", "b@example.com")
        deliver()
    agree(records)
