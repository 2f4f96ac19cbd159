"""Outcomes into rows."""

from __future__ import annotations

import threading
from datetime import timedelta
from unittest import mock

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import settling
from django_smtpx.models import Attempt, Delivery, Message
from django_smtpx.signals import delivery_failed, delivery_sent
from django_smtpx.testing import real_queue
from tests.factories import booking, claimed, result, statuses, stored

pytestmark = pytest.mark.django_db


def test_a_sent_delivery_is_settled_with_its_attempt():
    """The row and the attempt carry what the server said."""
    message = stored()
    lease, rows = claimed()
    assert ledger.settle(lease, [booking(rows[0], duration=0.5)]) == 1
    row = Delivery.objects.get()
    assert (row.status, row.category, row.code, row.attempt_count) == ("sent", "ok", 250, 1)
    assert (row.phase, row.enhanced_code, row.host) == ("eod", "2.0.0", "mx.example.com")
    assert row.reply == "Ok: queued for to@example.com"
    assert (row.lane, row.marked, row.lease_token) == (Delivery.Lane.OUT, False, None)
    assert row.settled_at is not None
    attempt = Attempt.objects.get()
    assert (attempt.number, attempt.outcome, attempt.duration) == (1, "sent", 0.5)
    assert (attempt.ip, attempt.port, attempt.command) == ("192.0.2.1", 25, "DATA")
    message.refresh_from_db()
    assert message.settled_at is not None


def test_a_message_is_settled_with_its_last_delivery():
    """Retention counts from the last recipient, not from the first."""
    message = stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0])])
    message.refresh_from_db()
    assert message.settled_at is None
    ledger.settle(lease, [booking(rows[1], "failed")])
    message.refresh_from_db()
    assert message.settled_at is not None


def test_each_row_keeps_its_own_reply_and_time():
    """What is written together is still each row's own."""
    stored("a@example.com", "b@example.com", "c@example.com")
    lease, rows = claimed()
    base = timezone.now() + timedelta(hours=1)
    bookings = [
        booking(row, "deferred", next_attempt_at=base + timedelta(seconds=n), step=1)
        for n, row in enumerate(rows)
    ]
    ledger.settle(lease, bookings)
    for n, row in enumerate(Delivery.objects.order_by("pk")):
        assert row.reply == f"Ok: queued for {row.recipient}"
        assert row.next_attempt_at == base + timedelta(seconds=n)
        assert (row.status, row.lane, row.step) == ("deferred", Delivery.Lane.IDLE, 1)


@pytest.mark.parametrize("count", [1, 20])
def test_a_chunk_is_settled_in_a_fixed_number_of_statements(count, django_assert_max_num_queries):
    """Twenty outcomes of one kind cost as many statements as one."""
    stored(*[f"{n}@example.com" for n in range(count)])
    lease, rows = claimed()
    bookings = [booking(row) for row in rows]
    with django_assert_max_num_queries(6):
        ledger.settle(lease, bookings)
    assert set(statuses()) == {"sent"}


def test_due_now_is_ready_now():
    """A delivery that is due at once needs no sweep, and comes after what is new."""
    stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0], "deferred", next_attempt_at=lease.now())])
    assert Delivery.objects.get().lane == Delivery.Lane.AGAIN


def test_parked_rows_know_since_when():
    """A row that rests with its mailer does not age."""
    stored()
    lease, rows = claimed()
    until = timezone.now() + timedelta(minutes=1)
    ledger.settle(lease, [booking(rows[0], "deferred", next_attempt_at=until, park=True)])
    assert Delivery.objects.get().parked_at is not None


def test_nothing_is_written_over_somebody_elses_claim():
    """A worker that lost its lease changes no row and leaves no attempt."""
    stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    Delivery.objects.filter(pk=rows[0].pk).update(lease_token="0" * 32)
    assert ledger.settle(lease, [booking(row) for row in rows]) == 1
    assert statuses() == ["sending", "sent"]
    assert Attempt.objects.count() == 1


def test_a_late_250_is_booked_where_nobody_has_claimed_since():
    """After the sweep called it unknown, the server's 250 is still the truth."""
    stored()
    lease, rows = claimed()
    ledger.mark(lease, rows)
    with real_queue(host="127.0.0.1", port=1):
        ledger.reclaim(lease.now() + timedelta(seconds=400))
    assert statuses() == ["deferred"]
    assert ledger.settle(lease, [booking(rows[0])]) == 1
    assert statuses() == ["sent"]
    outcomes = Attempt.objects.order_by("number").values_list("number", "outcome")
    assert list(outcomes) == [(1, "unknown"), (2, "sent")]


def test_a_late_250_after_a_new_claim_is_not_booked():
    """Once somebody else has claimed the row, it is theirs."""
    stored()
    lease, rows = claimed()
    ledger.reclaim(lease.now() + timedelta(seconds=400))
    claimed()
    assert ledger.settle(lease, [booking(rows[0])]) == 0
    assert statuses() == ["sending"]


def test_a_late_refusal_is_not_booked():
    """Only a 250 is booked late: the row is on its way already."""
    stored()
    lease, rows = claimed()
    ledger.reclaim(lease.now() + timedelta(seconds=400))
    assert ledger.settle(lease, [booking(rows[0], "failed")]) == 0
    assert statuses() == ["queued"]


def test_settling_nothing():
    """No outcomes, no statement."""
    stored()
    lease, _ = claimed()
    assert ledger.settle(lease, []) == 0


def test_what_no_database_can_hold_is_replaced():
    """A NUL or a lone surrogate in a reply does not stop the queue."""
    stored()
    lease, rows = claimed()
    answer = result(reply="bad \0 \udcff text")
    ledger.settle(lease, [booking(rows[0], result=answer, transcript="\0")])
    assert Delivery.objects.get().reply == "bad \N{REPLACEMENT CHARACTER} ? text"


def test_a_note_counts_but_changes_nothing():
    """A host that failed before the next was tried leaves an attempt, and the claim stands."""
    stored()
    lease, rows = claimed()
    ledger.note(lease, [booking(rows[0], "deferred")])
    row = Delivery.objects.get()
    assert (row.status, row.attempt_count) == ("sending", 1)
    assert Attempt.objects.get().number == 1


def test_a_lost_lease_notes_nothing():
    """Who was stopped and wakes up uses no attempt's number of whoever has the row by now."""
    stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    Delivery.objects.filter(pk=rows[0].pk).update(status="queued")
    ledger.note(lease, [booking(row, "deferred") for row in rows])
    assert not Attempt.objects.exists()
    assert set(Delivery.objects.values_list("attempt_count", flat=True)) == {0}


@pytest.mark.django_db(transaction=True)
def test_the_last_two_deliveries_settle_at_once():
    """Neither transaction sees the other's row, and the message is settled all the same."""
    message = stored("a@example.com", "b@example.com")
    halves = [claimed(1), claimed(1)]
    # SQLite has one writer at a time.
    writers = 2 if connection.features.has_select_for_update else 1
    meet = threading.Barrier(writers, timeout=10)
    original = settling.finish_messages

    def finish(*args):
        meet.wait()
        original(*args)

    def settle(lease, rows):
        try:
            ledger.settle(lease, [booking(rows[0])])
        finally:
            connection.close()

    with mock.patch.object(settling, "finish_messages", finish):
        threads = [threading.Thread(target=settle, args=half) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    message.refresh_from_db()
    assert message.settled_at is not None


@pytest.mark.django_db(transaction=True)
def test_told_after_commit_and_a_receiver_that_raises_harms_nothing(caplog):
    """Signals come with the rows as committed; an error in one is logged, and changes nothing."""
    told = []

    def bad(**kwargs):
        raise RuntimeError("receiver")

    def good(delivery, attempt, **kwargs):
        told.append((delivery.status, attempt.outcome, delivery.message.subject))

    delivery_sent.connect(bad)
    delivery_sent.connect(good)
    delivery_failed.connect(good)
    try:
        message = stored("a@example.com", "b@example.com")
        lease, rows = claimed()
        ledger.settle(lease, [booking(rows[0]), booking(rows[1], "failed")])
    finally:
        for receiver in (bad, good):
            delivery_sent.disconnect(receiver)
        delivery_failed.disconnect(good)
    assert sorted(told) == [
        ("failed", "failed", message.subject),
        ("sent", "sent", message.subject),
    ]
    assert statuses() == ["sent", "failed"]
    assert "receiver" in caplog.text
    assert Message.objects.get().settled_at is not None


def test_settling_twice_is_settling_once():
    """A commit whose answer was lost is repeated without harm."""
    stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    bookings = [booking(row) for row in rows]
    assert ledger.settle(lease, bookings) == 2
    assert ledger.settle(lease, bookings) == 0
    assert Attempt.objects.count() == 2
    assert statuses() == ["sent", "sent"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", ["sent", "failed"])
def test_rows_are_read_for_those_outcomes_alone_that_somebody_hears_of(status):
    """A site that wants to know what failed does not pay for what was sent."""
    told = []

    def receive(delivery, attempt, **kwargs):
        told.append((delivery.status, delivery.message.subject, attempt.number))

    message = stored()
    lease, rows = claimed()
    delivery_failed.connect(receive)
    try:
        with CaptureQueriesContext(connection) as queries:
            ledger.settle(lease, [booking(row, status) for row in rows])
    finally:
        delivery_failed.disconnect(receive)
    heard = status == "failed"
    assert told == ([("failed", message.subject, 1)] if heard else [])
    assert any(query["sql"].startswith("SELECT") for query in queries) == heard
