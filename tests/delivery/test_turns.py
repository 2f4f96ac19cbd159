"""What is new and what was tried before take turns."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.mail import EmailMessage
from django.db import connection
from django.utils import timezone

from django_smtpx import delivery, ledger
from django_smtpx.config import get_mailer
from django_smtpx.delivery import course
from django_smtpx.models import Delivery
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue
from tests.factories import stored
from tests.ledger.crowds import crowd

pytestmark = pytest.mark.django_db(transaction=True)

Lane = Delivery.Lane


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    default_pool.close()
    monkeypatch.setattr(course, "BATCH", 2)
    yield
    default_pool.close()


def send(name):
    """Send one mail."""
    EmailMessage("Hello", "Hello", "from@example.com", [f"{name}@example.com"]).send()


def put_off(count):
    """Send so many mails that were tried before, and have come due."""
    for number in range(count):
        send(f"old{number}")
    Delivery.objects.update(lane=Lane.IDLE, status="deferred", attempt_count=1)
    # SQLite's clock has milliseconds, and the last of them may be of this one.
    assert ledger.promote(ledger.now() + timedelta(seconds=1)) == count
    assert set(Delivery.objects.values_list("lane", flat=True)) == {Lane.AGAIN}


def order_of(server):
    """Return who got mail, in order."""
    return [one.recipients[0].partition("@")[0] for one in server.messages]


def test_new_mail_goes_before_a_wave_of_retries():
    """However many have come due, what is new does not wait behind them."""
    with ScriptedServer() as server, real_queue(server):
        put_off(7)
        send("new")
        assert delivery.drain(get_mailer("default")) == 8
        assert order_of(server) == ["new", *(f"old{number}" for number in range(7))]


def test_both_go_on_where_both_have_mail():
    """Batch by batch: a newsletter does not hold up retries for ever, either."""
    with ScriptedServer() as server, real_queue(server):
        put_off(5)
        for number in range(5):
            send(f"new{number}")
        assert delivery.drain(get_mailer("default")) == 10
        kinds = [name[:3] for name in order_of(server)]
    assert kinds == ["new", "new", "old", "old", "new", "new", "old", "old", "new", "old"]


def test_new_mail_that_comes_meanwhile_waits_for_one_batch(monkeypatch):
    """The drain that is at work looks for it before it takes the next retries."""
    claim = ledger.claim
    claims = []

    def watched(*args, **values):
        lease, rows = claim(*args, **values)
        claims.append([row.recipient for row in rows])
        if len([one for one in claims if one]) == 1 and rows:
            send("new")
        return lease, rows

    with ScriptedServer() as server, real_queue(server), monkeypatch.context() as patched:
        put_off(6)
        patched.setattr(ledger, "claim", watched)
        assert delivery.drain(get_mailer("default")) == 7
        assert order_of(server)[:4] == ["old0", "old1", "new", "old2"]


@pytest.mark.skipif(connection.vendor == "mysql", reason="The crowd is made in others' SQL.")
def test_ten_thousand_retries_that_come_due_are_another_lane():
    """The claim that comes first reads what is new alone."""
    crowd(10_000, lane=Lane.IDLE, status="deferred", attempt_count=1)
    message = stored()
    assert ledger.promote(timezone.now()) == 10_000
    _, rows = ledger.claim("default", 100, 300.0)
    assert [row.message for row in rows] == [message.pk]
    _, rows = ledger.claim("default", 100, 300.0, lane=Lane.AGAIN)
    assert len(rows) == 100


def test_what_is_suspected_still_goes_alone():
    """A row that has lost its lease twice is claimed by itself, tried before or not."""
    stored().deliveries.update(lane=Lane.IDLE, leases_lost=2, attempt_count=3, status="deferred")
    assert ledger.promote(timezone.now()) == 1
    assert Delivery.objects.get().lane == Lane.ALONE
