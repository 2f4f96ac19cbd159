"""A person and the workers at the same deliveries in the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from django_smtpx import ledger
from django_smtpx.ledger import Selection, steering
from django_smtpx.models import Attempt, Delivery, Message
from django_smtpx.testing import real_queue
from tests.factories import booking, claimed, statuses, stored

pytestmark = pytest.mark.django_db(transaction=True)

ALL = Selection(mailer="default")


@pytest.fixture(autouse=True)
def _mailers():
    with real_queue(host="127.0.0.1", port=1):
        yield


def together(*work):
    """Run each piece of work in a thread with a connection of its own, and return what came."""

    def run(one):
        try:
            return one()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result() for future in [pool.submit(run, one) for one in work]]


def send_all():
    """Claim and settle until nothing is ready, as a worker does, and count."""
    count = 0
    while True:
        lease, rows = claimed(7)
        if not rows:
            return count
        assert ledger.mark(lease, rows)
        count += ledger.settle(lease, [booking(row) for row in rows])


def test_cancel_beside_workers(monkeypatch):
    """Each delivery is sent once or cancelled, and every message knows that it is over."""
    monkeypatch.setattr(steering, "_BATCH", 5)
    for number in range(20):
        stored(*[f"{number}-{n}@example.com" for n in range(5)])

    def cancel():
        return ledger.cancel(ALL, ledger.now()).count

    *sent, cancelled = together(send_all, send_all, cancel)
    assert sum(sent) + cancelled == 100
    assert statuses().count("sent") == sum(sent) == Attempt.objects.count()
    assert statuses().count("cancelled") == cancelled
    assert not Message.objects.filter(settled_at=None).exists()


def test_retry_beside_workers(monkeypatch):
    """What is made due is sent once; what is due already is not made due under a worker's hand."""
    monkeypatch.setattr(steering, "_BATCH", 5)
    for number in range(20):
        stored(*[f"{number}-{n}@example.com" for n in range(5)])
    keys = list(Delivery.objects.values_list("pk", flat=True))
    Delivery.objects.filter(pk__in=keys[::2]).update(status="failed", lane=0)
    Delivery.objects.filter(pk__in=keys[1::2]).update(status="deferred", attempt_count=0)

    def retry():
        return ledger.retry(ALL, ledger.now())

    first, second, *_ = together(retry, retry, send_all, send_all)
    send_all()
    assert statuses() == ["sent"] * 100
    assert Attempt.objects.count() == 100
    assert set(keys[::2]) <= {*first.deliveries, *second.deliveries}
    assert not Message.objects.filter(settled_at=None).exists()


def test_a_message_is_not_over_while_one_delivery_is_made_due():
    """Who settles the last other delivery meanwhile does not end the message over our head."""
    for number in range(20):
        stored(f"{number}-a@example.com", f"{number}-b@example.com")
    failed = Delivery.objects.filter(recipient__contains="-a@")
    failed.update(status="failed", lane=0, settled_at=ledger.now())
    keys = tuple(failed.values_list("pk", flat=True))

    def retry_each():
        return sum(ledger.retry(Selection(ids=(key,)), ledger.now()).count for key in keys)

    def send_the_others():
        lease, rows = claimed(100)
        others = [row for row in rows if row.pk not in keys]
        for row in others:
            ledger.settle(lease, [booking(row)])
        ledger.release(lease, [row for row in rows if row.pk in keys])

    retried, _ = together(retry_each, send_the_others)
    assert retried == 20
    assert sorted(statuses()) == ["queued"] * 20 + ["sent"] * 20
    assert not Message.objects.exclude(settled_at=None).exists()
    assert send_all() == 20
    assert not Message.objects.filter(settled_at=None).exists()
