"""Claimed rows as jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from django_smtpx.delivery.jobs import (
    Job,
    book,
    book_failure,
    book_purged,
    jobs_of,
    kept,
    rows_of_jobs,
)
from django_smtpx.ledger import Row
from django_smtpx.mailer import Mailer
from django_smtpx.smtp import DSN, ConnectError, Outcome
from tests.factories import result

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAILER = Mailer(name="default", hosts=())
UNREACHABLE = ConnectError("Connection refused", host="mx", ip="192.0.2.1", category="unreachable")


def row(pk, message=1, mode="queue", sender="from@example.com", *, require_tls=False):
    """Return a claimed row."""
    return Row(
        pk=pk,
        message=message,
        recipient=f"{pk}@example.com",
        uuid=UUID(int=message),
        envelope_sender=sender,
        require_tls=require_tls,
        size=10,
        mailer="default",
        mode=mode,
        attempts=0,
        step=0,
        unknowns=0,
        leases_lost=0,
        marked=True,
        age_from=NOW,
        expires_at=None,
        domain="example.com",
        recipients=1,
    )


def test_recipients_of_a_message_share_a_transaction():
    """Rows come message by message, and leave as one job each."""
    jobs = jobs_of([row(1), row(2), row(3, message=2)])
    assert [len(job.rows) for job in jobs] == [2, 1]
    assert [job.message for job in jobs] == [1, 2]
    assert [r.pk for r in rows_of_jobs(jobs)] == [1, 2, 3]


def test_status_notifications_are_asked_for_under_the_uuid():
    """A mailer with dsn asks for every report, under the message's UUID; and none but that does."""
    asking = replace(MAILER, dsn=True)
    (job,) = jobs_of([row(1, message=7)])
    assert job.envelope(b"", MAILER).dsn is None
    wanted = DSN(ret="HDRS", envid=str(UUID(int=7)), notify=("SUCCESS", "FAILURE", "DELAY"))
    assert job.envelope(b"", asking).dsn == wanted
    (bounce,) = jobs_of([row(1, sender="")])
    assert bounce.envelope(b"", asking).dsn is None, "there is nobody to report to"


def test_required_tls_reaches_the_wire():
    """What the message asked for when it was sent is asked of the server."""
    (job,) = jobs_of([row(1, require_tls=True)])
    assert job.envelope(b"", MAILER).require_tls
    (job,) = jobs_of([row(1)])
    assert not job.envelope(b"", MAILER).require_tls


def test_no_more_recipients_than_every_server_must_take():
    """A message to many people goes in several transactions."""
    jobs = jobs_of([row(n) for n in range(250)])
    assert [len(job.rows) for job in jobs] == [100, 100, 50]


def test_an_envelope_is_its_job():
    """The envelope carries the job, so that its outcome finds the rows again."""
    job = Job((row(1), row(2)))
    envelope = job.envelope(b"content", MAILER)
    assert envelope.recipients == ("1@example.com", "2@example.com")
    assert envelope.sender == "from@example.com"
    assert envelope.ident is job


def test_each_recipient_is_decided_about():
    """One outcome per row, in order."""
    job = Job((row(1), row(2)))
    outcome = Outcome(
        job.envelope(b"x", MAILER),
        (result("1@example.com"), result("2@example.com", "failed")),
        0.5,
        "T",
    )
    first, second = book(outcome, job, MAILER, now=NOW, rand=lambda: 0.5)
    assert (first.decision.status, first.transcript, first.duration) == ("sent", "", 0.5)
    assert (second.decision.status, second.transcript) == ("failed", "T")


def test_in_now_mode_a_deferral_is_the_end():
    """Nothing of now mode is tried again."""
    job = Job((row(1, mode="now"),))
    outcome = Outcome(job.envelope(b"x", MAILER), (result("1@example.com", "deferred"),))
    (only,) = book(outcome, job, MAILER, now=NOW, rand=lambda: 0.5)
    assert (only.decision.status, only.decision.next_attempt_at) == ("failed", None)


def test_a_failed_session_parks():
    """No step is lost, the row rests with its mailer, and the reason is readable."""
    until = NOW + timedelta(minutes=1)
    (only,) = book_failure(Job((row(1),)), UNREACHABLE, MAILER, NOW, until)
    assert only.park
    assert (only.decision.status, only.decision.next_attempt_at, only.decision.step) == (
        "deferred",
        until,
        0,
    )
    assert only.result.reply == "Connection refused"
    assert (only.result.category, only.result.host, only.result.ip) == (
        "unreachable",
        "mx",
        "192.0.2.1",
    )


def test_a_failed_session_in_now_mode_is_failed():
    """In now mode it is final, and rests nowhere."""
    (only,) = book_failure(Job((row(1, mode="now"),)), UNREACHABLE, MAILER, NOW, None)
    assert (only.decision.status, only.park) == ("failed", False)


def test_a_servers_words_are_kept_as_they_are():
    """Where the server said something, the reply is its text alone."""
    error = ConnectError("long sentence", code=554, reply="No", category="other_permanent")
    (only,) = book_failure(Job((row(1),)), error, MAILER, NOW, NOW)
    assert (only.result.code, only.result.reply) == (554, "No")


def test_purged_content_fails():
    """Nobody can send what is not there any more."""
    (only,) = book_purged(Job((row(1),)), NOW)
    assert only.decision.status == "failed"
    assert "purged" in only.result.reply


def test_a_noted_attempt_counts():
    """After a host that failed, the next attempt has the next number."""
    assert Job((row(1),)).tried_once_more().rows[0].attempts == 1


@pytest.mark.parametrize("accepted", [True, False])
def test_split_only_where_someone_was_accepted(accepted):
    """A new transaction at once is for those that others made room for."""
    job = Job((row(1), row(2)))
    split = {"outcome": "deferred", "category": "too_many_recipients", "action": "split"}
    first = result("1@example.com") if accepted else result("1@example.com", **split)
    outcome = Outcome(job.envelope(b"x", MAILER), (first, result("2@example.com", **split)))
    second = book(outcome, job, MAILER, now=NOW, rand=lambda: 0.5)[1]
    assert (second.decision.next_attempt_at == NOW) is accepted
    assert second.decision.step == (0 if accepted else 1)


def test_what_is_put_off_together_comes_back_together():
    """One content for all of them then, and not one for each: they share the jitter."""
    job = Job(tuple(row(number) for number in range(1, 6)))
    later = {"outcome": "deferred", "category": "greylisted", "action": "retry"}
    results = tuple(result(f"{number}@example.com", **later) for number in range(1, 6))
    outcome = Outcome(job.envelope(b"x", MAILER), results)
    chances = iter((0.1, 0.3, 0.5, 0.7, 0.9))
    bookings = book(outcome, job, MAILER, now=NOW, rand=lambda: next(chances))
    assert len({booking.decision.next_attempt_at for booking in bookings}) == 1


def test_transcripts_of_success_are_kept_when_asked():
    """The mailer's transcript option decides."""
    from dataclasses import replace

    sent = result("a")
    assert kept("T", sent, MAILER) == ""
    assert kept("T", sent, replace(MAILER, transcript="always")) == "T"
