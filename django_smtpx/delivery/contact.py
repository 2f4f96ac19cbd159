"""A course's session: how it is had and given back, and what rests where none is to be had."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from django_smtpx import ledger, pacing
from django_smtpx.config import lease as lease_seconds
from django_smtpx.delivery.approach import Approach, approach
from django_smtpx.delivery.jobs import Job, book_failure, book_verdict, jobs_of, rows_of_jobs
from django_smtpx.delivery.opening import close, opened, tls_optional
from django_smtpx.delivery.routing import doubt
from django_smtpx.delivery.sessions import is_one_of, limits_of, may_carry, open_session
from django_smtpx.delivery.stopping import LOOK_EVERY, Stopped
from django_smtpx.delivery.tallying import tally, tally_unresolved
from django_smtpx.models import Category, Delivery
from django_smtpx.mx.waiting import meanwhile
from django_smtpx.retry import is_over
from django_smtpx.smtp import SMTPError
from django_smtpx.smtp.pool import default_pool
from django_smtpx.smtp.verdict import FINAL_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from django_smtpx.delivery.holdings import Holdings
    from django_smtpx.delivery.minding import Minder
    from django_smtpx.ledger import Booking, Lease
    from django_smtpx.mailer import Way
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.session import Session

_LOOKED_AT = 100
"""Deliveries that are looked at at a time for those that have come to their age."""


class Contact:
    """The one session at a time that a course has with the hosts of its way.

    ``closed`` says that the way takes no more mail of this course, ``tried`` that hosts were
    tried. With ``throttled`` each connection made counts towards more of them. ``settle`` writes
    outcomes.

    Where mail goes straight to a domain, what cannot be delivered now burns a step of its
    schedule and ages: nobody may ever answer there.
    """

    def __init__(
        self,
        way: Way,
        holds: Holdings,
        minder: Minder,
        *,
        settle: Callable[[Lease, Sequence[Booking]], object],
        stopping: Callable[[], bool],
        rand: Callable[[], float],
    ) -> None:
        self.session: Session | None = None
        self.closed = False
        self.tried = False
        self.throttled = False
        self._way = way
        self._mailer = way.mailer
        self._holds = holds
        self._minder = minder
        self._settle = settle
        self._stopping = stopping
        self._rand = rand
        self._ways: tuple[Options, ...] = ()
        self._alone: int | None = None
        self._authentic = False

    # -- had -------------------------------------------------------------------------------------

    def session_for(self, lease: Lease, jobs: deque[Job]) -> Session | None:
        """Return a session for the first job: the one that is open, or a new one.

        Without one something was decided about that job, at least, or the contact is closed.
        """
        if self.session is not None and not self.fits(jobs[0]):
            self.drop()
        return self.session or self._open(lease, jobs)

    def fits(self, job: Job) -> bool:
        """Say whether ``job`` may go over the session that is open, by the TLS that it wants."""
        if self.session is None:
            return True
        if self._alone is not None and job.message != self._alone:
            return False
        wants = bool(self._way.domain) and job.require_tls
        # A certificate is not enough: somebody has to say that it is the domain's server.
        return not wants or (self._authentic and self.session.takes_requiretls)

    def may_carry(self, session: Session) -> int:
        """Return how many more messages ``session`` may carry."""
        return may_carry(session, self._way, self._ways)

    def _open(self, lease: Lease, jobs: deque[Job]) -> Session | None:
        """Get a session for the first job; without one, it alone has failed."""
        job = jobs[0]
        opening = self._opening(lease)
        try:
            with meanwhile(lambda: opening.waiting(0.0)):
                attempt = approach(
                    self._way, job.require_tls, lambda: _tls_optional(job, self._way)
                )
        except SMTPError as unresolved:
            tally_unresolved(self._way, unresolved, lambda: _tls_optional(job, self._way))
            self._book_unresolved(lease, jobs, unresolved)
            return None
        known = attempt.hosts
        if not (self._holds.may_connect(lease, known) and self._may_log_in(lease, jobs)):
            self.closed = True
            return None
        try:
            return self._try_hosts(lease, jobs, attempt)
        finally:
            self._holds.end_login()

    def _opening(self, lease: Lease) -> _Opening:
        return _Opening(lambda: self._holds.keep(lease), lease, self._stopping)

    def drop(self, *, keep: bool = True) -> bool:
        """Give the session back to the pool; return whether it stays open there."""
        session, self.session = self.session, None
        limits = limits_of(self._mailer, keep=keep)
        return session is not None and default_pool.release(session, limits)

    def _try_hosts(self, lease: Lease, jobs: deque[Job], attempt: Approach) -> Session | None:
        known = attempt.hosts
        hosts = pacing.hosts_to_try(self._way, known, lease.now())
        if hosts.why is not None:
            self._put_away(lease, jobs, hosts.why, hosts.rests)
            return None
        self._minder.begin(known)
        self.tried = True
        opening = open_session(
            self._mailer,
            self._minder.worth_trying(hosts.options),
            self._opening(lease),
            tls_optional=lambda: _tls_optional(jobs[0], self._way),
            instead=attempt.instead,
            unfit=attempt.unfit,
        )
        tally(attempt, opening, lambda: _tls_optional(jobs[0], self._way))
        self.session = session = opening.session
        self._ways = attempt.carriers
        self._authentic = attempt.route.authentic
        for error in opening.failures:
            pacing.book_host_failure(
                self._way, known, error, lease.now(), probed=error.host in hosts.probing
            )
        if session is None:
            self._book_unopened(lease, jobs, attempt, opening.failures)
            return None
        # Opened for a message that does without the TLS that others want.
        self._alone = None if is_one_of(session, self._ways) else jobs[0].message
        if session.host in hosts.probing:
            pacing.book_host_success(self._way, session.host)
        if session.transactions == 0 and (self._way.domain or self.throttled):
            pacing.book_connection(self._way, lease.now(), made=True)
        self._note(lease, jobs, opening.failures)
        return session

    def _may_log_in(self, lease: Lease, jobs: deque[Job]) -> bool:
        """Wait for the turn to log in, and see whether the way is open still: whoever logged in
        since this drain began may have been refused.
        """
        if not self._holds.await_login(lease, self._stopping):
            return False
        gate = pacing.gate(self._way, lease.now())
        if gate.is_open:
            return True
        self._holds.end_login()
        if gate.parks:
            ledger.rest(lease, rows_of_jobs(jobs), gate.until)
            jobs.clear()
        return False

    # -- not had ---------------------------------------------------------------------------------

    def rest(self, lease: Lease, jobs: deque[Job], failures: Sequence[SMTPError]) -> None:
        """Book a failed session on the message it was opened for; the others rest."""
        *earlier, last = failures
        self._note(lease, jobs, earlier)
        until = self._book_failure(last, lease)
        job = jobs.popleft()
        if self._way.domain:
            self._decide(lease, (job,), last, until)
        else:
            self._settle(lease, book_failure(job, last, self._mailer, lease.now(), until))
        if until is None or until > lease.now():
            if jobs:
                self._put_away(lease, jobs, last, until)
            if self._way.domain and until is not None:
                self._end_the_old(last, until)
        self.closed = True

    def rest_untouched(self, lease: Lease, jobs: deque[Job], failure: SMTPError) -> None:
        """Rest the way with all its mail: session upon session ends, and nothing is taken."""
        until = pacing.book_failure(self._way, failure, lease.now())
        self._put_away(lease, jobs, failure, until)

    def _put_away(
        self, lease: Lease, jobs: deque[Job], error: SMTPError, until: datetime | None
    ) -> None:
        """Let all that was claimed rest until then; what has come to its age on the way to a domain
        ends with the ``error`` of the others.
        """
        ages = bool(self._way.domain) and until is not None
        if ages:
            over = [job for job in jobs if job.is_over(self._mailer, lease.now())]
            for job in over:
                jobs.remove(job)
            self._decide(lease, over, error, until)
        ledger.rest(lease, rows_of_jobs(jobs), until, ages=ages)
        jobs.clear()
        self.closed = True

    def _end_the_old(self, error: SMTPError, until: datetime) -> None:
        """End what else waits for the domain and has come to its age: a probe is one message."""
        for lane in (Delivery.Lane.READY, Delivery.Lane.AGAIN):
            ended = True
            while ended and not self._stopping():
                lease, rows = ledger.claim(
                    self._way.name,
                    _LOOKED_AT,
                    lease_seconds(),
                    lane=lane,
                    destination=self._way.domain,
                )
                jobs = deque(jobs_of(rows))
                self._put_away(lease, jobs, error, until)
                ended = any(is_over(row.history, self._mailer.retry, lease.now()) for row in rows)

    def _book_unresolved(self, lease: Lease, jobs: deque[Job], error: SMTPError) -> None:
        """Book that no host was found: for good, or the way rests."""
        if error.action not in FINAL_ACTIONS:
            self.rest(lease, jobs, (error,))
            return
        # What a message asks for is about that one; what the DNS says is about all.
        alone = error.category == Category.UNSUPPORTED
        ended = [jobs.popleft() for _ in range(1 if alone else len(jobs))]
        self._decide(lease, ended, error)

    def _book_unopened(
        self, lease: Lease, jobs: deque[Job], attempt: Approach, failures: Sequence[SMTPError]
    ) -> None:
        """Book that no host gave a session; what one message alone wants is not about the way."""
        if any(error.category == Category.TLS_ERROR for error in failures):
            doubt(self._way)
        if not attempt.is_about_message(failures):
            self.rest(lease, jobs, failures)
            return
        *earlier, last = sorted(failures, key=lambda error: error.temporary)
        self._note(lease, jobs, earlier)
        self._decide(lease, (jobs.popleft(),), last)

    def _decide(
        self, lease: Lease, jobs: Iterable[Job], error: SMTPError, until: datetime | None = None
    ) -> None:
        """Book ``error`` as the verdict on the recipients of ``jobs``."""
        now = lease.now()
        bookings = [
            booking
            for job in jobs
            for booking in book_verdict(
                job, error, self._mailer, now=now, rand=self._rand, until=until
            )
        ]
        if bookings:
            self._settle(lease, bookings)

    def _book_failure(self, error: SMTPError, lease: Lease) -> datetime | None:
        """Book a session that could not be had, and return until when the mail rests.

        One connection too many is no reason for the others to end: there are fewer from now on.
        """
        now = lease.now()
        if error.action == "slow":
            pacing.book_connection(self._way, now, made=False)
            if pacing.used_slots(self._way, now, self._mailer.max_connections) > 1:
                self._holds.leave_room()
                return now
        elif self._way.domain:
            pacing.book_connection(self._way, now, made=False)
        return pacing.book_failure(self._way, error, now)

    def _note(self, lease: Lease, jobs: deque[Job], failures: Sequence[SMTPError]) -> None:
        """Book hosts that failed on the message that they were tried for."""
        for error in failures:
            job = jobs.popleft()
            ledger.note(lease, book_failure(job, error, self._mailer, lease.now(), None))
            jobs.appendleft(job.tried_once_more())


def _tls_optional(job: Job, way: Way) -> bool:
    """Say whether the message of ``job`` is to go even where TLS cannot be verified."""
    content = opened(ledger.contents(job.rows).get(job.message))
    try:
        return content is not None and tls_optional(job.envelope(content, way.mailer))
    finally:
        close(content)


class _Opening:
    """The caller's say while hosts are found and a session is opened: what is held is kept, until
    the drain stops.
    """

    def __init__(
        self, keep_alive: Callable[[], None], lease: Lease, stopping: Callable[[], bool]
    ) -> None:
        self._keep_every = min(10.0, lease.seconds / 3)
        self.interval = min(self._keep_every, LOOK_EVERY)
        self._keep_alive = keep_alive
        self._stopping = stopping
        self._kept = time.monotonic()

    def may_send(self, envelope: object) -> bool:
        """No content leaves while a session is opened."""
        return False

    def waiting(self, elapsed: float) -> None:
        """Renew the lease and the slot."""
        if self._stopping():
            raise Stopped
        if time.monotonic() - self._kept >= self._keep_every:
            self._kept = time.monotonic()
            self._keep_alive()
