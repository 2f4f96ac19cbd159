"""The suppression list: fed by verdicts and by people, obeyed at the claim."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import suppressing
from django_smtpx.models import Attempt, Delivery, Message, Suppression
from django_smtpx.signals import delivery_failed, delivery_sent
from tests.factories import booking, claimed, result, statuses, stored

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

_CONDEMNED = {
    "category": "mailbox_unknown",
    "action": "suppress",
    "phase": "rcpt",
    "command": "RCPT",
    "code": 550,
    "enhanced_code": "5.1.1",
    "reply": "No such user",
}


def refusal(recipient, **values):
    """Return a result that says that nobody is there."""
    return result(recipient, "failed", **{**_CONDEMNED, **values})


def condemn(rows, **values):
    """Return the bookings of rows that nobody is there for, of a mailer that keeps the list."""
    return [
        booking(row, "failed", result=refusal(row.recipient, **values), suppress=True)
        for row in rows
    ]


def fed(*recipients):
    """Store mail, and let it be refused so that its recipients are on the list."""
    stored(*recipients)
    lease, rows = claimed()
    ledger.settle(lease, condemn(rows))


def listed():
    """Return the addresses on the list."""
    return sorted(Suppression.objects.values_list("address", flat=True))


# -- what puts an address on the list --------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, True),
        ({"category": "mailbox_disabled"}, True),
        ({"phase": "eod"}, True),
        ({"phase": "data"}, True),
        ({"category": "domain_unknown", "action": "fail"}, True),
        ({"category": "domain_unknown", "phase": "eod"}, True),
        ({"category": "domain_unknown", "action": "fail", "phase": "eod"}, False),
        ({"category": "domain_unknown", "action": "fail", "phase": "resolve"}, False),
        ({"category": "domain_unknown", "action": "retry"}, False),
        ({"category": "mailbox_unknown", "action": "fail"}, False),
        ({"category": "mailbox_full", "action": "fail"}, False),
        ({"category": "policy"}, False),
        ({"category": "spam"}, False),
        ({"phase": "mail"}, False),
        ({"phase": "greeting"}, False),
    ],
)
def test_what_condemns(values, said):
    """Only a final word on the recipient alone does, in one of the three categories."""
    assert ledger.condemns(refusal("a@example.com", **values)) is said


@pytest.mark.parametrize("outcome", ["sent", "deferred", "unknown"])
def test_what_is_not_final_condemns_nobody(outcome):
    """As long as it can still be sent, or may have been, nobody goes on the list."""
    assert not ledger.condemns(result(outcome=outcome, **_CONDEMNED))


def test_a_refused_recipient_goes_on_the_list_with_its_evidence():
    """Who, why and since when, in the server's words, and the attempt."""
    stored("Ann+Tag@Example.COM")
    lease, rows = claimed()
    ledger.settle(lease, condemn(rows))
    row = Suppression.objects.get()
    assert row.address == "Ann+Tag@example.com"
    assert row.reason == "550 5.1.1 No such user (mx.example.com)"
    assert (row.category, row.expires_at) == ("mailbox_unknown", None)
    assert row.attempt == Attempt.objects.get()
    assert abs(row.created_at - timezone.now()) < HOUR


def test_a_mailer_without_the_list_feeds_nothing():
    """Where it is off, the same refusal leaves no trace."""
    stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0], "failed", result=refusal(rows[0].recipient))])
    assert listed() == []


def test_sent_bookings_cost_no_statement(django_assert_num_queries):
    """The list is free for mail that goes well."""
    stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    with django_assert_num_queries(0):
        suppressing.feed(
            [(booking(row), Attempt(delivery_id=row.pk)) for row in rows], lease.now(), "default"
        )


def test_what_was_not_settled_feeds_nothing():
    """A verdict on a row that is somebody else's by now is not on record, so neither is this."""
    stored()
    lease, rows = claimed()
    ledger.reclaim(lease.now() + HOUR)
    assert ledger.settle(lease, condemn(rows)) == 0
    assert listed() == []


def test_the_list_shares_the_fate_of_the_outcomes():
    """Outcomes that are rolled back put nobody on the list."""
    stored()
    lease, rows = claimed()
    with pytest.raises(RuntimeError), transaction.atomic():
        ledger.settle(lease, condemn(rows))
        raise RuntimeError
    assert listed() == []


def test_who_is_on_the_list_stays_as_he_is():
    """A later verdict changes neither a person's word nor the first evidence."""
    suppressing.add("a@example.com", "asked us to", expires_at=timezone.now() + DAY)
    before = Suppression.objects.values().get()
    fed("a@example.com", "b@example.com")
    assert Suppression.objects.values().get(pk=before["id"]) == before
    assert listed() == ["a@example.com", "b@example.com"]


def test_a_later_verdict_renews_what_has_expired():
    """The row begins anew: reason, evidence and time are the later ones."""
    suppressing.add("a@example.com", "asked us to", expires_at=timezone.now() + DAY)
    over = timezone.now() - DAY
    Suppression.objects.update(created_at=over, expires_at=over)
    fed("a@example.com")
    row = Suppression.objects.get()
    assert row.reason == "550 5.1.1 No such user (mx.example.com)"
    assert (row.category, row.expires_at) == ("mailbox_unknown", None)
    assert row.attempt == Attempt.objects.get()
    assert row.created_at > over + HOUR


def test_the_same_address_twice_in_one_batch():
    """Two mails to one address that are refused together are one entry."""
    stored("a@example.com")
    stored("a@EXAMPLE.com")
    lease, rows = claimed()
    assert ledger.settle(lease, condemn(rows)) == 2
    assert listed() == ["a@example.com"]


def test_evidence_where_a_bulk_insert_returns_no_keys(monkeypatch):
    """The attempt is found all the same."""
    monkeypatch.setattr(type(connection.features), "can_return_rows_from_bulk_insert", False)
    fed("a@example.com", "b@example.com")
    for row in Suppression.objects.all():
        assert row.attempt.delivery.recipient == row.address


def test_what_no_database_can_hold_is_replaced():
    """A NUL in the server's words keeps nobody off the list."""
    stored("a@example.com")
    lease, rows = claimed()
    ledger.settle(lease, condemn(rows, reply="no\0body"))
    assert "no\N{REPLACEMENT CHARACTER}body" in Suppression.objects.get().reason


@pytest.mark.django_db(transaction=True)
def test_many_workers_that_refuse_the_same_addresses_at_once():
    """All outcomes are written, each address once, and nobody waits for ever."""
    addresses = [f"{n}@example.com" for n in range(10)]
    work = []
    for n in range(4):
        stored(*(addresses if n % 2 else reversed(addresses)))
        work.append(claimed())
    barrier = threading.Barrier(len(work))

    def settle(lease, rows):
        barrier.wait()
        try:
            return ledger.settle(lease, condemn(rows))
        finally:
            connection.close()

    with ThreadPoolExecutor(len(work)) as workers:
        asked = [workers.submit(settle, *one) for one in work]
    assert [one.result() for one in asked] == [10] * 4
    assert listed() == sorted(addresses)
    assert all(row.attempt.delivery.recipient == row.address for row in Suppression.objects.all())


# -- who is on it ----------------------------------------------------------------------------------


def test_addresses_are_compared_exactly():
    """Neither tags nor dots nor the case of the local part are folded; the domain's case is."""
    suppressing.add("Ann.Lee+x@example.com")
    asked = [
        "Ann.Lee+x@EXAMPLE.com",
        "ann.lee+x@example.com",
        "Ann.Lee@example.com",
        "AnnLee+x@example.com",
        "Änn.Lee+x@example.com",
        "Ann.Lee+x@example.com ",
    ]
    assert list(ledger.suppressed(asked, timezone.now())) == ["Ann.Lee+x@EXAMPLE.com"]


def test_what_has_expired_does_not_count():
    """An entry ends by itself at its time, and not before."""
    until = timezone.now() + HOUR
    suppressing.add("a@example.com", "moving house", expires_at=until)
    found = ledger.suppressed(["a@example.com"], until - timedelta(seconds=1))
    assert found["a@example.com"].reason == "moving house"
    assert ledger.suppressed(["a@example.com"], until) == {}


def test_one_statement_for_some_hundreds(django_assert_num_queries):
    """A claim asks once, however many of its recipients are on the list."""
    asked = [f"{n}@example.com" for n in range(500)]
    for address in asked[:3]:
        suppressing.add(address)
    with django_assert_num_queries(1):
        assert set(ledger.suppressed(asked, timezone.now())) == set(asked[:3])
    with django_assert_num_queries(2):
        assert len(ledger.suppressed([*asked, "last@example.com"], timezone.now())) == 3
    with django_assert_num_queries(0):
        assert ledger.suppressed([], timezone.now()) == {}


def test_a_row_that_a_site_creates_itself_counts():
    """Whoever writes the row, it is found by its address."""
    Suppression.objects.create(address="A@Example.com", reason="by hand", category="")
    Suppression.objects.bulk_create([Suppression(address="b@example.com")])
    found = ledger.suppressed(["A@example.com", "b@example.com"], timezone.now())
    assert set(found) == {"A@example.com", "b@example.com"}


# -- people ----------------------------------------------------------------------------------------


def test_a_person_adds_and_removes():
    """An address is kept as recipients are, and taken off however it is spelled."""
    row = suppressing.add("Ann <Ann@BÜCHER.example>", "asked us to")
    assert row.address == "Ann@xn--bcher-kva.example"
    assert (row.reason, row.category, row.expires_at, row.attempt) == (
        "asked us to",
        "",
        None,
        None,
    )
    assert suppressing.remove("Ann@bücher.EXAMPLE", "b@example.com", "no address") == 1
    assert listed() == []


def test_adding_again_gives_the_new_reason_and_keeps_the_evidence():
    """A person's later word counts; what the server said stays with the attempt."""
    fed("a@example.com")
    until = timezone.now() + DAY
    row = suppressing.add("a@example.com", "until they have moved", expires_at=until)
    assert (row.reason, row.category) == ("until they have moved", "mailbox_unknown")
    assert row.attempt == Attempt.objects.get()
    assert abs(row.expires_at - until) < timedelta(seconds=1)
    assert Suppression.objects.count() == 1


def test_adding_what_another_takes_off_meanwhile(monkeypatch):
    """Whoever removes the old entry at that moment, the address is on the list afterwards."""
    suppressing.add("a@example.com", "before")
    insert = suppressing._insert

    def late(rows, at, using):
        insert(rows, at, using)
        monkeypatch.setattr(suppressing, "_insert", insert)
        suppressing.remove("a@example.com")

    monkeypatch.setattr(suppressing, "_insert", late)
    assert suppressing.add("a@example.com", "after").reason == "after"
    assert listed() == ["a@example.com"]


@pytest.mark.parametrize("bad", ["", "a@", "@b", "a b@c", "a@b, c@d", "a@b\r\nc"])
def test_no_address_is_refused(bad):
    """Only one valid address goes on the list."""
    with pytest.raises(ValueError, match=r"[Aa]ddress"):
        suppressing.add(bad)


def test_an_expiry_is_aware_and_to_come():
    """A naive time, or one that is over, would be a silent no."""
    for bad in (datetime(2999, 1, 1), timezone.now() - HOUR):  # noqa: DTZ001 (naive on purpose)
        with pytest.raises(ValueError, match="expires_at"):
            suppressing.add("a@example.com", expires_at=bad)
    assert listed() == []


def test_amending_changes_nothing_else():
    """Reason and expiry are a person's to change, on a row that is there."""
    fed("a@example.com")
    before = Suppression.objects.values().get()
    until = timezone.now() + DAY
    assert suppressing.amend("a@EXAMPLE.com", reason="checked", expires_at=until)
    after = Suppression.objects.values().get()
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {"reason", "expires_at"}
    assert not suppressing.amend("b@example.com", reason="", expires_at=None)


# -- at the claim ----------------------------------------------------------------------------------


def test_a_claimed_recipient_on_the_list_is_set_aside():
    """It is settled as suppressed without an attempt, and the others are left to send."""
    fed("a@example.com")
    Message.objects.all().delete()
    message = stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    left = ledger.set_aside_suppressed(lease, rows)
    assert [row.recipient for row in left] == ["b@example.com"]
    aside = Delivery.objects.get(recipient="a@example.com")
    assert (aside.status, aside.category) == ("suppressed", "suppressed")
    day = Suppression.objects.get().created_at
    assert aside.reply == (
        f"On the suppression list since {day:%Y-%m-%d}: 550 5.1.1 No such user (mx.example.com)"
    )
    assert aside.settled_at is not None
    assert (aside.next_attempt_at, aside.lease_token, aside.lease_expires_at) == (None, None, None)
    assert (aside.attempt_count, aside.step, aside.lane) == (0, 0, Delivery.Lane.OUT)
    assert (aside.phase, aside.code, aside.enhanced_code, aside.host) == ("", None, "", "")
    assert not Attempt.objects.filter(delivery=aside).exists()
    message.refresh_from_db()
    assert message.settled_at is None
    ledger.settle(lease, [booking(row) for row in left])
    message.refresh_from_db()
    assert message.settled_at is not None
    assert statuses(message) == ["suppressed", "sent"]


def test_a_message_whose_recipients_are_all_on_the_list_is_finished():
    """Its retention counts from then, and it is claimed no more."""
    suppressing.add("a@example.com")
    suppressing.add("b@example.com", "why")
    message = stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    assert ledger.set_aside_suppressed(lease, rows) == []
    message.refresh_from_db()
    assert message.settled_at is not None
    replies = Delivery.objects.order_by("pk").values_list("reply", flat=True)
    assert [reply.endswith(end) for reply, end in zip(replies, (".", ": why"), strict=True)] == [
        True,
        True,
    ]
    assert claimed()[1] == []


def test_what_an_earlier_attempt_got_stays_with_it():
    """The row of one that was deferred before says why it ended, and its attempt what was said."""
    stored("a@example.com")
    lease, rows = claimed()
    at = lease.now()
    again = booking(rows[0], "deferred", next_attempt_at=at, step=1)
    ledger.settle(lease, [again])
    suppressing.add("a@example.com")
    lease, rows = claimed()
    assert ledger.set_aside_suppressed(lease, rows) == []
    row = Delivery.objects.get()
    assert (row.status, row.attempt_count, row.step, row.code) == ("suppressed", 1, 1, None)
    assert Attempt.objects.get().code == 250


def test_setting_aside_costs_one_statement_where_nobody_is_on_the_list(django_assert_num_queries):
    """A claim of a mailer with the list pays for one look."""
    stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    with django_assert_num_queries(1):
        assert ledger.set_aside_suppressed(lease, rows) == rows
    assert statuses() == ["sending", "sending"]


def test_a_row_that_is_somebody_elses_by_now_is_left_alone():
    """It is not written, and not sent either."""
    suppressing.add("a@example.com")
    message = stored("a@example.com")
    lease, rows = claimed()
    ledger.reclaim(lease.now() + HOUR)
    claimed()
    assert ledger.set_aside_suppressed(lease, rows) == []
    assert statuses() == ["sending"]
    message.refresh_from_db()
    assert message.settled_at is None


def test_nobody_is_told(monkeypatch):
    """No attempt was made, so no signal of an attempt is sent."""
    told = []

    def hear(**kwargs):
        told.append(kwargs)

    for signal in (delivery_failed, delivery_sent):
        signal.connect(hear)
    try:
        suppressing.add("to@example.com")
        stored()
        lease, rows = claimed()
        ledger.set_aside_suppressed(lease, rows)
    finally:
        for signal in (delivery_failed, delivery_sent):
            signal.disconnect(hear)
    assert told == []


def test_every_recipient_is_accounted_for():
    """Stored is sent, failed, suppressed and what still waits, at every moment."""
    suppressing.add("a@example.com")
    stored("a@example.com", "b@example.com", "c@example.com", "d@example.com")
    lease, rows = claimed(3)
    assert sorted(statuses()) == ["queued", "sending", "sending", "sending"]
    left = ledger.set_aside_suppressed(lease, rows)
    assert statuses() == ["suppressed", "sending", "sending", "queued"]
    ledger.settle(lease, [booking(left[0]), *condemn(left[1:])])
    assert statuses() == ["suppressed", "sent", "failed", "queued"]


# -- retention -------------------------------------------------------------------------------------


def test_purging_the_evidence_leaves_the_entry():
    """The attempt goes with the log; the entry stays, and still says what the server said."""
    fed("a@example.com")
    at = timezone.now() + 100 * DAY
    with_transcript = Attempt.objects.get()
    assert ledger.purge(at, DAY, 90 * DAY)[:2] == (1, 1)
    assert not Attempt.objects.filter(pk=with_transcript.pk).exists()
    row = Suppression.objects.get()
    assert (row.attempt, row.reason) == (None, "550 5.1.1 No such user (mx.example.com)")
    assert ledger.suppressed(["a@example.com"], at)


def test_purging_takes_what_expired_before_the_logs_retention(monkeypatch):
    """An entry that is over is kept as long as the log, and no longer; others stay."""
    monkeypatch.setattr(suppressing, "_BATCH", 2)
    until = timezone.now() + HOUR
    for n in range(5):
        suppressing.add(f"{n}@example.com", expires_at=until)
    suppressing.add("stays@example.com")
    ledger.purge(until + 89 * DAY, DAY, 90 * DAY)
    assert Suppression.objects.count() == 6
    ledger.purge(until + 90 * DAY, DAY, 90 * DAY)
    assert listed() == ["stays@example.com"]
