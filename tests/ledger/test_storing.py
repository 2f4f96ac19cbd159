"""Mail into rows."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import rows
from django_smtpx.models import Content, Delivery, Message
from tests.factories import composed, stored

pytestmark = pytest.mark.django_db


def test_a_mail_becomes_a_message_its_content_and_a_delivery_per_recipient():
    """Everything that was composed is in the rows, and it is ready at once."""
    mail = composed(("a@Example.com", "b@example.org"), priority=5, tags=["x"], metadata={"k": 1})
    (entry,) = ledger.store([("default", mail)])
    message = Message.objects.get()
    assert entry.new
    assert entry.message == message
    assert message.content == mail.content
    assert message.size == len(mail.content)
    assert (message.tags, message.metadata, message.priority) == (["x"], {"k": 1}, 5)
    rows = message.deliveries.order_by("pk")
    assert [(r.recipient, r.domain, r.status, r.lane, r.priority) for r in rows] == [
        ("a@Example.com", "example.com", "queued", Delivery.Lane.READY, 5),
        ("b@example.org", "example.org", "queued", Delivery.Lane.READY, 5),
    ]


def test_send_at_waits_outside_the_ready_set():
    """A mail for later is not ready, and its age begins when it may be sent."""
    later = timezone.now() + timedelta(hours=1)
    row = stored(send_at=later).deliveries.get()
    assert (row.lane, row.next_attempt_at, row.age_from) == (Delivery.Lane.IDLE, later, later)


@pytest.mark.parametrize("ahead", [-60, 60])
def test_send_at_goes_by_the_databases_clock(monkeypatch, ahead):
    """A sender whose clock is a minute off lets go of nothing before its time, and delays nothing."""
    at = ledger.now()
    wrong = timezone.now() + timedelta(seconds=ahead)
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    row = stored(send_at=at + timedelta(seconds=30)).deliveries.get()
    assert (row.lane, row.next_attempt_at) == (Delivery.Lane.IDLE, at + timedelta(seconds=30))
    assert stored().deliveries.get().lane == Delivery.Lane.READY
    assert stored(send_at=at).deliveries.get().lane == Delivery.Lane.READY


def test_send_at_in_the_past_is_ready():
    """A mail whose time has come is ready at once."""
    row = stored(send_at=timezone.now() - timedelta(hours=1)).deliveries.get()
    assert row.lane == Delivery.Lane.READY


@pytest.mark.parametrize("count", [1, 20])
def test_the_number_of_statements_does_not_grow_with_the_mails(
    count, django_assert_max_num_queries
):
    """Many mails cost as many statements as one: three inserts and a savepoint."""
    mails = [("default", composed()) for _ in range(count)]
    with django_assert_max_num_queries(5):
        ledger.store(mails)
    assert Delivery.objects.count() == count


def test_a_thousand_recipients():
    """A message to a thousand people has a thousand deliveries."""
    message = stored(*[f"r{n}@example.com" for n in range(1000)])
    assert message.deliveries.count() == 1000


def test_same_idempotency_key_is_stored_once():
    """The second mail with a key is the first one."""
    first, second = (
        ledger.store([("default", composed(idempotency_key="k"))])[0] for _ in range(2)
    )
    assert (first.new, second.new) == (True, False)
    assert second.message.pk == first.message.pk
    assert (Message.objects.count(), Content.objects.count(), Delivery.objects.count()) == (1, 1, 1)


def test_same_key_twice_in_one_call():
    """Twice the same key in one call is one message."""
    entries = ledger.store([("default", composed(idempotency_key="k")) for _ in range(2)])
    assert [entry.new for entry in entries] == [True, False]
    assert Delivery.objects.count() == 1


def test_a_key_belongs_to_its_mailer():
    """Two mailers may use the same key."""
    ledger.store([("default", composed(idempotency_key="k"))])
    (entry,) = ledger.store([("other", composed(idempotency_key="k"))])
    assert entry.new


def test_keys_that_only_look_alike_are_two():
    """Whatever the database's collation takes for equal, no mail is lost to another's key."""
    keys = ("key", "KEY", "kéy", "key ", "strasse", "straße", "😀", "😁")
    for key in keys:
        stored(idempotency_key=key)
    assert Message.objects.count() == len(keys)
    assert ledger.find("default", "KEY").idempotency_key == "KEY"


@pytest.mark.django_db(transaction=True)
def test_a_key_that_a_repeatable_reader_cannot_see_is_found():
    """A duplicate that was committed after the caller's snapshot breaks nothing where it is read."""
    if connection.vendor != "mysql":
        return  # elsewhere a repeatable reader is told to begin anew, or there is one writer
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        with transaction.atomic():
            assert not Message.objects.exists()
            other = threading.Thread(target=_store_and_close, args=("k",))
            other.start()
            other.join()
            (entry,) = ledger.store([("default", composed(idempotency_key="k"))])
            assert not entry.new
    finally:
        connection.close()
    assert Message.objects.count() == 1


def _store_and_close(key):
    stored(idempotency_key=key)
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_store_that_is_tried_again_uses_no_key_twice(monkeypatch):
    """What was rolled back when the database was busy is stored anew, beside what came meanwhile."""
    commit = BaseDatabaseWrapper._commit
    busy = iter([True])

    def busy_once(database):
        if next(busy, False):
            raise OperationalError("database is locked")
        return commit(database)

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", busy_once)
    monkeypatch.setattr(rows.time, "sleep", lambda seconds: stored("meanwhile@example.com"))
    message = stored("a@example.com", idempotency_key="k")
    assert list(message.deliveries.values_list("recipient", flat=True)) == ["a@example.com"]
    assert Message.objects.count() == 2


def test_mails_with_and_without_keys_keep_their_order():
    """What comes back stands in the order of what was given."""
    mails = [composed(), composed(idempotency_key="k"), composed()]
    entries = ledger.store([("default", mail) for mail in mails])
    assert [e.message.message_id for e in entries] == [m.message_id for m in mails]


@pytest.mark.django_db(transaction=True)
def test_a_conflict_does_not_break_the_callers_transaction():
    """After a duplicate the caller's transaction goes on and commits."""
    stored(idempotency_key="k")
    with transaction.atomic():
        (entry,) = ledger.store([("default", composed(idempotency_key="k"))])
        assert not entry.new
        stored()
    assert Message.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_rolled_back_with_the_caller():
    """No row stays of a transaction that was rolled back."""
    with pytest.raises(RuntimeError), transaction.atomic():
        stored()
        raise RuntimeError
    assert not Message.objects.exists()
    assert not Content.objects.exists()


def test_find_by_key():
    """A message is found by its mailer and key alone."""
    message = stored(idempotency_key="k")
    assert ledger.find("default", "k") == message
    assert ledger.find("other", "k") is None
