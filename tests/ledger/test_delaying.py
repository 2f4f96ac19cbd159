"""Deliveries that wait for long are told of, each notice once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.delivery import idle
from django_smtpx.ledger import delaying
from django_smtpx.models import Delivery, Message
from django_smtpx.signals import delivery_delayed, delivery_failed
from django_smtpx.testing import real_queue
from tests.factories import booking, claimed, composed, result, stored

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _mailers():
    with real_queue(host="127.0.0.1", port=1):
        yield


@pytest.fixture
def told():
    """Collect whose delays are told, with the number of the attempt."""
    heard = []

    def receiver(sender, delivery, attempt, **kwargs):
        heard.append((delivery.recipient, attempt.number if attempt else None))

    delivery_delayed.connect(receiver)
    yield heard
    delivery_delayed.disconnect(receiver)


@pytest.fixture
def noticed(django_capture_on_commit_callbacks):
    """Look for delays at a time, commit, and return how many were found."""

    def notice(at):
        with django_capture_on_commit_callbacks(execute=True):
            return ledger.notice_delays(at)

    return notice


def due(message):
    """Return the time that delays of ``message`` are counted from."""
    return max(message.created_at, message.send_at or message.created_at)


def notice_at():
    """Return the only delivery's next notice."""
    return Delivery.objects.get().delay_notice_at


def test_two_notices_and_no_more(told, noticed):
    """After 15 minutes, after 3 hours, and never again."""
    message = stored()
    at = due(message)
    assert notice_at() == at + 15 * MINUTE
    counts = [noticed(at + wait) for wait in (14 * MINUTE, 15 * MINUTE, 16 * MINUTE, 179 * MINUTE)]
    assert counts == [0, 1, 0, 0]
    assert notice_at() == at + 3 * HOUR
    assert [noticed(at + wait) for wait in (3 * HOUR, 4 * HOUR, 400 * HOUR)] == [1, 0, 0]
    assert notice_at() is None
    assert told == [("to@example.com", None)] * 2


def test_it_counts_from_send_at(told, noticed):
    """What is to be sent tomorrow is not late today."""
    at = timezone.now()
    message = stored(send_at=at + 24 * HOUR)
    assert noticed(at + 23 * HOUR) == 0
    assert noticed(message.send_at + 14 * MINUTE) == 0
    assert noticed(message.send_at + 15 * MINUTE) == 1
    assert notice_at() == message.send_at + 3 * HOUR
    assert noticed(message.send_at + 3 * HOUR) == 1


def test_a_send_at_in_the_past_counts_from_now():
    """What is stored late was not late before."""
    message = stored(send_at=timezone.now() - HOUR)
    assert notice_at() == message.created_at + 15 * MINUTE


def test_the_first_notice_is_left_out_after_a_long_outage(told, noticed):
    """A sweep that runs for the first time after hours tells of each delivery once."""
    message = stored()
    assert noticed(due(message) + 5 * HOUR) == 1
    assert noticed(due(message) + 6 * HOUR) == 0
    assert len(told) == 1


def test_parked_held_and_deferred_ones_are_told(told, noticed):
    """Whatever keeps a delivery waiting, it waits."""
    message = stored("held@example.com", "parked@example.com", "tried@example.com")
    at = due(message)
    lease, claims = claimed()
    answer = result("tried@example.com", "deferred", code=450)
    bookings = [
        booking(row, "deferred", result=answer, next_attempt_at=at + 9 * HOUR)
        for row in claims
        if row.recipient == "tried@example.com"
    ]
    ledger.settle(lease, bookings)
    ledger.release(lease, claims)
    rows = Delivery.objects.filter(status="queued")
    rows.filter(recipient="held@example.com").update(
        lane=0, status="deferred", next_attempt_at=None
    )
    assert ledger.park("default", at + HOUR, at) == 1
    assert noticed(at + 15 * MINUTE) == 3
    assert sorted(told) == [
        ("held@example.com", None),
        ("parked@example.com", None),
        ("tried@example.com", 1),
    ]


def test_the_latest_attempt_is_told(told, noticed):
    """Of several attempts the last one says how it stands."""
    message = stored()
    for _ in range(2):
        lease, rows = claimed()
        answer = result(outcome="deferred", code=450)
        now = timezone.now()
        ledger.settle(lease, [booking(rows[0], "deferred", result=answer, next_attempt_at=now)])
        ledger.promote(now + MINUTE)
    assert noticed(due(message) + HOUR) == 1
    assert told == [("to@example.com", 2)]


@pytest.mark.parametrize("status", ["sent", "failed", "unknown"])
def test_what_has_an_end_is_not_told(told, noticed, status):
    """Settled, or waiting for a person to judge it: there is nothing to tell of."""
    message = stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0], status)])
    assert notice_at() is None
    assert noticed(due(message) + HOUR) == 0
    assert told == []


def test_what_expired_is_not_told(noticed):
    """An end by expires_at ends the notices too."""
    message = stored(expires_at=timezone.now() + HOUR)
    assert ledger.expire(due(message) + HOUR) == 1
    assert notice_at() is None
    assert noticed(due(message) + 3 * HOUR) == 0


@pytest.mark.parametrize(("on_unknown", "status"), [("hold", "unknown"), ("retry", "deferred")])
def test_a_lost_lease_keeps_the_notice_of_what_still_waits(on_unknown, status):
    """Lost and given to a person there is none; lost and to be sent again there is."""
    with real_queue(host="127.0.0.1", port=1, on_unknown=on_unknown):
        stored()
        lease, rows = claimed()
        assert ledger.mark(lease, rows)
        ledger.reclaim(lease.now() + HOUR)
    row = Delivery.objects.get()
    assert (row.status, row.delay_notice_at is None) == (status, status == "unknown")


def test_what_is_being_sent_is_left_to_the_next_sweep(told, noticed):
    """A row under a lease is not told of, and not forgotten either."""
    message = stored()
    lease, rows = claimed()
    at = due(message) + 20 * MINUTE
    assert noticed(at) == 0
    ledger.release(lease, rows)
    assert noticed(at) == 1
    assert told == [("to@example.com", None)]


def test_mail_of_now_mode_has_no_notice():
    """It never waits: its caller has the answer."""
    ledger.store([("default", composed())], mode=Message.Mode.NOW)
    assert notice_at() is None


@pytest.mark.parametrize("status", ["cancelled", "suppressed", "failed"])
def test_a_leftover_notice_is_cleared_and_not_told(told, noticed, status):
    """An end that somebody wrote without clearing the time costs no later sweep anything."""
    message = stored()
    Delivery.objects.update(status=status)
    assert noticed(due(message) + HOUR) == 0
    assert notice_at() is None
    assert told == []


def test_what_a_person_made_due_anew_has_new_notices(told, noticed):
    """They count from then, though the message is old."""
    stored()
    at = timezone.now() + 100 * HOUR
    Delivery.objects.update(age_from=at, delay_notice_at=at + 15 * MINUTE)
    assert [noticed(at + wait) for wait in (15 * MINUTE, HOUR, 3 * HOUR)] == [1, 0, 1]
    assert notice_at() is None


def test_a_rest_behind_a_pause_does_not_move_the_notices(told, noticed):
    """The age starts later after a pause; the delay is what the sender sees."""
    message = stored()
    at = due(message)
    ledger.park("default", at + HOUR, at)
    assert noticed(at + 15 * MINUTE) == 1
    ledger.promote(at + HOUR)
    assert notice_at() == at + 3 * HOUR
    assert noticed(at + 3 * HOUR) == 1


def test_batches_are_bounded_and_all_are_told(told, noticed, monkeypatch):
    """More than a batch is told of too, each once."""
    monkeypatch.setattr(delaying, "_BATCH", 2)
    message = stored(*[f"{n}@example.com" for n in range(5)])
    assert noticed(due(message) + 15 * MINUTE) == 5
    assert sorted(told) == [(f"{n}@example.com", None) for n in range(5)]


def test_rows_are_loaded_only_for_somebody(noticed):
    """Without a receiver no delivery is read in full; the times move on all the same."""
    message = stored()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert noticed(due(message) + 15 * MINUTE) == 1
    assert not [query for query in queries if "subject" in query["sql"]]
    assert notice_at() == due(message) + 3 * HOUR


def test_who_listens_for_outcomes_alone_loads_nothing(noticed):
    """The delay has a signal of its own, and its own question whether anybody listens."""

    def receiver(**kwargs):
        raise AssertionError("A delay was told as a failure.")

    message = stored()
    delivery_failed.connect(receiver)
    try:
        with CaptureQueriesContext(connection) as queries:
            assert noticed(due(message) + 15 * MINUTE) == 1
    finally:
        assert delivery_failed.disconnect(receiver)
    assert not [query for query in queries if "subject" in query["sql"]]


def test_nothing_to_tell_costs_one_look():
    """A sweep that finds no delay reads once, and writes nothing."""
    message = stored()
    with CaptureQueriesContext(connection) as queries:
        assert ledger.notice_delays(due(message)) == 0
    assert len(queries) == 1


def test_the_look_goes_by_the_notices_index():
    """What is settled is not read: it has no notice, and the index is of the notices."""
    if connection.vendor != "sqlite":
        pytest.skip("The planner of the others looks at sizes, and a small table is read whole.")
    with CaptureQueriesContext(connection) as captured:
        ledger.notice_delays(timezone.now())
    (look,) = captured
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {look['sql']}")
        plan = str(cursor.fetchall())
    assert "USING INDEX smtpx_delivery_notice (delay_notice_at<?)" in plan


def test_one_line_in_the_log_for_each_mailer(noticed, caplog):
    """With counts, and without anybody's address."""
    caplog.set_level("WARNING", logger="django_smtpx.ledger")
    old = stored("a@example.com", "b@example.com")
    Message.objects.filter(pk=old.pk).update(created_at=old.created_at - 3 * HOUR)
    shift = due(old) - 3 * HOUR
    Delivery.objects.filter(message=old).update(age_from=shift, delay_notice_at=shift + 3 * HOUR)
    stored("c@example.com")
    stored("d@example.com", mailer="direct")
    assert noticed(timezone.now() + 15 * MINUTE) == 4
    assert caplog.messages == [
        "1 delivery of mailer 'default' has waited for 15 minutes, 2 for 3 hours",
        "1 delivery of mailer 'direct' has waited for 15 minutes",
    ]
    caplog.clear()
    assert noticed(timezone.now() + 4 * HOUR) == 2
    assert caplog.messages == [
        "1 delivery of mailer 'default' has waited for 3 hours",
        "1 delivery of mailer 'direct' has waited for 3 hours",
    ]


def test_several_in_the_log(noticed, caplog):
    """Many deliveries have waited; the page on retries shows this line."""
    message = stored(*[f"{n}@example.com" for n in range(12)])
    noticed(due(message) + 15 * MINUTE)
    assert "12 deliveries of mailer 'default' have waited for 15 minutes" in caplog.messages


def test_a_batch_that_was_overtaken_is_taken_row_by_row(told, noticed, monkeypatch):
    """Another sweep took one of three: the other two are told here, and that one is not."""
    message = stored("a@example.com", "b@example.com", "c@example.com")
    at = due(message) + 15 * MINUTE
    real = delaying._due

    def overtaken(*arguments):
        batch = real(*arguments)
        Delivery.objects.filter(recipient="b@example.com").update(delay_notice_at=at + 5 * HOUR)
        return batch

    monkeypatch.setattr(delaying, "_due", overtaken)
    assert noticed(at) == 2
    assert sorted(told) == [("a@example.com", None), ("c@example.com", None)]
    assert Delivery.objects.get(recipient="b@example.com").delay_notice_at == at + 5 * HOUR


def test_a_batch_that_others_took_whole_ends_the_look(told, noticed, monkeypatch):
    """Who finds nothing left does not look again and again."""
    message = stored("a@example.com", "b@example.com")
    at = due(message) + 15 * MINUTE
    stale = delaying._due(at, "default")
    Delivery.objects.update(status="sending")
    monkeypatch.setattr(delaying, "_due", lambda *arguments: stale)
    assert noticed(at) == 0
    assert told == []
    Delivery.objects.update(status="failed")
    assert noticed(at) == 0


@pytest.mark.django_db(transaction=True)
def test_several_sweeps_tell_each_delay_once(told):
    """Threads that look at the same moment share the deliveries, none twice, none left out."""
    names = [f"{n}@example.com" for n in range(200)]
    message = stored(*names)
    at = due(message) + 15 * MINUTE
    barrier, counts = threading.Barrier(4), []

    def look():
        try:
            barrier.wait(10)
            counts.append(ledger.notice_delays(at))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(counts) == 200
    assert sorted(told) == sorted((name, None) for name in names)


@pytest.mark.django_db(transaction=True)
def test_it_is_told_after_the_commit(told):
    """A receiver sees the row as it is for everybody: with its next notice."""
    seen = []

    def receiver(delivery, **kwargs):
        seen.append((connection.in_atomic_block, delivery.delay_notice_at))

    message = stored()
    delivery_delayed.connect(receiver)
    try:
        ledger.notice_delays(due(message) + 15 * MINUTE)
    finally:
        assert delivery_delayed.disconnect(receiver)
    assert seen == [(False, due(message) + 3 * HOUR)]


def test_the_sweep_tells_of_delays(told, django_capture_on_commit_callbacks):
    """The upkeep that every sweep does looks for them."""
    message = stored()
    Message.objects.filter(pk=message.pk).update(created_at=due(message) - HOUR)
    Delivery.objects.update(delay_notice_at=due(message) - 45 * MINUTE)
    with django_capture_on_commit_callbacks(execute=True):
        idle.upkeep()
    assert told == [("to@example.com", None)]
