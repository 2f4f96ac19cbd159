"""Rows under a lease."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.models import Content, Delivery
from tests.factories import claimed, statuses, stored

pytestmark = pytest.mark.django_db


def test_a_claim_takes_the_most_urgent_first_and_message_by_message():
    """Higher priority goes first; recipients of one message stay together."""
    stored("low@example.com", priority=-1)
    stored("a@example.com", "b@example.com")
    stored("high@example.com", priority=9)
    _, rows = claimed(3)
    assert [row.recipient for row in rows] == ["high@example.com", "a@example.com", "b@example.com"]
    assert statuses() == ["queued", "sending", "sending", "sending"]


def test_what_is_claimed_is_not_claimed_again():
    """Two claims never share a row."""
    stored("a@example.com", "b@example.com", "c@example.com")
    _, first = claimed(2)
    _, second = claimed(2)
    assert len(first) == 2
    assert {row.pk for row in first}.isdisjoint(row.pk for row in second)
    assert claimed()[1] == []


def test_a_claim_reads_one_index():
    """Every database has the index that keeps a claim from reading, and locking, all that waits."""
    with connection.cursor() as cursor:
        indexes = connection.introspection.get_constraints(cursor, Delivery._meta.db_table)
    columns = ["lane", "mailer", "destination", "priority", "id"]
    assert indexes["smtpx_delivery_claim"]["columns"] == columns


def test_a_claim_without_skip_locked(monkeypatch):
    """Where the database cannot skip what is locked, a claim compares and swaps."""
    monkeypatch.setattr(connection.features, "has_select_for_update_skip_locked", False)
    stored("a@example.com", "b@example.com")
    assert len(claimed(1)[1]) == 1
    assert len(claimed()[1]) == 1


def test_a_claim_is_for_one_mailer():
    """Mail of another mailer stays where it is."""
    stored(mailer="other")
    assert claimed()[1] == []


def test_a_claim_is_for_one_destination():
    """Mail that goes straight to a domain is claimed for that domain alone."""
    stored("a@one.example", "b@two.example")
    Delivery.objects.filter(domain="two.example").update(destination="two.example")
    _, rows = ledger.claim("default", 10, 300, destination="two.example")
    assert [row.recipient for row in rows] == ["b@two.example"]
    assert [row.recipient for row in claimed()[1]] == ["a@one.example"]


def test_what_has_expired_is_not_claimed():
    """A mail beyond its expires_at is never sent."""
    message = stored(expires_at=timezone.now() + timedelta(hours=1))
    message.deliveries.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert claimed()[1] == []


def test_claims_load_no_content(django_assert_num_queries):
    """A claim reads rows alone; contents are read for what is sent next."""
    message = stored()
    _, rows = claimed()
    assert ledger.contents(rows) == {message.pk: message.content}
    Content.objects.all().delete()
    assert ledger.contents(rows) == {}


@pytest.mark.parametrize(("elapsed", "renewed"), [(10, False), (110, True)])
def test_mark_writes_the_marker_and_renews_what_runs_low(elapsed, renewed):
    """A marked row says that its content may have left; a lease of which a third is gone is renewed."""
    stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    before = Delivery.objects.values_list("lease_expires_at", flat=True).first()
    lease.clock = lambda: lease.read_boottime + elapsed
    assert ledger.mark(lease, rows[:1])
    first, second = Delivery.objects.order_by("pk")
    assert (first.marked, second.marked) == (True, False)
    assert (first.lease_expires_at > before) is renewed
    assert (second.lease_expires_at > before) is renewed


def test_mark_fails_when_the_lease_was_lost():
    """When one row belongs to somebody else, nothing may be sent."""
    stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    Delivery.objects.filter(pk=rows[0].pk).update(lease_token=None)
    assert not ledger.mark(lease, rows)


def test_mark_fails_when_the_process_slept_too_long():
    """A lease that ran out by the clock that counts suspends does not allow a byte."""
    stored()
    lease, rows = claimed()
    lease.clock = lambda: lease.read_boottime + 301
    assert not lease.valid()
    assert ledger.mark(lease, rows) is True
    assert Delivery.objects.get().lease_expires_at > timezone.now() + timedelta(seconds=500)


def test_release_gives_back_as_if_never_claimed():
    """A released row is ready again and has lost nothing."""
    stored()
    lease, rows = claimed()
    ledger.mark(lease, rows)
    assert ledger.release(lease, rows) == 1
    row = Delivery.objects.get()
    assert (row.status, row.lane, row.marked, row.attempt_count) == ("queued", 1, False, 0)
    assert row.lease_token is None
    assert [r.pk for r in claimed()[1]] == [row.pk]


def test_release_of_what_was_tried_before_is_deferred():
    """A row with an attempt behind it goes back as deferred."""
    stored().deliveries.update(attempt_count=2)
    lease, rows = claimed()
    ledger.release(lease, rows)
    assert statuses() == ["deferred"]


def test_release_to_rest():
    """Parked rows leave the ready set until their mailer's next probe."""
    stored()
    lease, rows = claimed()
    until = timezone.now() + timedelta(minutes=5)
    ledger.rest(lease, rows, until)
    row = Delivery.objects.get()
    assert (row.status, row.lane, row.next_attempt_at) == ("queued", Delivery.Lane.IDLE, until)
    assert row.parked_at is not None


def test_release_leaves_other_peoples_rows_alone():
    """Whoever lost the lease gives nothing back."""
    stored()
    lease, rows = claimed()
    Delivery.objects.update(lease_token=None)
    assert ledger.release(lease, rows) == 0
    assert statuses() == ["sending"]


def test_renew_moves_the_end():
    """A renewed lease ends later, here and in the row."""
    stored()
    lease, _ = claimed()
    ends = lease.ends
    assert ledger.renew(lease)
    assert lease.ends >= ends
    Delivery.objects.update(lease_token=None)
    assert not ledger.renew(lease)
