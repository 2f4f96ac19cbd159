"""What the sweep does with rows that nobody is sending."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import upkeep
from django_smtpx.models import Attempt, Delivery, Turn
from django_smtpx.signals import delivery_failed, delivery_unknown
from django_smtpx.testing import real_queue
from tests.factories import claimed, statuses, stored

Lane = Delivery.Lane

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _mailers():
    with real_queue(host="127.0.0.1", port=1):
        yield


def lane():
    """Return the lane of the only delivery."""
    return Delivery.objects.get().lane


def test_promote_moves_what_is_due_and_nothing_else():
    """Only what has come due becomes ready."""
    at = timezone.now()
    stored(send_at=at + HOUR)
    assert ledger.promote(at) == 0
    assert ledger.promote(at + HOUR) == 1
    assert lane() == Delivery.Lane.READY


def test_promote_works_in_batches(monkeypatch):
    """More than a batch is promoted too."""
    monkeypatch.setattr(upkeep, "_BATCH", 2)
    at = timezone.now()
    stored(*[f"{n}@example.com" for n in range(5)], send_at=at + HOUR)
    assert ledger.promote(at + HOUR) == 5


def test_time_behind_a_pause_does_not_count():
    """What rested with its mailer is as young as before when it comes back."""
    stored()
    at = timezone.now()
    age_from = Delivery.objects.get().age_from
    assert ledger.park("default", at + HOUR, at) == 1
    assert ledger.promote(at + HOUR / 2) == 0
    assert ledger.promote(at + HOUR) == 1
    row = Delivery.objects.get()
    assert row.lane == Delivery.Lane.READY
    assert row.parked_at is None
    assert abs(row.age_from - (age_from + HOUR)) < timedelta(seconds=1)


def test_parked_for_a_person_waits():
    """A mailer that a person holds has no time at which its mail comes back."""
    stored()
    at = timezone.now()
    ledger.park("default", None, at)
    assert ledger.promote(at + 1000 * HOUR) == 0
    assert ledger.unpark("default", at + HOUR) == 1
    row = Delivery.objects.get()
    assert (row.lane, row.next_attempt_at) == (Delivery.Lane.READY, at + HOUR)
    assert (row.age_from, row.parked_at) == (row.message.created_at + HOUR, None)


def test_unpark_leaves_scheduled_retries_alone():
    """A retry by its own schedule does not come earlier because its mailer recovered."""
    at = timezone.now()
    stored(send_at=at + HOUR)
    assert ledger.unpark("default", at) == 0


def test_expire_ends_what_waits_too_long():
    """Beyond its expires_at a waiting delivery is failed/expired, told, and its message settled."""
    told = []

    def receiver(delivery, attempt, **kwargs):
        told.append((delivery.category, attempt))

    at = timezone.now()
    message = stored(expires_at=at + HOUR)
    assert ledger.expire(at) == 0
    delivery_failed.connect(receiver)
    try:
        assert ledger.expire(at + HOUR) == 1
    finally:
        delivery_failed.disconnect(receiver)
    row = Delivery.objects.get()
    assert (row.status, row.category, row.lane) == ("failed", "expired", Delivery.Lane.OUT)
    message.refresh_from_db()
    assert message.settled_at is not None


def test_expire_leaves_what_is_being_sent():
    """A delivery under a lease is not expired beneath it."""
    at = timezone.now()
    stored(expires_at=at + HOUR)
    claimed()
    assert ledger.expire(at + 2 * HOUR) == 0
    assert statuses() == ["sending"]


def test_what_is_marked_while_the_sweep_looks_may_have_left(monkeypatch):
    """By a worker whose clock says that its lease holds: it is not taken back as not begun."""
    stored()
    lease, rows = claimed()
    at = lease.now() + HOUR
    take_back = upkeep._take_back

    def late(*args, **values):
        assert ledger.mark(lease, rows)
        return take_back(*args, **values)

    with monkeypatch.context() as patch:
        patch.setattr(upkeep, "_take_back", late)
        assert ledger.reclaim(at) == 0
    assert statuses() == ["sending"]
    assert ledger.reclaim(at) == 1
    assert Attempt.objects.get().outcome == "unknown"


def test_reclaim_waits_for_the_end_of_the_lease():
    """A lease that holds is not touched."""
    stored()
    lease, _ = claimed()
    assert ledger.reclaim(lease.now()) == 0
    assert statuses() == ["sending"]


def test_unmarked_comes_back_as_if_never_claimed():
    """What had not left is ready again, without an attempt."""
    stored()
    lease, _ = claimed()
    assert ledger.reclaim(lease.now() + HOUR) == 1
    row = Delivery.objects.get()
    assert (row.status, row.lane, row.leases_lost) == ("queued", Delivery.Lane.READY, 1)
    assert not Attempt.objects.exists()


def test_marked_is_unknown_and_sent_again():
    """With on_unknown=retry a marked delivery gets an unknown attempt and a next time."""
    stored()
    lease, rows = claimed()
    ledger.mark(lease, rows)
    at = lease.now() + HOUR
    assert ledger.reclaim(at) == 1
    row = Delivery.objects.get()
    assert (row.status, row.category, row.unknowns) == ("deferred", "unknown_outcome", 1)
    assert row.next_attempt_at > at
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.phase, attempt.number) == ("unknown", "eod", 1)
    assert attempt.action == "retry"


def test_marked_is_held_when_asked():
    """With on_unknown=hold a person decides about it, at once."""
    with real_queue(host="127.0.0.1", port=1, on_unknown="hold"):
        stored()
        lease, rows = claimed()
        ledger.mark(lease, rows)
        ledger.reclaim(lease.now() + HOUR)
    row = Delivery.objects.get()
    assert (row.status, row.next_attempt_at, row.settled_at) == ("unknown", None, None)
    assert Attempt.objects.get().action == "hold"


def test_marked_of_a_mailer_that_is_gone_waits_for_a_person():
    """Without its configuration nobody knows what to do with an unknown outcome."""
    stored(mailer="gone")
    lease, rows = claimed(mailer="gone")
    ledger.mark(lease, rows)
    ledger.reclaim(lease.now() + HOUR)
    assert statuses() == ["unknown"]


def test_a_row_that_cannot_be_taken_back_holds_up_no_other():
    """A number of an attempt that is taken, however that came, stops the sweep for nobody else."""
    broken = stored("broken@example.com").deliveries.get()
    stored("a@example.com")
    lease, rows = claimed()
    ledger.mark(lease, rows)
    Attempt.objects.create(
        delivery=broken,
        number=1,
        started_at=lease.now(),
        outcome="deferred",
        category="other_temporary",
        action="retry",
    )
    assert ledger.reclaim(lease.now() + HOUR) == 1
    assert statuses() == ["sending", "deferred"]


def test_a_poison_message_is_claimed_alone_and_then_given_up():
    """Twice lost it goes alone; three times lost it is failed, with the reason."""
    stored()
    at = timezone.now()
    lanes = []
    for lane_now in (Delivery.Lane.READY, Delivery.Lane.READY, Delivery.Lane.ALONE):
        ledger.claim("default", 1, 60.0, lane=lane_now)
        at += HOUR
        ledger.reclaim(at)
        lanes.append(lane())
    row = Delivery.objects.get()
    assert lanes == [Delivery.Lane.READY, Delivery.Lane.ALONE, Delivery.Lane.OUT]
    assert (row.status, row.category) == ("failed", "other_permanent")
    assert "3 times" in row.reply
    assert Attempt.objects.get().outcome == "failed"


def test_what_was_lost_together_comes_back_together():
    """The recipients of one message are due at one moment, as one transaction and not as many."""
    stored(*(f"{number}@example.com" for number in range(5)))
    lease, rows = claimed()
    ledger.mark(lease, rows)
    Delivery.objects.update(lease_expires_at=lease.now() - HOUR)
    assert ledger.reclaim(lease.now()) == 5
    assert Delivery.objects.values("next_attempt_at").distinct().count() == 1


def test_a_poison_message_that_was_marked_is_unknown():
    """If its content may have left, it is never said to have failed."""
    stored().deliveries.update(leases_lost=2, lane=Delivery.Lane.ALONE)
    lease, rows = ledger.claim("default", 1, 60.0, lane=Delivery.Lane.ALONE)
    ledger.mark(lease, rows)
    ledger.reclaim(lease.now() + HOUR)
    assert statuses() == ["unknown"]
    assert Attempt.objects.get().action == "hold"


def test_an_unknown_from_a_dead_worker_is_told():
    """The signal of an unknown outcome is sent for the sweep's finding too."""
    told = []

    def receiver(delivery, attempt, **kwargs):
        told.append((delivery.status, attempt.outcome))

    stored()
    lease, rows = claimed()
    ledger.mark(lease, rows)
    delivery_unknown.connect(receiver)
    try:
        with _committing():
            ledger.reclaim(lease.now() + HOUR)
    finally:
        delivery_unknown.disconnect(receiver)
    assert told == [("deferred", "unknown")]


def _committing():
    from django.test import TestCase

    return TestCase.captureOnCommitCallbacks(execute=True)


def test_a_turn_is_taken_once_an_interval():
    """One process runs a periodic job, the others see that it ran."""
    at = timezone.now()
    assert ledger.take_turn("sweep", 10, at)
    assert not ledger.take_turn("sweep", 10, at + timedelta(seconds=9))
    assert ledger.take_turn("sweep", 10, at + timedelta(seconds=10))
    assert Turn.objects.count() == 1


def test_a_turn_from_a_wrong_clock_does_not_block():
    """A time far in the future, from a clock that was wrong, is taken back."""
    at = timezone.now()
    ledger.take_turn("sweep", 10, at + timedelta(days=400))
    assert ledger.take_turn("sweep", 10, at)
