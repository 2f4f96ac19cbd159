"""The suppression list where mail is delivered: in the calling process, and by a worker."""

from __future__ import annotations

import pickle

import pytest
from django.core.mail import EmailMessage
from django.db import connection, transaction

from django_smtpx.ledger import suppressing
from django_smtpx.models import Attempt, Delivery, Message, Suppression
from django_smtpx.smtp import RecipientsRefused, SMTPError
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import Close, ScriptedServer, deliver, real_queue
from tests.factories import default_connection, statuses

# Commits as a view without ATOMIC_REQUESTS does.
pytestmark = pytest.mark.django_db(transaction=True)

GONE = {"RCPT": {"gone@*": "550 5.1.1 No such user"}}


@pytest.fixture(autouse=True)
def _close_sessions():
    yield
    default_pool.close()


@pytest.fixture(params=[False, True], ids=["committing", "in a transaction"])
def send(request):
    """Send a mail, and return it; in a transaction of the caller's where that is asked for."""

    def send_it(*to, key=None):
        message = EmailMessage("Subject", "Body", "from@example.com", list(to))
        if key is not None:
            message.idempotency_key = key
        if not request.param:
            message.send()
            return message
        with transaction.atomic():
            try:
                message.send()
            except SMTPError as error:
                raised = error
            else:
                return message
        # The transaction of a caller who catches it is committed.
        raise raised

    return send_it


def outbox(server, **options):
    """Deliver at once, with the list."""
    return real_queue(server, mode="now", suppression=True, **options)


def test_a_refused_recipient_is_not_sent_to_again(send):
    """The first refusal puts the address on the list, and the second mail opens no connection."""
    with ScriptedServer(GONE) as server, outbox(server):
        with pytest.raises(RecipientsRefused, match="No such user"):
            send("gone@example.com")
        default_pool.close()
        with pytest.raises(RecipientsRefused, match="On the suppression list since"):
            send("gone@example.com")
        assert len(server.sessions) == 1
    assert statuses() == ["failed", "suppressed"]
    row = Suppression.objects.get()
    assert (row.address, row.category) == ("gone@example.com", "mailbox_unknown")
    assert row.attempt == Attempt.objects.get()


def test_the_others_are_sent_to(send):
    """Who is on the list is left out, and the mail counts as sent."""
    suppressing.add("out@example.com", "asked us to")
    with ScriptedServer() as server, outbox(server):
        message = send("a@example.com", "out@example.com", "b@example.com")
        assert [mail.recipients for mail in server.messages] == [("a@example.com", "b@example.com")]
    assert statuses(message.smtpx) == ["sent", "suppressed", "sent"]
    assert Message.objects.get().settled_at is not None
    row = Delivery.objects.get(status="suppressed")
    assert (row.category, row.attempt_count, row.marked) == ("suppressed", 0, False)
    assert row.reply.endswith(": asked us to")


def test_all_on_the_list_raises_as_if_all_were_refused(send):
    """What is raised says why, recipient by recipient, and that no server was asked."""
    suppressing.add("a@example.com", "asked us to")
    suppressing.add("b@example.com")
    with (
        ScriptedServer() as server,
        outbox(server),
        pytest.raises(
            RecipientsRefused, match=r"^Not sent to a@example\.com\. On the suppression list since"
        ) as caught,
    ):
        send("a@example.com", "b@example.com")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.phase, error.category, error.action) == ("rcpt", "suppressed", "fail")
    assert (error.code, error.enhanced_code, error.reply) == (None, "", "")
    assert (error.temporary, error.disconnected, error.content_sent) == (False, False, "no")
    assert [(one.recipient, one.outcome) for one in error.results] == [
        ("a@example.com", "failed"),
        ("b@example.com", "failed"),
    ]
    assert server.sessions == ()
    assert statuses() == ["suppressed", "suppressed"]
    assert Message.objects.get().settled_at is not None
    assert not Attempt.objects.exists()


def test_the_others_fail_and_the_error_is_theirs(send):
    """Where those who are left are refused, what the server said is raised."""
    suppressing.add("out@example.com")
    with (
        ScriptedServer({"RCPT": "450 4.2.1 Busy"}) as server,
        outbox(server),
        pytest.raises(RecipientsRefused) as caught,
    ):
        send("out@example.com", "a@example.com")
    assert caught.value.code == 450
    assert statuses() == ["suppressed", "failed"]


def test_an_unknown_outcome_beside_one_on_the_list(send):
    """Whose content may have been taken is unknown, whoever else was left out."""
    suppressing.add("out@example.com")
    with ScriptedServer({"EOD": Close()}) as server, outbox(server), pytest.raises(SMTPError):
        send("out@example.com", "a@example.com")
    assert statuses() == ["suppressed", "unknown"]


def test_without_the_option_the_list_is_neither_fed_nor_obeyed(send):
    """Off is off."""
    suppressing.add("listed@example.com")
    with ScriptedServer(GONE) as server, real_queue(server, mode="now"):
        send("gone@example.com", "listed@example.com")
    assert statuses() == ["failed", "sent"]
    assert [row.address for row in Suppression.objects.all()] == ["listed@example.com"]


def test_a_key_that_was_suppressed_is_used_once_more(send):
    """As long as the address is on the list the key raises; taken off it, the mail is sent."""
    suppressing.add("a@example.com")
    with ScriptedServer() as server, outbox(server):
        for _ in range(2):
            with pytest.raises(RecipientsRefused):
                send("a@example.com", key="k")
        assert statuses() == ["suppressed"]
        suppressing.remove("a@example.com")
        send("a@example.com", key="k")
        send("a@example.com", key="k")
        assert len(server.messages) == 1
    assert statuses() == ["sent"]


def test_fail_silently_counts_none():
    """Nothing is raised, and the count says that nobody was sent to."""
    suppressing.add("a@example.com")
    with ScriptedServer() as server, outbox(server, fail_silently=True):
        mail = EmailMessage("Subject", "Body", "from@example.com", ["a@example.com"])
        assert default_connection().send_messages([mail]) == 0
    assert statuses() == ["suppressed"]


def test_inside_a_transaction_nothing_is_written_before_the_bytes_moved():
    """The list is read before, and rows are there afterwards alone."""
    suppressing.add("out@example.com")
    seen = []

    def look(conversation, argument):
        seen.append((Message.objects.count(), statuses()))
        connection.close()  # the server's thread has one of its own

    with ScriptedServer({"EOD": look}) as server, outbox(server), transaction.atomic():
        mail = EmailMessage("S", "B", "from@example.com", ["out@example.com", "a@example.com"])
        assert mail.send() == 1
    assert seen == [(0, [])]
    assert statuses() == ["suppressed", "sent"]


def test_who_goes_on_the_list_while_the_bytes_move_was_sent_to():
    """The list counts as it was when the mail left: what was taken is booked as sent."""

    def add(conversation, argument):
        suppressing.add("a@example.com")
        connection.close()  # the server's thread has one of its own

    with ScriptedServer({"EOD": add}) as server, outbox(server):
        assert EmailMessage("S", "B", "from@example.com", ["a@example.com"]).send() == 1
    assert statuses() == ["sent"]


def test_a_worker_feeds_and_obeys_the_list():
    """Mail that is queued is judged alike, and what was queued before is stopped too."""
    with ScriptedServer(GONE) as server, real_queue(server, suppression=True):
        mail = EmailMessage("S", "B", "from@example.com", ["gone@example.com", "a@example.com"])
        mail.send()
        deliver()
        assert statuses() == ["failed", "sent"]
        assert [row.address for row in Suppression.objects.all()] == ["gone@example.com"]
        mail.send()
        deliver()
        assert statuses() == ["failed", "sent", "suppressed", "sent"]
        sessions = len(server.sessions)
        EmailMessage("S", "B", "from@example.com", ["gone@example.com"]).send()
        deliver()
        assert len(server.sessions) == sessions
    assert statuses()[4:] == ["suppressed"]
    assert Message.objects.filter(settled_at=None).count() == 0
    assert Attempt.objects.count() == 3
