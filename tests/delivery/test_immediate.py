"""``"now"`` mode: in the calling process, and raising as Django's own backend does."""

from __future__ import annotations

import smtplib
from datetime import timedelta

import pytest
from django.core.mail import EmailMessage
from django.db import connection, transaction
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.delivery import immediate
from django_smtpx.models import Attempt, Delivery, Message, Route
from django_smtpx.smtp import (
    ConnectError,
    RecipientsRefused,
    ServerDisconnected,
    SMTPError,
)
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import (
    Close,
    Delay,
    MidContent,
    ScriptedServer,
    deliver,
    real_queue,
)
from tests.factories import default_connection, statuses

# Commits as a view without ATOMIC_REQUESTS does.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _close_sessions():
    yield
    default_pool.close()


def email(*to, key=None):
    """Return a mail to send."""
    message = EmailMessage("Subject", "Body", "from@example.com", list(to))
    if key is not None:
        message.idempotency_key = key
    return message


def test_sent_at_once_and_on_record():
    """The mail is there when send() returns, and so are its rows."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        message = email("a@example.com", "b@example.com")
        assert message.send() == 1
        assert server.messages[0].content == message.smtpx.content
    assert statuses() == ["sent", "sent"]
    assert Attempt.objects.count() == 2
    row = Message.objects.get()
    assert (row.mode, row.settled_at is not None) == ("now", True)


def test_refused_by_all_raises_and_is_on_record():
    """When nobody took it the caller's except clause for smtplib catches it."""
    with (
        ScriptedServer({"RCPT": "550 5.1.1 No"}) as server,
        real_queue(server, mode="now"),
        pytest.raises(RecipientsRefused) as caught,
    ):
        email("a@example.com", "b@example.com").send()
    assert isinstance(caught.value, smtplib.SMTPException)
    assert isinstance(caught.value, OSError)
    assert (caught.value.code, caught.value.phase, caught.value.reply) == (550, "rcpt", "No")
    assert len(caught.value.results) == 2
    assert statuses() == ["failed", "failed"]


def test_some_refused_is_no_error():
    """As with smtplib, the refused ones among accepted ones are on record alone."""
    with (
        ScriptedServer({"RCPT": {"a@*": "450 4.2.1 Busy"}}) as server,
        real_queue(server, mode="now"),
    ):
        assert email("a@example.com", "b@example.com").send() == 1
    assert statuses() == ["failed", "sent"]
    assert Delivery.objects.filter(next_attempt_at=None).count() == 2


def test_fail_silently_counts_and_records():
    """With fail_silently nothing is raised, and the count says the truth."""
    with (
        ScriptedServer({"RCPT": {"a@*": "550 5.1.1 No"}}) as server,
        real_queue(server, mode="now", fail_silently=True),
    ):
        connection = default_connection()
        assert connection.send_messages([email("a@example.com"), email("b@example.com")]) == 1
    assert statuses() == ["failed", "sent"]


def test_nobody_listens_raises_and_rests_the_mailer():
    """A server that is away is an error at once, and the next send does not knock again."""
    with real_queue(host="127.0.0.1", port=1, mode="now"):
        with pytest.raises(ConnectError):
            email("a@example.com").send()
        assert Route.objects.get().state == "paused"
        with pytest.raises(SMTPError, match="rests until"):
            email("b@example.com").send()
    assert statuses() == ["failed", "failed"]


def test_lost_after_the_dot_raises_and_is_unknown():
    """The caller learns that the outcome is not known, and nobody sends it again."""
    with (
        ScriptedServer({"EOD": Close()}) as server,
        real_queue(server, mode="now"),
        pytest.raises(ServerDisconnected) as caught,
    ):
        email("a@example.com").send()
    assert caught.value.content_sent == "all"
    assert statuses() == ["unknown"]
    assert Attempt.objects.get().action == "hold"


def test_lost_before_the_dot_is_failed():
    """What surely was not delivered has failed, as the caller is told."""
    with (
        ScriptedServer({"DATA": MidContent(5)}) as server,
        real_queue(server, mode="now"),
        pytest.raises(ServerDisconnected) as caught,
    ):
        email("a@example.com").send()
    assert caught.value.content_sent in ("partial", "all")
    assert statuses() == (["failed"] if caught.value.content_sent == "partial" else ["unknown"])


def test_an_idle_session_that_was_dropped_costs_a_fresh_connection():
    """The second send after the server hung up goes through."""
    with ScriptedServer({"MAIL": [None, Close()]}) as server, real_queue(server, mode="now"):
        assert email("a@example.com").send() == 1
        assert email("b@example.com").send() == 1
        assert len(server.messages) == 2
    assert statuses() == ["sent", "sent"]


def test_inside_a_transaction_nothing_is_written_before_the_bytes_moved():
    """No row, and so no lock, is there while the server is spoken to."""
    seen = []

    def look(conversation, argument):
        seen.append(Message.objects.count())
        connection.close()  # the server's thread has one of its own

    with (
        ScriptedServer({"EOD": look}) as server,
        real_queue(server, mode="now"),
        transaction.atomic(),
    ):
        assert email("a@example.com").send() == 1
    assert seen == [0]
    assert statuses() == ["sent"]


def test_inside_a_transaction_the_rows_share_its_fate():
    """Rolled back, the mail is gone but its row is not there: documented, and nothing else possible."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        with pytest.raises(RuntimeError), transaction.atomic():
            email("a@example.com").send()
            raise RuntimeError
        assert len(server.messages) == 1
    assert statuses() == []


def test_inside_a_transaction_the_route_is_booked_on_commit():
    """A failure in a transaction that is rolled back rests nobody."""
    with real_queue(host="127.0.0.1", port=1, mode="now"):
        with pytest.raises(ConnectError), transaction.atomic():
            email("a@example.com").send()
        assert not Route.objects.exists()


def test_a_key_that_was_sent_is_not_sent_again():
    """The second send with the same key does nothing, and counts."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        first, second = email("a@example.com", key="k"), email("a@example.com", key="k")
        assert (first.send(), second.send()) == (1, 1)
        assert second.smtpx == first.smtpx
        assert len(server.messages) == 1
    assert Attempt.objects.count() == 1


def test_a_key_that_failed_is_sent_once_more():
    """A key is only used up by a mail that was sent, or may have been."""
    with ScriptedServer({"RCPT": ["550 5.1.1 No"]}) as server, real_queue(server, mode="now"):
        with pytest.raises(RecipientsRefused):
            email("a@example.com", key="k").send()
        assert email("a@example.com", key="k").send() == 1
        assert len(server.messages) == 1
    assert statuses() == ["sent"]
    assert list(Attempt.objects.values_list("number", "outcome")) == [(1, "failed"), (2, "sent")]


def test_a_process_that_dies_leaves_a_trace():
    """Stored and marked before the bytes move: the sweep calls it unknown, and sends nothing."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        message = email("a@example.com")
        from django_smtpx.compose import compose
        from django_smtpx.config import get_mailer

        mail = compose(message, get_mailer("default"), timezone.now())
        _, lease, rows = ledger.store_now("default", mail, 60.0)
        assert [row.marked for row in rows] == [True]
        ledger.reclaim(lease.now() + timedelta(hours=1))
        assert server.messages == ()
    row = Delivery.objects.get()
    assert (row.status, row.next_attempt_at) == ("unknown", None)


def test_hundreds_of_recipients_go_in_several_transactions():
    """No transaction has more recipients than every server must take."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        assert email(*[f"{n}@example.com" for n in range(250)]).send() == 1
        assert [len(m.recipients) for m in server.messages] == [100, 100, 50]
    assert statuses() == ["sent"] * 250


def test_too_many_recipients_go_in_the_next_transaction():
    """Who was put off with 452 beside accepted ones is not failed by that: the rest goes at once."""
    script = {"RCPT": {"c@*": ["452 4.5.3 Too many recipients"]}}
    with ScriptedServer(script) as server, real_queue(server, mode="now"):
        assert email("a@example.com", "b@example.com", "c@example.com").send() == 1
        assert [m.recipients for m in server.messages] == [
            ("a@example.com", "b@example.com"),
            ("c@example.com",),
        ]
    assert statuses() == ["sent"] * 3
    late = Attempt.objects.filter(delivery__recipient="c@example.com").order_by("number")
    assert list(late.values_list("number", "outcome", "code")) == [
        (1, "deferred", 452),
        (2, "sent", 250),
    ]


def test_too_many_recipients_for_all_fails():
    """A server that says it to every recipient is not asked for ever."""
    script = {"RCPT": "452 4.5.3 Too many recipients"}
    with ScriptedServer(script) as server, real_queue(server, mode="now"):
        with pytest.raises(RecipientsRefused):
            email("a@example.com", "b@example.com").send()
        assert server.messages == ()
    assert statuses() == ["failed", "failed"]


def test_inside_a_transaction_a_failed_key_is_not_locked_while_bytes_move():
    """Once more, too, nothing is written before the bytes have moved."""
    seen = []

    def look(conversation, argument):
        seen.append(statuses())
        connection.close()  # the server's thread has one of its own

    script = {"RCPT": ["550 5.1.1 No"], "EOD": look}
    with ScriptedServer(script) as server, real_queue(server, mode="now"):
        with pytest.raises(RecipientsRefused):
            email("a@example.com", key="k").send()
        default_pool.close()
        with transaction.atomic():
            assert email("a@example.com", key="k").send() == 1
        assert len(server.messages) == 1
        with transaction.atomic():
            assert email("a@example.com", key="k").send() == 1
        assert len(server.messages) == 1
    assert seen == [["failed"]]
    assert statuses() == ["sent"]


def test_a_key_of_queued_mail_is_of_now_mode_from_then_on():
    """What raised here is not tried again by a worker, however the first mail was stored."""
    script = {"RCPT": ["550 5.1.1 No", "450 4.2.1 Busy"]}
    with ScriptedServer(script) as server:
        with real_queue(server):
            email("a@example.com", key="k").send()
            deliver()
        with real_queue(server, mode="now"), pytest.raises(RecipientsRefused):
            email("a@example.com", key="k").send()
    assert statuses() == ["failed"]


def test_a_long_wait_renews_the_lease(monkeypatch):
    """While the reply is awaited the sweep does not take the mail for a dead process's."""
    monkeypatch.setattr(immediate, "lease_seconds", lambda: 0.6)
    ends = []

    def look(conversation, argument):
        ends.append(Delivery.objects.get().lease_expires_at)
        connection.close()
        return Delay(0.5)

    with ScriptedServer({"EOD": look}) as server, real_queue(server, mode="now"):
        settle, at_settle = ledger.settle, []

        def settled(*args):
            at_settle.append(Delivery.objects.get().lease_expires_at)
            return settle(*args)

        monkeypatch.setattr(ledger, "settle", settled)
        assert email("a@example.com").send() == 1
    assert at_settle[0] > ends[0]


@pytest.mark.parametrize("window", [1, 4])
def test_a_process_that_slept_through_its_lease_sends_nothing(monkeypatch, window):
    """Who wakes up too late raises, unsent, and the mailer is not blamed for it."""
    with (
        ScriptedServer(chunking=True) as server,
        real_queue(server, mode="now", chunking_window=window),
    ):
        monkeypatch.setattr(ledger.Lease, "valid", lambda lease: False)
        with pytest.raises(SMTPError):
            email("a@example.com").send()
        assert server.messages == ()
    assert statuses() == ["failed"]
    assert not Route.objects.exists()


def test_an_answer_about_the_account_holds_the_mailer():
    """A 530 to MAIL is about the login in this mode, too: the next mail is not even tried."""
    script = {"MAIL": "530 5.7.0 Authentication required"}
    with ScriptedServer(script) as server, real_queue(server, mode="now"):
        for _ in range(2):
            with pytest.raises(SMTPError):
                email("a@example.com").send()
        assert len(server.sessions) == 1
    assert Route.objects.get().state == "held"
