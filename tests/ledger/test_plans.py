"""What a statement reads does not grow with what waits, nor with the log, whatever the statistics."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.models import Delivery
from tests.factories import booking, stored
from tests.ledger.crowds import analyze, crowd, forget_statistics, reading, waiting_crowds

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor == "mysql", reason="It says less of its plans."),
]

COUNT = 4_000
FEW = 1_000
"""Rows that a statement about at most a hundred may read at one place of its plan.

Entries of an index that earlier tests have left dead are among them.
"""
HOUR = timedelta(hours=1)
Lane = Delivery.Lane


@pytest.fixture(scope="module", params=["none", "stale", "fresh"], autouse=True)
def statistics(request, django_db_setup, django_db_blocker):
    """Fill the tables, with statistics of before, of now, or without any; and undo it in the end."""
    with django_db_blocker.unblock():
        try:
            with transaction.atomic():
                if request.param == "stale":
                    crowd(1_000, status="sent", lane=Lane.OUT)
                    analyze()
                if request.param == "none":
                    forget_statistics()
                waiting_crowds(COUNT)
                if request.param == "fresh":
                    analyze()
                yield request.param
                raise _Undo
        except _Undo:
            pass


class _Undo(Exception):
    """All of it goes."""


def bounded(read, most=FEW):
    """Say whether every statement read a range of an index, of so many rows at most."""
    assert read.plans
    for plan in read.plans:
        # What a claim has taken is as much as it has asked for, and is put in order.
        sorts = "TEMP B-TREE" in plan and '"lease_token" =' not in plan
        assert "SCAN " not in plan.replace("SCAN CONSTANT ROW", ""), plan
        assert not sorts, plan
    assert read.rows <= most, read.text
    return True


def mine(count=20, **values):
    """Store some mail that is ready, and is what this is about."""
    messages = [stored(f"{number}@mine.example") for number in range(count)]
    if values:
        Delivery.objects.filter(message__in=messages).update(**values)
    return messages


def test_a_message_is_claimed_marked_and_settled():
    """Of what waits for other reasons, or for other mailers, or has ended, no row is read."""
    mine()
    with reading() as read:
        lease, rows = ledger.claim("default", 100, 300.0)
        assert len(rows) == 20
        assert ledger.mark(lease, rows)
        assert ledger.renew(lease)
        assert ledger.settle(lease, [booking(row) for row in rows]) == 20
    assert bounded(read)


def test_a_message_is_given_back():
    """Neither to release nor to rest reads more than is given back."""
    mine()
    with reading() as read:
        lease, rows = ledger.claim("default", 100, 300.0)
        assert ledger.release(lease, rows[:10]) == 10
        assert ledger.rest(lease, rows[10:], timezone.now() + HOUR) == 10
    assert bounded(read)


@pytest.mark.parametrize(
    "work",
    [
        ledger.promote,
        ledger.expire,
        ledger.reclaim,
        ledger.notice_delays,
        lambda at: ledger.waiting_mailers(["default", "other"]),
        lambda at: ledger.ready_lanes("default", ""),
        lambda at: ledger.ready_lanes("other", "crowd.example"),
        lambda at: ledger.ready_destinations("other"),
        lambda at: ledger.redirect_ready("default", by_domain=True),
        lambda at: ledger.park("default", at + HOUR, at),
    ],
)
def test_the_sweep_reads_what_is_due(work):
    """Where nothing, or a little, is due, only that is read."""
    mine(15)
    with reading() as read:
        work(timezone.now())
    assert bounded(read)


def test_the_overview_looks_at_so_many_of_each_kind(statistics, monkeypatch):
    """In the order in which they go, along an index; the rest is neither read nor put in order."""
    monkeypatch.setattr(import_module("django_smtpx.ledger.census"), "LOOKED_AT", 100)
    with reading() as read:
        found = ledger.outlook(timezone.now())
    assert {one.wait for one in found if one.more} == {ledger.Wait.READY, ledger.Wait.REST}
    assert len(read.plans) == 5
    if connection.vendor == "postgresql" and statistics != "fresh":
        # It puts in order what it takes for a few rows: nobody is sent mail later for that.
        return
    # From the beginning of an index that has nothing but what is looked for.
    along = ("SCAN subquery", "SCAN django_smtpx_delivery USING INDEX smtpx_delivery_claim")
    for one in along:
        read.plans = [plan.replace(one, "") for plan in read.plans]
    assert bounded(read)


def test_what_is_parked_is_all_that_a_mailer_s_return_reads(statistics):
    """Where the planner knows anything: without statistics it takes each mailer to have few rows."""
    if statistics == "none":
        pytest.skip("Nothing tells the planner that a mailer has many rows.")
    mine(15)
    with reading() as read:
        ledger.unpark("default", timezone.now())
    assert bounded(read)


@pytest.mark.parametrize("work", [ledger.promote, ledger.expire, ledger.reclaim])
def test_where_nothing_is_due_no_more_than_its_place_is_looked_up(work):
    """PostgreSQL tells how many blocks that takes: not those of all that waits."""
    # Whoever looks first marks as dead what earlier tests have left in an index.
    work(timezone.now())
    with reading() as read:
        assert work(timezone.now()) == 0
    assert read.blocks <= 20, read.text
