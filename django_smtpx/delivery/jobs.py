"""Claimed rows as jobs: one message and the recipients of it that go together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Protocol

from django_smtpx.ledger import Booking, Row, condemns
from django_smtpx.models import ContentAway
from django_smtpx.retry import carried_out, decide, decide_now, is_over, parked
from django_smtpx.smtp import DSN, Envelope, Result
from django_smtpx.smtp.verdict import FINAL_ACTIONS
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from django_smtpx.config import Mailer
    from django_smtpx.smtp import Outcome, SMTPError
    from django_smtpx.smtp.envelope import Notify
    from django_smtpx.smtp.session import Session


_LONGEST_REASON = 1000

MAX_RECIPIENTS = 100
"""Recipients in one transaction: what every server must take (RFC 5321 section 4.5.3.1.8)."""


@dataclass(frozen=True, slots=True)
class Rest:
    """That a recipient waits for something else than its own schedule, and loses no step of it.

    ``until`` None: for a person. With ``park`` the time until then does not
    count towards its age.
    """

    until: datetime | None
    park: bool


@dataclass(frozen=True, slots=True)
class Job:
    """One transaction to be: rows of one message, in the order of the envelope's recipients."""

    rows: tuple[Row, ...]

    @property
    def message(self) -> int:
        """The message's primary key."""
        return self.rows[0].message

    @property
    def require_tls(self) -> bool:
        """Whether the message may travel over verified TLS only (RFC 8689)."""
        return self.rows[0].require_tls

    def is_over(self, mailer: Mailer, now: datetime) -> bool:
        """Say whether all of it has come to its age: one more failure is the last."""
        return all(is_over(row.history, mailer.retry, now) for row in self.rows)

    def envelope(self, content: bytes | BinaryIO, mailer: Mailer) -> Envelope:
        """Return the job as the wire knows it; its ``ident`` is the job."""
        first = self.rows[0]
        recipients = tuple(row.recipient for row in self.rows)
        return envelope_of(mailer, first, recipients, content, ident=self)

    def tried_once_more(self) -> Job:
        """Return the job after an attempt of it was noted that changed nothing else."""
        return Job(tuple(row.tried_once_more() for row in self.rows))


class Asking(Protocol):
    """What a message, or the row of one, says of how it is to be sent."""

    @property
    def uuid(self) -> UUID:
        """Names it to servers."""

    @property
    def envelope_sender(self) -> str:
        """The reverse path."""

    @property
    def require_tls(self) -> bool:
        """Whether it may travel over verified TLS only."""


def envelope_of(
    mailer: Mailer,
    message: Asking,
    recipients: Sequence[str],
    content: bytes | BinaryIO,
    *,
    ident: object = None,
) -> Envelope:
    """Return a message as the wire knows it, with the reports that ``mailer`` asks for (RFC 3461).

    Nobody would get a report about mail with the null reverse path.
    """
    sender = message.envelope_sender
    dsn = None
    if mailer.dsn and sender:
        notify: tuple[Notify, ...] = ("SUCCESS", "FAILURE", "DELAY")
        dsn = DSN(ret="HDRS", envid=str(message.uuid), notify=notify)
    return Envelope(
        sender, recipients, content, ident=ident, dsn=dsn, require_tls=message.require_tls
    )


def jobs_of(rows: Iterable[Row]) -> list[Job]:
    """Gather rows, which come message by message, into transactions."""
    jobs = []
    for _, group in groupby(rows, key=lambda row: row.message):
        members = list(group)
        jobs += [
            Job(tuple(members[at : at + MAX_RECIPIENTS]))
            for at in range(0, len(members), MAX_RECIPIENTS)
        ]
    return jobs


def fitted(jobs: Iterable[Job], session: Session) -> list[Job]:
    """Return ``jobs``, cut where they have more recipients than the session takes at once."""
    return [
        Job(tuple(job.rows[place] for place in group))
        for job in jobs
        for group in session.split([row.recipient for row in job.rows])
    ]


def rows_of_jobs(jobs: Iterable[Job]) -> list[Row]:
    """Return all rows of ``jobs``."""
    return [row for job in jobs for row in job.rows]


_NO_RESTS: Mapping[tuple[str, str], Rest] = MappingProxyType({})


def book(
    outcome: Outcome,
    job: Job,
    mailer: Mailer,
    *,
    now: datetime,
    rand: Callable[[], float],
    rests: Mapping[tuple[str, str], Rest] = _NO_RESTS,
) -> list[Booking]:
    """Decide about each recipient of one transaction.

    ``rests`` says, by action and category, which answers were about more than
    the recipient: those that they met wait for that. What is put off together
    comes back together, as one transaction and not as one for each recipient.
    """
    bookings = []
    jitter = rand()
    began = now - timedelta(seconds=outcome.duration)
    for row, result in zip(job.rows, _bounded(outcome.results), strict=True):
        rest = rests.get((result.action, result.category))
        if row.mode == "now":
            decision = decide_now(result, row.history)
        elif rest is not None:
            decision = parked(result, row.history, rest.until)
        else:
            decision = decide(
                result,
                row.history,
                mailer.retry,
                on_unknown=mailer.on_unknown,
                now=now,
                rand=jitter,
            )
        bookings.append(
            Booking(
                row=row,
                result=carried_out(_with_reason(result), decision),
                decision=decision,
                started_at=began,
                duration=outcome.duration,
                transcript=kept(outcome.transcript, result, mailer),
                park=rest is not None and rest.park and row.mode != "now",
                suppress=mailer.suppression and condemns(result),
                phases=outcome.phases,
            )
        )
    return bookings


def book_verdict(
    job: Job,
    error: SMTPError,
    mailer: Mailer,
    *,
    now: datetime,
    rand: Callable[[], float],
    until: datetime | None = None,
) -> list[Booking]:
    """Book an error that decides about each recipient, as if a server had said it: what the DNS
    says of a domain, or that none of its servers can be reached.

    What is tried again is so by its schedule, and not before ``until``, when the way there is open
    again.
    """
    bookings = []
    jitter = rand()
    took = sum(error.phases.values())
    for row in job.rows:
        result = _failure_result(row.recipient, error)
        if error.action in FINAL_ACTIONS:
            result = result._replace(outcome="failed")
        if row.mode == "now":
            decision = decide_now(result._replace(outcome="failed"), row.history)
        else:
            decision = decide(
                result,
                row.history,
                mailer.retry,
                on_unknown=mailer.on_unknown,
                now=now,
                rand=jitter,
            )
        due = decision.next_attempt_at
        if due is not None and until is not None and due < until:
            decision = decision._replace(next_attempt_at=until)
        bookings.append(
            Booking(
                row=row,
                result=result,
                decision=decision,
                started_at=now - timedelta(seconds=took),
                duration=took,
                transcript=kept(error.transcript, result, mailer),
                park=until is not None and decision.next_attempt_at is not None,
                ages=True,
                suppress=mailer.suppression and condemns(result),
                phases=error.phases,
            )
        )
    return bookings


def book_failure(
    job: Job, error: SMTPError, mailer: Mailer, now: datetime, until: datetime | None
) -> list[Booking]:
    """Book a session that could not be had: not now, not the recipient's fault, no step lost.

    ``until`` is when the mailer's next probe is due.
    """
    bookings = []
    took = sum(error.phases.values())
    for row in job.rows:
        result = _failure_result(row.recipient, error)
        in_now_mode = row.mode == "now"
        decision = (
            decide_now(result._replace(outcome="failed"), row.history)
            if in_now_mode
            else parked(result, row.history, until)
        )
        bookings.append(
            Booking(
                row=row,
                result=result,
                decision=decision,
                started_at=now - timedelta(seconds=took),
                duration=took,
                transcript=kept(error.transcript, result, mailer),
                park=not in_now_mode,
                phases=error.phases,
            )
        )
    return bookings


def book_split(
    outcome: Outcome, job: Job, put_off: Sequence[Row], mailer: Mailer, now: datetime
) -> list[Booking]:
    """Book rows that the server put off because there were too many: they go at once, elsewhere."""
    return [
        Booking(
            row=row,
            result=result,
            decision=parked(result, row.history, None),
            started_at=now - timedelta(seconds=outcome.duration),
            duration=outcome.duration,
            transcript=kept(outcome.transcript, result, mailer),
            phases=outcome.phases,
        )
        for row, result in zip(job.rows, outcome.results, strict=True)
        if row in put_off
    ]


def book_purged(job: Job, now: datetime) -> list[Booking]:
    """Book a job whose message has no content any more: nobody can send it."""
    result = Result(
        recipient="",
        outcome="failed",
        category="other_permanent",
        action="fail",
        phase="data",
        command="",
        reply=said("The content of this message has been purged."),
    )
    return [
        Booking(row=row, result=result, decision=decide_now(result, row.history), started_at=now)
        for row in job.rows
    ]


def _failure_result(recipient: str, error: SMTPError) -> Result:
    return Result(
        recipient=recipient,
        outcome="deferred",
        category=error.category,
        action=error.action,
        phase=error.phase,
        command=error.command,
        code=error.code,
        enhanced_code=error.enhanced_code,
        reply=error.reply or ("" if error.code else str(error)),
        host=error.host,
        ip=error.ip,
        port=error.port,
        error=error,
        rule=error.rule,
    )


def _with_reason(result: Result) -> Result:
    """Say in place of a reply why a content that is kept elsewhere could not be had: nobody else
    would.
    """
    error = result.error
    if error is None or not isinstance(error.__cause__, ContentAway):
        return result
    return result._replace(reply=str(error)[:_LONGEST_REASON])


def kept(transcript: str, result: Result, mailer: Mailer) -> str:
    """Return the transcript where the mailer wants it kept for such a result."""
    wanted = mailer.transcript == "always" or (
        mailer.transcript == "failures" and result.outcome != "sent"
    )
    return transcript if wanted else ""


def _bounded(results: tuple[Result, ...]) -> tuple[Result, ...]:
    """Take "too many recipients" for a plain deferral where not one was accepted.

    A new transaction at once would meet the same answer, again and again.
    """
    if any(result.action != "split" for result in results):
        return results
    return tuple(result._replace(action="retry") for result in results)
