"""Retention: what goes, what stays, and who is not waited for."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, models, transaction
from django.db.models.signals import post_delete
from django.test import override_settings
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import keeping, purging
from django_smtpx.models import (
    Attempt,
    Content,
    ContentPart,
    Delivery,
    Message,
    Suppression,
)
from tests.factories import booking, claimed, stored
from tests.storages import configured, content, mail_storage

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LARGE = content(5000)


def sent(count=1, *recipients, **values):
    """Store mails, let them be sent, and return when that was."""
    for _ in range(count):
        stored(*recipients, **values)
    lease, rows = claimed()
    ledger.settle(lease, [booking(row) for row in rows])
    return lease.now()


@pytest.fixture
def storage():
    """Return the site's storage for what is larger than 1000 bytes."""
    with override_settings(**configured()):
        yield mail_storage()


def test_content_goes_first_and_rows_later():
    """Content goes after its retention, the log after its own."""
    sent()
    waiting = stored("b@example.com", send_at=timezone.now() + HOUR)
    at = timezone.now() + 8 * DAY
    assert ledger.purge(at, 7 * DAY, 90 * DAY) == (1, 0, True)
    assert [message.content is None for message in Message.objects.order_by("pk")] == [True, False]
    assert ledger.purge(at + 90 * DAY, 7 * DAY, 90 * DAY) == (0, 1, True)
    assert list(Message.objects.all()) == [waiting]
    assert Content.objects.count() == 1


def test_no_content_outlives_its_message():
    """Where the log is kept for a shorter time, content goes with it."""
    at = sent()
    assert ledger.purge(at + 2 * HOUR, DAY, HOUR) == (1, 1, True)
    assert not Content.objects.exists()


def test_what_is_sent_again_meanwhile_stays(monkeypatch):
    """A person who is faster than the deletion keeps the message, content and all."""
    at = sent()
    original = purging.atomically

    def race(work, using):
        Message.objects.update(settled_at=None)
        return original(work, using)

    monkeypatch.setattr(purging, "atomically", race)
    assert ledger.purge(at + 10 * HOUR, HOUR, DAY) == (0, 0, True)
    assert Content.objects.count() == 1
    Message.objects.update(settled_at=at)
    assert ledger.purge(at + 10 * HOUR, HOUR, HOUR) == (0, 0, True)
    assert Message.objects.count() == 1


def test_unknown_ones_stay():
    """A message with an unknown outcome is not settled: its content stays."""
    stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0], "unknown")])
    assert ledger.purge(lease.now() + 1000 * DAY, HOUR, HOUR) == (0, 0, True)


def test_it_works_in_batches(monkeypatch):
    """More than a batch goes too, and what stays between is passed by."""
    monkeypatch.setattr(purging, "_BATCH", 2)
    monkeypatch.setattr(purging, "_KEYS", 1)
    at = sent(5)
    kept = list(Message.objects.order_by("pk")[1:3])
    Message.objects.filter(pk__in=[message.pk for message in kept]).update(settled_at=None)
    assert ledger.purge(at + 10 * HOUR, HOUR, HOUR) == (3, 3, True)
    assert list(Message.objects.order_by("pk")) == kept


def test_a_batch_that_is_young_is_the_last_one(monkeypatch):
    """What was stored after the time in question is not read, however much there is."""
    monkeypatch.setattr(purging, "_BATCH", 2)
    at = sent(1)
    Message.objects.update(created_at=at - 10 * DAY, settled_at=at - 9 * DAY)
    for _ in range(9):
        stored()
    read = []
    with connection.execute_wrapper(lambda run, sql, *rest: (read.append(sql), run(sql, *rest))[1]):
        assert ledger.purge(at, DAY, DAY) == (1, 1, True)
    table = connection.ops.quote_name(Message._meta.db_table)
    looks = [sql for sql in read if "LIMIT 2" in sql and f"FROM {table}" in sql]
    assert len(looks) == 2


@pytest.mark.parametrize(("sizes", "transactions"), [((60, 60, 60), 3), ((10, 10, 10), 1)])
def test_a_transaction_deletes_only_so_many_bytes(monkeypatch, sizes, transactions):
    """Large contents go one after the other, small ones together."""
    monkeypatch.setattr(purging, "_MOST_BYTES", 100)
    for size in sizes:
        stored(content=b"x" * size)
    lease, rows = claimed()
    ledger.settle(lease, [booking(row) for row in rows])
    done = []
    original = purging.atomically
    monkeypatch.setattr(purging, "atomically", lambda *args: done.append(1) or original(*args))
    assert ledger.purge(lease.now() + 2 * HOUR, HOUR, DAY) == (3, 0, True)
    assert len(done) == transactions


def test_it_ends_when_its_time_is_over():
    """What is left is left for the next time."""
    at = sent(2) + 10 * DAY
    assert ledger.purge(at, DAY, 2 * DAY, lambda: True) == (0, 0, False)
    answers = iter([False, True])
    assert ledger.purge(at, DAY, 2 * DAY, lambda: next(answers)) == (2, 0, False)
    assert ledger.purge(at, DAY, 2 * DAY) == (0, 2, True)


def test_recipients_and_attempts_go_with_their_message():
    """Of a message nothing stays, and of its neighbour everything."""
    sent(1, *(f"{number}@example.com" for number in range(7)))
    stays = stored("stays@example.com")
    assert Attempt.objects.count() == 7
    assert ledger.purge(timezone.now() + 10 * DAY, DAY, DAY) == (1, 1, True)
    assert not Attempt.objects.exists()
    assert [row.message for row in Delivery.objects.all()] == [stays]


def test_parts_go_with_their_content(settings, monkeypatch):
    """The parts of a large content in the database are part of it."""
    monkeypatch.setattr(keeping, "PART", 400)
    settings.SMTPX_CONTENT_INLINE_MAX = 1000
    at = sent(2, content=LARGE)
    assert ContentPart.objects.count() == 26
    assert ledger.purge(at + 2 * DAY, DAY, 9 * DAY) == (2, 0, True)
    assert not ContentPart.objects.exists()


def test_a_file_goes_when_its_row_has_gone(storage, django_capture_on_commit_callbacks):
    """Not before the commit: a purge that fails leaves no row without its file."""
    at = sent(2, content=LARGE)
    with django_capture_on_commit_callbacks(execute=True):
        assert ledger.purge(at + 2 * DAY, DAY, 9 * DAY) == (2, 0, True)
        assert len(storage.names) == 2
    assert storage.names == []


@pytest.mark.django_db(transaction=True)
def test_a_purge_that_is_cut_off_loses_no_file(storage, monkeypatch):
    """What dies before the commit has deleted nothing; what dies after it leaves a file."""
    at = sent(1, content=LARGE) + 2 * DAY

    class Killed(BaseException):
        pass

    def die(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(purging, "_delete", die)
        with pytest.raises(Killed):
            ledger.purge(at, DAY, 9 * DAY)
    assert (Content.objects.count(), len(storage.names)) == (1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(purging, "remove_files", die)
        with pytest.raises(Killed):
            ledger.purge(at, DAY, 9 * DAY)
    assert (Content.objects.count(), len(storage.names)) == (0, 1)


@pytest.mark.django_db(transaction=True)
def test_a_storage_that_is_away_stops_no_purge(storage, caplog):
    """Its file is left over, and said to be."""
    at = sent(1, content=LARGE)
    storage.fails.add("delete")
    assert ledger.purge(at + 2 * DAY, DAY, DAY) == (1, 1, True)
    assert f"The file {storage.names[0]} of the storage 'mail'" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_what_is_locked_is_not_waited_for():
    """Somebody who writes to a message at this moment keeps it until the next time."""
    if not connection.features.has_select_for_update_skip_locked:
        return  # elsewhere there is one writer, and he is waited for
    at = sent(2)
    first = Message.objects.order_by("pk")[0]
    with transaction.atomic():
        Message.objects.select_for_update().get(pk=first.pk)
        found = []
        purge = threading.Thread(target=_purge_and_close, args=(at + 10 * DAY, found))
        purge.start()
        purge.join()
    assert found == [(1, 1, True)]
    assert list(Message.objects.all()) == [first]


def _purge_and_close(at, found):
    found.append(ledger.purge(at, DAY, DAY))
    connection.close()


@pytest.mark.parametrize("model", [Message, Delivery, Attempt, Content])
def test_who_listens_is_told(model):
    """A site's receiver of Django's signals hears of each row."""
    at = sent(3)
    heard = []

    def receiver(instance, **kwargs):
        heard.append(type(instance))

    post_delete.connect(receiver, sender=model)
    try:
        assert ledger.purge(at + 2 * DAY, DAY, DAY) == (3, 3, True)
    finally:
        post_delete.disconnect(receiver, sender=model)
    assert heard == [model] * 3


def test_rows_of_the_site_are_left_to_django():
    """Where a model of the site points to one of ours, its own on_delete holds."""
    assert not purging._is_of_interest(Message)
    assert not purging._is_of_interest(Suppression)

    class Invoice(models.Model):
        mail = models.ForeignKey(Message, on_delete=models.SET_NULL, null=True)

        class Meta:
            app_label = "auth"

        def __str__(self):
            return str(self.pk)

    try:
        assert purging._is_of_interest(Message)
        assert not purging._is_of_interest(Delivery)
    finally:
        del Message._meta.apps.all_models["auth"]["invoice"]
        Message._meta.apps.clear_cache()
    assert not purging._is_of_interest(Message)


def test_no_batch_reads_what_the_one_before_it_has_read(monkeypatch):
    """Batch behind batch along the primary key, by rows that a statement touches."""
    monkeypatch.setattr(purging, "_BATCH", 2)
    at = sent(6)
    looks = []

    def look(run, sql, params, *rest):
        if sql.startswith("SELECT") and "LIMIT 2" in sql:
            looks.append(params[0])
        return run(sql, params, *rest)

    with connection.execute_wrapper(look):
        assert ledger.purge(at + 2 * DAY, DAY, 9 * DAY) == (6, 0, True)
    keys = list(Message.objects.order_by("pk").values_list("pk", flat=True))
    assert looks[:4] == [0, keys[1], keys[3], keys[5]]


def test_the_deliveries_say_when_a_message_was_settled():
    """The message's own note of it is later than what they say: they count, each of them."""
    sent()
    now = ledger.now()
    message = stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    ledger.settle(lease, [booking(row) for row in rows])
    assert ledger.purge(now, 7 * DAY, 90 * DAY) == (0, 0, True)
    Delivery.objects.filter(recipient="b@example.com").update(settled_at=now - 8 * DAY)
    assert ledger.purge(now, 7 * DAY, 90 * DAY) == (0, 0, True)
    Delivery.objects.filter(message=message).update(settled_at=now - 8 * DAY)
    assert ledger.purge(now, 7 * DAY, 90 * DAY) == (1, 0, True)
    assert not Content.objects.filter(pk=message.pk).exists()
    Delivery.objects.filter(message=message).update(settled_at=now - 91 * DAY)
    assert ledger.purge(now, 7 * DAY, 90 * DAY) == (0, 1, True)
    assert not Message.objects.filter(pk=message.pk).exists()


def test_what_is_sent_again_stays_whatever_its_deliveries_say(monkeypatch):
    """Who sends again takes the message's note away first: it is looked at as the row is locked."""
    sent()
    now = ledger.now()
    Delivery.objects.update(settled_at=now - 8 * DAY)
    original = purging.atomically

    def race(work, using):
        Message.objects.update(settled_at=None)
        return original(work, using)

    monkeypatch.setattr(purging, "atomically", race)
    assert ledger.purge(now, 7 * DAY, 90 * DAY) == (0, 0, True)
    assert Content.objects.count() == 1
