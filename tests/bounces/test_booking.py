"""Reports into rows: which delivery, what it becomes, and that each counts once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import format_datetime

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_smtpx import ledger, signals
from django_smtpx.ledger import Selection
from django_smtpx.models import Attempt, Delivery, Message, Suppression
from django_smtpx.testing import real_queue
from tests.bounces.conftest import book, path_of
from tests.bounces.samples import SENDMAIL, fate, postfix, report
from tests.factories import booking, claimed, statuses, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def told():
    """Collect the outcomes that signals tell."""
    heard = []

    def receive(sender, delivery, attempt, **_):
        heard.append((attempt.outcome, delivery.status, attempt.category))

    of_interest = [getattr(signals, f"delivery_{name}") for name in Attempt.Outcome.values]
    for signal in of_interest:
        signal.connect(receive)
    yield heard
    for signal in of_interest:
        signal.disconnect(receive)


def bounced(message, recipient="ann@example.com", **values):
    """Return Postfix's report of a message, of just now."""
    values.setdefault("date", format_datetime(timezone.now()))
    return postfix(path_of(message), recipient, **values)


def test_what_was_sent_has_failed(sent, told, django_capture_on_commit_callbacks):
    """One more attempt, the fields of the latest, the category, and the signal after the commit."""
    message = sent()
    with django_capture_on_commit_callbacks(execute=True):
        assert book(bounced(message)) == ["booked"]
        assert told == []
    row = Delivery.objects.get()
    assert (row.status, row.category, row.attempt_count) == ("failed", "mailbox_unknown", 2)
    assert (row.phase, row.code, row.enhanced_code) == ("rcpt", 550, "5.1.1")
    assert row.reply.startswith("<ann@example.com>: Recipient address rejected")
    assert (row.host, row.lane, row.next_attempt_at) == ("mail.example.com", -1, None)
    first, second = Attempt.objects.order_by("number")
    assert (first.outcome, second.number, second.outcome) == ("sent", 2, "failed")
    assert (second.command, second.action, second.category) == (
        "DSN",
        "suppress",
        "mailbox_unknown",
    )
    assert second.rule
    assert told == [("failed", "failed", "mailbox_unknown")]
    assert not Suppression.objects.exists()


def test_the_same_report_counts_once(sent, told):
    """However often it comes, and also after its mail was sent again."""
    message = sent()
    data = bounced(message)
    assert book(data) == ["booked"]
    assert book(data) == ["known"]
    ledger.retry(Selection(ids=(Delivery.objects.get().pk,)), timezone.now())
    lease, rows = claimed()
    ledger.settle(lease, [booking(row) for row in rows])
    assert statuses() == ["sent"]
    assert book(data) == ["known"]
    assert statuses() == ["sent"]
    later = format_datetime(timezone.now() + timedelta(minutes=5))
    assert book(bounced(message, date=later)) == ["booked"]
    assert statuses() == ["failed"]
    assert Attempt.objects.count() == 4


def test_without_a_date_it_counts_once(sent):
    """A report whose dates are no dates, or far away, is told from no other one."""
    message = sent()
    assert book(bounced(message, date="soon", action="delayed", status="4.4.1")) == ["booked"]
    far = "Mon, 01 Jan 2001 00:00:00 +0000"
    assert book(bounced(message, date=far, action="delayed", status="4.4.1")) == ["known"]


def test_a_delay_is_noted(sent, told, django_capture_on_commit_callbacks):
    """What somebody else still tries stays sent, with an attempt that says so."""
    message = sent()
    with django_capture_on_commit_callbacks(execute=True):
        assert book(
            bounced(message, action="delayed", status="4.2.2", diagnostic="smtp; 452 4.2.2 Full")
        ) == ["booked"]
    row = Delivery.objects.get()
    assert (row.status, row.category, row.attempt_count) == ("sent", "ok", 2)
    assert (row.enhanced_code, row.host) == ("4.2.2", "mail.example.com")
    assert told == [("deferred", "sent", "mailbox_full")]
    assert book(bounced(message)) == ["booked"]
    assert statuses() == ["failed"]


@pytest.mark.parametrize(
    ("action", "code", "status"),
    [
        ("failed", "5.1.1", "failed"),
        ("delayed", "4.4.1", "unknown"),
        ("delivered", "2.0.0", "sent"),
    ],
)
def test_what_was_in_doubt(sent, action, code, status):
    """A report says that a server had it; a message is settled with its last delivery."""
    message = sent(status="unknown")
    assert statuses() == ["unknown"]
    assert book(report(fate(action=action, status=code), to=path_of(message))) == ["booked"]
    assert statuses() == [status]
    message.refresh_from_db()
    row = Delivery.objects.get()
    assert (message.settled_at is None) == (row.settled_at is None) == (status == "unknown")


def test_what_waits_in_doubt_is_not_sent_again(sent):
    """A retry of an unknown outcome is called off by the report that it arrived, or failed."""
    message = sent(status="unknown")
    Delivery.objects.update(status="deferred", category="unknown_outcome", lane=3)
    assert book(report(fate(action="delayed", status="4.4.1"), to=path_of(message))) == [
        "unchanged"
    ]
    assert book(report(fate(action="relayed", status="2.0.0"), to=path_of(message))) == ["booked"]
    assert (statuses(), claimed()[1]) == (["sent"], [])


@pytest.mark.parametrize("status", ["queued", "deferred", "suppressed", "cancelled", "failed"])
@pytest.mark.parametrize("action", ["failed", "delayed", "delivered"])
def test_what_stays_as_it_is(sent, status, action):
    """Nobody else's word ends what we still try ourselves, or what has ended otherwise."""
    message = sent()
    Delivery.objects.update(status=status)
    before = Delivery.objects.values().get()
    assert book(report(fate(action=action), to=path_of(message))) == ["unchanged"]
    assert Delivery.objects.values().get() == before


@pytest.mark.parametrize("action", ["failed", "delayed", "delivered"])
def test_what_is_being_sent(sent, action):
    """A report that is faster than its own 250 is to come again."""
    message = sent()
    Delivery.objects.update(status="sending")
    data = report(fate(action=action), to=path_of(message))
    assert book(data) == ["early"]
    Delivery.objects.update(status="sent")
    assert book(data) == ["unchanged" if action == "delivered" else "booked"]


def test_good_news_of_what_was_sent(sent):
    """It was known."""
    message = sent()
    assert book(report(fate(action="delivered", status="2.0.0"), to=path_of(message))) == [
        "unchanged"
    ]
    assert Attempt.objects.count() == 1


def test_a_forged_report_changes_nothing(sent):
    """Whoever does not know the key cannot name a message, even by its UUID."""
    from django_smtpx import returnpaths

    message = sent()
    forged = returnpaths.filled("bounce+{uuid}@site.example", message.uuid, ["guessed"])
    assert book(postfix(forged)) == ["forged"]
    assert book(postfix(f"bounce+{message.uuid}@site.example")) == ["foreign"]
    assert book(postfix("bounce@site.example")) == ["foreign"]
    assert statuses() == ["sent"]
    assert Attempt.objects.count() == 1


def test_the_recipient_may_be_told_apart(sent):
    """An MTA hands it over beside the mail."""
    message = sent()
    assert book(postfix("bounce@site.example"), "x@site.example", path_of(message)) == ["booked"]


def test_a_message_that_is_gone(sent):
    """The log is purged one day."""
    message = sent()
    path = path_of(message)
    Message.objects.all().delete()
    assert book(postfix(path)) == ["gone"]


def test_of_several_recipients_those_that_are_named(sent):
    """By the original name or the final one; the others stay as they are."""
    message = sent("ann@example.com", "bob@EXAMPLE.com", "cid@example.com")
    data = SENDMAIL.replace(b"bounce@site.example", path_of(message).encode())
    assert book(data) == ["booked", "booked"]
    assert statuses() == ["failed", "failed", "sent"]
    assert book(data) == ["known", "known"]


def test_names_are_compared_as_addresses_are(sent):
    """The domain without regard to case, the local part as it is."""
    message = sent("ann@example.com", "Ann@example.com")
    assert book(report(fate("Ann@EXAMPLE.COM"), to=path_of(message))) == ["booked"]
    assert statuses() == ["sent", "failed"]
    assert book(report(fate("ANN@example.com"), to=path_of(message))) == ["stranger"]


def test_the_only_recipient_is_meant_by_any_name(sent):
    """An alias is rewritten on the way; one of several that is not named stays."""
    message = sent()
    assert book(report(fate("ann.smith@inner.example"), to=path_of(message))) == ["booked"]
    several = sent("bob@example.com", "cid@example.com")
    assert book(report(fate("dan@example.com"), to=path_of(several))) == ["stranger"]


@pytest.mark.parametrize(
    ("options", "group", "listed"),
    [
        ({"suppression": True}, fate(Diagnostic_Code="smtp; 550 5.1.1 No such user"), True),
        ({"suppression": False}, fate(Diagnostic_Code="smtp; 550 5.1.1 No such user"), False),
        (
            {"suppression": True},
            fate(status="5.2.2", Diagnostic_Code="smtp; 552 5.2.2 Full"),
            False,
        ),
        (
            {"suppression": True},
            fate(status="5.1.2", Diagnostic_Code="x-dns; no such domain"),
            False,
        ),
        ({"suppression": True}, fate(action="delayed", status="4.1.1"), False),
    ],
)
def test_the_suppression_list(sent, options, group, listed):
    """It is fed by reports as by replies, where it is on, with the attempt as evidence."""
    message = sent()
    with real_queue(host="127.0.0.1", port=1, **options):
        assert book(report(group, to=path_of(message))) == ["booked"]
    assert [row.attempt.command for row in Suppression.objects.all()] == ["DSN"] * listed


def test_a_mailer_that_is_gone(sent):
    """Its mail is booked all the same."""
    message = sent(mailer="default")
    Delivery.objects.update(mailer="former")
    assert book(bounced(message)) == ["booked"]


def test_strange_characters_are_stored(sent):
    """What no database takes is replaced."""
    message = sent()
    group = fate(Diagnostic_Code="smtp; 550 \udcff\0 " + "é" * 5000, Remote_MTA="dns; " + "h" * 400)
    data = report(fate(), to=path_of(message)).replace(
        fate().encode(), group.encode("utf-8", "surrogateescape")
    )
    assert book(data) == ["booked"]
    assert len(Delivery.objects.get().host) == 255


def test_conservation(sent):
    """Each recipient is in one state at every moment: what was sent is failed then."""
    message = sent("ann@example.com", "bob@example.com")
    assert book(bounced(message)) == ["booked"]
    assert sorted(statuses()) == ["failed", "sent"]
    assert Message.objects.get().settled_at is not None


def test_who_is_overtaken_looks_again(sent, monkeypatch):
    """A row that changed between reading and writing is read anew."""
    from django_smtpx.ledger import bounces

    message = sent()
    judged = bounces.judged

    def meanwhile(*args):
        if Delivery.objects.filter(attempt_count=1).exists():
            Delivery.objects.update(attempt_count=2)
            Attempt.objects.update(number=2)
        return judged(*args)

    monkeypatch.setattr(bounces, "judged", meanwhile)
    assert book(bounced(message)) == ["booked"]
    assert Delivery.objects.get().attempt_count == 3


@pytest.mark.django_db(transaction=True)
def test_two_readers_book_it_once(sent):
    """Two processes that read the same report at once write one attempt."""
    message = sent()
    data = bounced(message)
    gate = threading.Barrier(4)

    def read_it():
        gate.wait()
        try:
            return book(data)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        facts = sorted(fact for found in pool.map(lambda _: read_it(), range(4)) for fact in found)
    assert facts == ["booked", "known", "known", "known"]
    assert Attempt.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_told(sent, told):
    """Signals come after the commit, and not without one."""
    message = sent()
    told.clear()
    with transaction.atomic():
        assert book(bounced(message)) == ["booked"]
        transaction.set_rollback(True)
    assert (told, statuses()) == ([], ["sent"])


def test_a_late_250_changes_nothing_more(sent):
    """The lease that was lost is not believed about what a report has settled since."""
    message = stored("ann@example.com")
    lease, rows = claimed()
    Delivery.objects.update(status="unknown", lane=-1)
    assert book(bounced(message)) == ["booked"]
    assert ledger.settle(lease, [booking(row) for row in rows]) == 0
    assert statuses() == ["failed"]
