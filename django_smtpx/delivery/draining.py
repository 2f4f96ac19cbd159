"""The drain of one mailer."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError
from django.db import connections

from django_smtpx import ledger, pacing
from django_smtpx.config import lease as lease_seconds
from django_smtpx.delivery.chunk import Chunk
from django_smtpx.delivery.jobs import (
    Job,
    book,
    book_failure,
    fitted,
    holds_mailer,
    jobs_of,
    rows_of_jobs,
)
from django_smtpx.delivery.sessions import limits_of, may_carry, open_session
from django_smtpx.models import Delivery
from django_smtpx.smtp.pool import default_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django_smtpx.config import Mailer
    from django_smtpx.ledger import Booking, Lease
    from django_smtpx.smtp import Outcome, SMTPError
    from django_smtpx.smtp.session import Session

BATCH = 100
"""Deliveries in one claim."""

NO_NEW_WORK_AFTER = 20.0
"""Seconds after which a drain leaves the rest to its successor."""

_FRUITLESS = 2
"""Fresh sessions in a row that ended before the server said a word about any mail."""

_BARREN = 3
"""Fresh sessions in a row that ended, with a verdict on some mail and none of it sent."""

_SETTLE_TRIES = 6

logger = logging.getLogger("django_smtpx.delivery")


def drain(
    mailer: Mailer,
    *,
    wake: Callable[[], None] = lambda: None,
    linger: float = 0.0,
    stops: tuple[type[BaseException], ...] = (),
) -> int:
    """Deliver what is ready for ``mailer``, and return how many deliveries were settled or put off.

    ``wake`` is called when one more drain should run. ``linger`` is for how
    many seconds to look again once nothing is ready: as long as hints are
    coalesced, so that none of them is lost. ``stops`` are the exceptions that
    mean "end now", and say nothing about the mail under way.
    """
    return Drain(mailer, wake=wake, linger=linger, stops=stops).run()


class Drain:
    """One run over one mailer's ready mail, in one process and over one connection at a time."""

    def __init__(
        self,
        mailer: Mailer,
        *,
        wake: Callable[[], None] = lambda: None,
        linger: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        rand: Callable[[], float] = random.random,
        stops: tuple[type[BaseException], ...] = (),
    ) -> None:
        self.mailer = mailer
        self.booked = 0
        self._wake = wake
        self._linger = linger
        self._clock = clock
        self._rand = rand
        # Neither is the fault of the mail that is under way.
        self._harmless: tuple[type[BaseException], ...] = (DatabaseError, *stops)
        self._began = clock()
        self._session: Session | None = None
        self._slot: pacing.HeldSlot | None = None
        self._closed = False
        self._probing = False
        self._fruitless = 0
        self._barren = 0
        self._opened = False

    def run(self) -> int:
        """Deliver until nothing is ready, the mailer rests, or the time is up."""
        at = ledger.now()
        gate = pacing.gate(self.mailer, at)
        if not gate.is_open:
            ledger.park(self.mailer.name, gate.until, at)
            return 0
        self._probing = gate.probing
        self._slot = pacing.take_slot(self.mailer, at, probing=gate.probing)
        if self._slot is None:
            return 0
        try:
            self._work()
        except BaseException:
            if self._session is not None:
                self._session.abort()
            raise
        finally:
            self._end()
        return self.booked

    def _work(self) -> None:
        for lane, limit in ((Delivery.Lane.ALONE, 1), (Delivery.Lane.READY, BATCH)):
            while not self._over():
                most = 1 if self._probing else limit
                lease, rows = ledger.claim(self.mailer.name, most, lease_seconds(), lane=lane)
                if not rows:
                    if lane == Delivery.Lane.ALONE or not self._look_again():
                        break
                    continue
                if len(rows) == BATCH:
                    self._wake()
                self._send(lease, deque(jobs_of(rows)))
        if self._time_is_up():
            self._wake()

    def _look_again(self) -> bool:
        """Wait for hints that were coalesced into the one that began this drain, once."""
        wait, self._linger = self._linger, 0.0
        if wait:
            time.sleep(wait)
        return bool(wait)

    def _over(self) -> bool:
        return self._closed or self._time_is_up()

    def _time_is_up(self) -> bool:
        return self._clock() - self._began > NO_NEW_WORK_AFTER

    def _send(self, lease: Lease, jobs: deque[Job]) -> None:
        """Send what was claimed, chunk by chunk; what is not begun in time goes back."""
        try:
            while jobs and self._may_go_on(lease):
                session = self._session or self._open(lease, jobs)
                if session is None:
                    break
                chunk = self._chunk(lease, jobs, session)
                if not chunk.mark():
                    logger.warning("The lease on mail of %r was lost.", self.mailer.name)
                    jobs.clear()
                    break
                self._send_chunk(session, chunk, lease, jobs)
        finally:
            if jobs:
                ledger.release(lease, rows_of_jobs(jobs))

    def _may_go_on(self, lease: Lease) -> bool:
        """Say whether another chunk may begin; without its slot a drain may have no connection."""
        self._keep_slot(lease)
        return not self._over()

    def _chunk(self, lease: Lease, jobs: deque[Job], session: Session) -> Chunk:
        if any(len(job.rows) > 1 for job in jobs):
            fit = fitted(jobs, session)
            jobs.clear()
            jobs.extend(fit)
        return Chunk(
            lease,
            jobs,
            envelope=lambda job, content: job.envelope(content, self.mailer),
            book=lambda outcome, job: self._book(lease, outcome, job),
            settle=lambda bookings: self._settle(lease, bookings),
            keep_alive=lambda: self._keep_alive(lease),
            go_on=lambda: not self._closed,
            most=may_carry(session, self.mailer),
        )

    def _book(self, lease: Lease, outcome: Outcome, job: Job) -> list[Booking]:
        """Decide about one transaction; an answer about the account holds the mailer."""
        until = None
        for result in filter(holds_mailer, outcome.results):
            assert result.error is not None
            until = pacing.book_failure(self.mailer, result.error, lease.now())
            self._closed = True
            break
        return book(outcome, job, self.mailer, now=lease.now(), rand=self._rand, held_until=until)

    def _send_chunk(self, session: Session, chunk: Chunk, lease: Lease, jobs: deque[Job]) -> None:
        """Send one chunk, and look at what it says about the session and the mailer."""
        fresh = session.transactions == 0
        try:
            done = chunk.send(session)
        except BaseException as error:
            ours = isinstance(error, Exception) and not isinstance(error, self._harmless)
            while jobs and (ours or chunk.in_doubt(jobs[0])):
                self._abandon(lease, jobs, chunk)
                ours = False
            raise
        if done and self._probing and not self._closed:
            pacing.book_success(self.mailer, lease.now())
            self._probing = False
        if session.usable:
            self._fruitless = 0
            if may_carry(session, self.mailer) <= 0:
                self._drop_session()
            return
        self._drop_session()
        self._fruitless = 0 if done else self._fruitless + fresh
        self._barren = 0 if chunk.sent else self._barren + fresh
        if session.failure is None or not jobs:
            return
        if self._fruitless >= _FRUITLESS:
            self._rest(lease, jobs, (session.failure,))
        elif self._barren >= _BARREN:
            self._rest_untouched(lease, jobs, session.failure)

    def _abandon(self, lease: Lease, jobs: deque[Job], chunk: Chunk) -> None:
        """Leave the mail that was under way to the sweep: an error of our own counts against it,
        and what may have left without an outcome on record is never given back as unsent.
        """
        job = jobs.popleft()
        ledger.abandon(lease, job.rows, in_doubt=chunk.in_doubt(job))

    def _open(self, lease: Lease, jobs: deque[Job]) -> Session | None:
        """Get a session for the first job; without one, it alone has failed."""
        if not self._keep_for_opening(lease):
            return None
        self._opened = True
        opening = open_session(
            self.mailer,
            _Opening(lambda: self._keep_alive(lease), lease),
            tls_optional=lambda: _tls_optional(jobs[0], self.mailer),
        )
        self._session = opening.session
        if opening.session is None:
            self._rest(lease, jobs, opening.failures)
            return None
        self._note(lease, jobs, opening.failures)
        return opening.session

    def _rest(self, lease: Lease, jobs: deque[Job], failures: Sequence[SMTPError]) -> None:
        """Book a failed session on the message it was opened for; the others rest."""
        *earlier, last = failures
        self._note(lease, jobs, earlier)
        until = pacing.book_failure(self.mailer, last, lease.now())
        job = jobs.popleft()
        self._settle(lease, book_failure(job, last, self.mailer, lease.now(), until))
        if jobs:
            ledger.release(lease, rows_of_jobs(jobs), parked_until=until)
            jobs.clear()
        self._closed = True

    def _rest_untouched(self, lease: Lease, jobs: deque[Job], failure: SMTPError) -> None:
        """Rest the mailer with all its mail: session upon session ends, and nothing is taken."""
        until = pacing.book_failure(self.mailer, failure, lease.now())
        ledger.release(lease, rows_of_jobs(jobs), parked_until=until)
        jobs.clear()
        self._closed = True

    def _note(self, lease: Lease, jobs: deque[Job], failures: Sequence[SMTPError]) -> None:
        """Book hosts that failed on the message that they were tried for."""
        for error in failures:
            job = jobs.popleft()
            ledger.note(lease, book_failure(job, error, self.mailer, lease.now(), None))
            jobs.appendleft(job.tried_once_more())

    def _settle(self, lease: Lease, bookings: Sequence[Booking]) -> None:
        """Write outcomes; while the database is away for a moment, nothing is sent."""
        for attempt in range(1, _SETTLE_TRIES + 1):
            try:
                self.booked += ledger.settle(lease, bookings)
            except DatabaseError:
                connection = connections[ledger.database()]
                if connection.in_atomic_block or attempt == _SETTLE_TRIES:
                    raise
                connection.close()
                time.sleep(0.1 * 2**attempt)
            else:
                return

    def _keep_alive(self, lease: Lease) -> None:
        """Renew what this drain holds while it waits: its lease and its slot."""
        ledger.renew(lease)
        self._keep_slot(lease)

    def _keep_for_opening(self, lease: Lease) -> bool:
        """Keep the slot for as long as connecting may take: nothing can be renewed meanwhile.

        Returns False when somebody else has it: there may be no connection then.
        """
        if lease.runs_low():
            ledger.renew(lease)
        longest = sum(options.timeout for options in self.mailer.hosts)
        return self._renew_slot(lease, pacing.SLOT_LEASE + longest)

    def _keep_slot(self, lease: Lease) -> None:
        slot = self._slot
        left = pacing.SLOT_LEASE * 2 / 3
        if slot is not None and (slot.expires - lease.now()).total_seconds() < left:
            self._renew_slot(lease, pacing.SLOT_LEASE)

    def _renew_slot(self, lease: Lease, seconds: float) -> bool:
        """Renew the slot; a drain that has lost it takes no new work."""
        if self._slot is not None and pacing.renew_slot(self._slot, lease.now(), seconds):
            return True
        logger.warning("The connection slot of %r was lost.", self.mailer.name)
        self._slot, self._closed = None, True
        return False

    def _drop_session(self, *, keep: bool = True) -> bool:
        """Give the session back to the pool; return whether it stays open there."""
        session, self._session = self._session, None
        limits = limits_of(self.mailer)
        if not keep:
            limits = replace(limits, idle_timeout=0)
        return session is not None and default_pool.release(session, limits)

    def _end(self) -> None:
        """Leave the session to the pool's reaper, and the slot to the session."""
        slot, self._slot = self._slot, None
        if slot is not None and slot.rested and not self._opened:
            # Nothing was to do, and the session that the slot stands for is idle still.
            pacing.rest_slot(slot, ledger.now(), self.mailer.idle_timeout)
            return
        # The last slot is left to whoever comes next: in another process it would wait for this
        # session to end.
        keep = slot is not None and pacing.has_free_slot(self.mailer, ledger.now())
        idle = self._drop_session(keep=keep)
        if slot is None:
            return
        if idle:
            pacing.rest_slot(slot, ledger.now(), self.mailer.idle_timeout)
        else:
            pacing.free_slot(slot, ledger.now())


def _tls_optional(job: Job, mailer: Mailer) -> bool:
    """Say whether the message of ``job`` is to go even where TLS cannot be verified."""
    content = ledger.contents(job.rows).get(job.message)
    return content is not None and job.envelope(content, mailer).tls_optional


class _Opening:
    """The caller's say while a session is opened: what is held is kept."""

    def __init__(self, keep_alive: Callable[[], None], lease: Lease) -> None:
        self.interval = min(10.0, lease.seconds / 3)
        self._keep_alive = keep_alive

    def may_send(self, envelope: object) -> bool:
        """No content leaves while a session is opened."""
        return False

    def waiting(self, elapsed: float) -> None:
        """Renew the lease and the slot."""
        self._keep_alive()
