"""A course's session: how it is had and given back, and what rests where none is to be had."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django_smtpx import ledger, pacing
from django_smtpx.delivery.jobs import Job, book_failure, rows_of_jobs
from django_smtpx.delivery.opening import close, opened, tls_optional
from django_smtpx.delivery.sessions import limits_of, open_session
from django_smtpx.delivery.stopping import LOOK_EVERY, Stopped
from django_smtpx.smtp import SMTPError
from django_smtpx.smtp.pool import default_pool

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from django_smtpx.delivery.holdings import Holdings
    from django_smtpx.delivery.minding import Minder
    from django_smtpx.ledger import Booking, Lease
    from django_smtpx.mailer import Way
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.session import Session


class Contact:
    """The one session at a time that a course has with the hosts of its way.

    ``closed`` says that the way takes no more mail of this course, ``tried`` that hosts were
    tried. With ``throttled`` each connection made counts towards more of them. ``settle`` writes
    outcomes.
    """

    def __init__(
        self,
        way: Way,
        holds: Holdings,
        minder: Minder,
        *,
        settle: Callable[[Lease, Sequence[Booking]], object],
        stopping: Callable[[], bool],
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

    # -- had -------------------------------------------------------------------------------------

    def open(self, lease: Lease, jobs: deque[Job]) -> Session | None:
        """Get a session for the first job; without one, it alone has failed."""
        try:
            known = self._way.hosts()
        except SMTPError as unresolved:
            self.rest(lease, jobs, (unresolved,))
            return None
        if not (self._holds.may_connect(lease, known) and self._may_log_in(lease, jobs)):
            self.closed = True
            return None
        try:
            return self._try_hosts(lease, jobs, known)
        finally:
            self._holds.end_login()

    def drop(self, *, keep: bool = True) -> bool:
        """Give the session back to the pool; return whether it stays open there."""
        session, self.session = self.session, None
        limits = limits_of(self._mailer, keep=keep)
        return session is not None and default_pool.release(session, limits)

    def _try_hosts(
        self, lease: Lease, jobs: deque[Job], known: Sequence[Options]
    ) -> Session | None:
        hosts = pacing.hosts_to_try(self._way, known, lease.now())
        self._minder.begin(known)
        self.tried = True
        opening = open_session(
            self._mailer,
            self._minder.worth_trying(hosts.options),
            _Opening(lambda: self._holds.keep(lease), lease, self._stopping),
            tls_optional=lambda: _tls_optional(jobs[0], self._way),
        )
        self.session = session = opening.session
        for error in opening.failures:
            pacing.book_host_failure(self._way, known, error, lease.now())
        if session is None:
            self.rest(lease, jobs, opening.failures)
            return None
        if session.host in hosts.probing:
            pacing.book_host_success(self._way, session.host)
        if session.transactions == 0 and (self._way.domain or self.throttled):
            pacing.book_connection(self._way, made=True)
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
        self._settle(lease, book_failure(job, last, self._mailer, lease.now(), until))
        if jobs and (until is None or until > lease.now()):
            ledger.rest(lease, rows_of_jobs(jobs), until)
            jobs.clear()
        self.closed = True

    def rest_untouched(self, lease: Lease, jobs: deque[Job], failure: SMTPError) -> None:
        """Rest the way with all its mail: session upon session ends, and nothing is taken."""
        until = pacing.book_failure(self._way, failure, lease.now())
        ledger.rest(lease, rows_of_jobs(jobs), until)
        jobs.clear()
        self.closed = True

    def _book_failure(self, error: SMTPError, lease: Lease) -> datetime | None:
        """Book a session that could not be had, and return until when the mail rests.

        One connection too many is no reason for the others to end: there are fewer from now on.
        """
        now = lease.now()
        if error.action == "slow":
            pacing.book_connection(self._way, made=False)
            if pacing.used_slots(self._way, now, self._mailer.max_connections) > 1:
                self._holds.leave_room()
                return now
        elif self._way.domain:
            pacing.book_connection(self._way, made=False)
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
    """The caller's say while a session is opened: what is held is kept, until the drain stops."""

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
