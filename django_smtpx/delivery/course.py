"""A drain's run along one way: claim upon claim, over one connection at a time."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError

from django_smtpx import ledger, pacing
from django_smtpx.delivery.appetite import Appetite
from django_smtpx.delivery.chunk import Chunk
from django_smtpx.delivery.claims import Claims
from django_smtpx.delivery.contact import Contact
from django_smtpx.delivery.holdings import Holdings
from django_smtpx.delivery.jobs import Job, Rest, book, fitted, jobs_of, rows_of_jobs
from django_smtpx.delivery.minding import Minder
from django_smtpx.delivery.patience import Patience
from django_smtpx.delivery.stopping import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from django_smtpx.ledger import Booking, Lease, Row
    from django_smtpx.mailer import Way
    from django_smtpx.smtp import Outcome
    from django_smtpx.smtp.session import Session

BATCH = 100
"""Deliveries in one claim."""

_FRUITLESS = 2
"""Fresh sessions in a row that ended before the server said a word about any mail."""

_BARREN = 3
"""Fresh sessions in a row that ended, with a verdict on some mail and none of it sent."""

_LOOK_AGAIN = timedelta(minutes=1)
"""After so long what would be held is tried again, where the hold could not be written."""

logger = logging.getLogger("django_smtpx.delivery")


@dataclass(frozen=True, slots=True)
class Shift:
    """What a drain lends each of its courses.

    ``wake`` asks for one more drain, ``over`` says that the time is up or the
    worker stops, ``stopping`` that it is the latter, which cannot wait;
    ``harmless`` are the exceptions that are not the fault of the mail under way.
    """

    wake: Callable[[], None]
    over: Callable[[], bool]
    stopping: Callable[[], bool]
    clock: Callable[[], float]
    rand: Callable[[], float]
    harmless: tuple[type[BaseException], ...]


class Course:
    """One run along one way, in one process; ``booked`` counts its outcomes."""

    def __init__(self, way: Way, shift: Shift, *, linger: float = 0.0) -> None:
        self.way = way
        self.booked = 0
        self.began = False
        self._mailer = way.mailer
        self._shift = shift
        self._claims = Claims(way, shift.clock, linger)
        self._time: ledger.Reading
        self._minder = Minder(way, self._pace)
        self._meter = self._metered(())
        self._holds = Holdings(way)
        self._contact = Contact(
            way,
            self._holds,
            self._minder,
            settle=self._settle,
            stopping=shift.stopping,
            rand=shift.rand,
        )
        self._gate = pacing.Gate(True)
        self._closed = False
        self._calls_for_help = False
        self._appetite = Appetite()
        self._fruitless = 0
        self._barren = 0
        self._sent = 0
        self._to_fit = False
        self._sending_since: float | None = None
        self._patience = Patience()
        self._idle = False

    def run(self) -> int:
        """Deliver until nothing is ready, the way rests, or the drain is over."""
        if not self._claims.is_worth_beginning():
            return 0
        self._time = self._claims.reading()
        at = self._time.now()
        self._gate = gate = pacing.gate(self.way, at)
        if not gate.is_open:
            if gate.parks:
                destination = gate.domain or None
                ledger.park(self.way.name, gate.until, at, destination=destination, ages=gate.ages)
            return 0
        most = pacing.connections(self.way)
        self._minder.probing = gate.probing
        self._contact.throttled = most < self._mailer.max_connections
        if not self._holds.take(at, 1 if gate.probing else most):
            return 0
        self.began = True
        try:
            self._work()
        except BaseException as error:
            if self._contact.session is not None:
                self._contact.session.abort()
            if not isinstance(error, Stopped):
                raise
        finally:
            self._end()
        return self.booked

    # -- claims ----------------------------------------------------------------------------------

    def _work(self) -> None:
        """Send what is suspected of killing workers, one by one, and then the rest by batches."""
        while self._claims.has_suspects() and not self._over() and self._survey():
            self._send_claimed(self._claims.claim_suspect(), 1)
        while not self._over() and self._claims.has_some() and self._survey():
            most = 1 if self._gate.probing else self._appetite.most(BATCH, self._room())
            self._send_claimed(self._claims.claim(most), most)

    def _send_claimed(self, claimed: tuple[Lease, list[Row]] | None, most: int) -> None:
        if claimed is None:
            return
        lease, rows = claimed
        helps = self._appetite.calls_for_help(len(rows), most, BATCH)
        self._calls_for_help = helps and not self._meter.waited
        jobs = jobs_of(self._sorted_out(lease, rows))
        self._appetite.digest(len(rows), len(jobs))
        self._send(lease, self._in_order(jobs))

    def _room(self) -> int:
        session = self._contact.session
        return 0 if session is None else self._contact.may_carry(session)

    def _survey(self) -> bool:
        """Look at what rests on the way; False when none of its mail may go just now."""
        at = self._time.now()
        self._seen = pacing.survey(self.way, at)
        if self._seen.rests is not None:
            # Somebody else has closed it since.
            rests = self._seen.rests
            ledger.park(
                self.way.name, rests.until, at, destination=self.way.domain, ages=rests.ages
            )
            return False
        limits = pacing.limits_on(self.way, self._seen.slowdown, at.timestamp())
        if limits != self._meter.limits:
            self._meter.close()
            self._meter = self._metered(limits)
        return self._meter.soon()

    def _sorted_out(self, lease: Lease, rows: Sequence[Row]) -> list[Row]:
        """Return the rows to send; the others are settled, or rest with what they wait for."""
        if self._mailer.suppression:
            rows = ledger.set_aside_suppressed(lease, rows)
        may_go, resting = self._minder.sort(rows, self._seen, lease.now())
        for rests, group in resting:
            ledger.rest(lease, group, rests.until)
        return may_go

    def _in_order(self, jobs: Iterable[Job]) -> deque[Job]:
        """Return the jobs as they go: straight to a domain, those with REQUIRETLS want a session
        of their own, and go behind the others.
        """
        if self.way.domain:
            return deque(sorted(jobs, key=lambda job: job.require_tls))
        return deque(jobs)

    def _over(self) -> bool:
        return self._is_closed or self._shift.over()

    @property
    def _is_closed(self) -> bool:
        """Whether the way takes no more mail of this course, which is lost without its slot."""
        closed = self._closed or self._contact.closed or self._minder.closed
        return closed or self._holds.slot is None

    # -- chunks ----------------------------------------------------------------------------------

    def _send(self, lease: Lease, jobs: deque[Job]) -> None:
        """Send what was claimed, chunk by chunk; what is not begun in time goes back."""
        try:
            while jobs and self._may_go_on(lease):
                if not self._minder.may_begin(jobs[0]):
                    self._set_aside(lease, jobs)
                    continue
                session = self._contact.session_for(lease, jobs)
                if session is None:
                    continue
                if self._calls_for_help:
                    # Not before there is a session: what one is refused, many would be refused.
                    self._calls_for_help = False
                    self._shift.wake()
                chunk = self._chunk(lease, jobs, session)
                if chunk.mark():
                    self._send_chunk(session, chunk, lease, jobs)
                if chunk.lost:
                    logger.warning("The lease on mail of %s was lost.", self.way)
                    jobs.clear()
        finally:
            if jobs:
                self._patience.outlast(lambda: ledger.release(lease, rows_of_jobs(jobs)))

    def _may_go_on(self, lease: Lease) -> bool:
        """Say whether another chunk may begin; without its slot a drain may have no connection."""
        self._holds.keep_slot(lease)
        if self._minder.slowed:
            self._minder.slowed = False
            if not self._survey():
                return False
        return not self._over() and self._meter.soon()

    def _may_go_further(self, lease: Lease, session: Session) -> bool:
        """Say whether more may be marked while the session works, with nothing else to see to."""
        minded = not (self._minder.slowed or self._minder.leaves or self._to_fit)
        may_carry_more = minded and self._contact.may_carry(session) > 0
        return may_carry_more and self._may_go_on(lease)

    def _set_aside(self, lease: Lease, jobs: deque[Job]) -> None:
        """Let what is left of a refused sender rest with it."""
        self._seen = pacing.survey(self.way, lease.now())
        left = jobs_of(self._sorted_out(lease, rows_of_jobs(jobs)))
        jobs.clear()
        jobs.extend(left)
        self._minder.set_aside()

    def _chunk(self, lease: Lease, jobs: deque[Job], session: Session) -> Chunk:
        if any(len(job.rows) > 1 for job in jobs):
            fit = fitted(jobs, session)
            jobs.clear()
            jobs.extend(fit)
        self._to_fit = False
        if self._sending_since is None:
            self._sending_since = self._shift.clock()
        return Chunk(
            lease,
            jobs,
            envelope=lambda job, content: job.envelope(content, self._mailer),
            book=lambda outcome, job: self._book(lease, outcome, job),
            settle=lambda bookings, marking, meanwhile: self._settle(
                lease, bookings, marking, meanwhile
            ),
            keep_alive=lambda: self._holds.keep(lease),
            go_on=lambda: not self._is_closed,
            go_further=lambda: self._may_go_further(lease, session),
            may_begin=self._may_begin,
            prepare=session.prepare,
            stopping=self._shift.stopping,
            meter=self._meter,
            most=self._contact.may_carry(session),
        )

    def _may_begin(self, job: Job) -> bool:
        ends = self._minder.leaves or self._shift.stopping()
        return not ends and self._minder.may_begin(job) and self._contact.fits(job)

    def _book(self, lease: Lease, outcome: Outcome, job: Job) -> list[Booking]:
        """Decide about one transaction; an answer may be about more than its recipient."""
        now = lease.now()
        ledger.time_phases(self.way.name, outcome.phases)
        self._sent += any(result.outcome == "sent" for result in outcome.results)
        self._to_fit |= any(result.action == "split" for result in outcome.results)
        try:
            rests = self._minder.mind(outcome, job, lease)
        except DatabaseError:
            # What became of the mail is known all the same, and is not to be lost with it.
            logger.exception("What a server asked of %s cannot be written.", self.way)
            self._closed = True
            again = Rest(now + _LOOK_AGAIN, park=True)
            held = (result for result in outcome.results if result.action == "hold")
            rests = {(result.action, result.category): again for result in held}
        return book(outcome, job, self._mailer, now=now, rand=self._shift.rand, rests=rests)

    def _send_chunk(self, session: Session, chunk: Chunk, lease: Lease, jobs: deque[Job]) -> None:
        """Send one chunk, and look at what it says about the session and the way."""
        fresh = session.transactions == 0
        try:
            done = chunk.send(session)
        except BaseException as error:
            harmless = isinstance(error, (Stopped, *self._shift.harmless))
            ours = isinstance(error, Exception) and not harmless
            while jobs and (ours or chunk.in_doubt(jobs[0])):
                self._abandon(lease, jobs, chunk)
                ours = False
            raise
        if self._gate.probing and done and not self._is_closed:
            self._prove(lease, sent=bool(chunk.sent))
        if session.usable:
            self._fruitless = 0
            if self._minder.leaves or self._contact.may_carry(session) <= 0:
                self._contact.drop(keep=False)
            return
        self._contact.drop()
        if chunk.withheld:
            return
        self._fruitless = 0 if done else self._fruitless + fresh
        self._barren = 0 if chunk.sent else self._barren + fresh
        if session.failure is None or not jobs or self._minder.closed:
            return
        if self._fruitless >= _FRUITLESS:
            self._contact.rest(lease, jobs, (session.failure,))
        elif self._barren >= _BARREN:
            self._contact.rest_untouched(lease, jobs, session.failure)

    def _prove(self, lease: Lease, *, sent: bool) -> None:
        """Open the way again after a probe, where that says that what closed it is over."""
        if sent or not (self._gate.wants_success or self._minder.leaves):
            pacing.book_success(self.way, lease.now())
            self._gate = pacing.Gate(True)
            self._minder.probing = False

    def _pace(self) -> float:
        """Return how many contents a second left on this way lately, over all connections."""
        since = self._sending_since
        elapsed = max(self._shift.clock() - since, 1.0) if since is not None else 1.0
        used = pacing.used_slots(self.way, self._time.now(), self._mailer.max_connections)
        return max(self._sent, 1) / elapsed * max(used, 1)

    def _metered(self, limits: Sequence[pacing.Limit]) -> pacing.Meter:
        return pacing.Meter(
            limits, lambda: self._time.now().timestamp(), stopping=self._shift.stopping
        )

    def _abandon(self, lease: Lease, jobs: deque[Job], chunk: Chunk) -> None:
        """Leave the mail that was under way to the sweep: an error of our own counts against it,
        and what may have left without an outcome on record is never given back as unsent.
        """
        job = jobs.popleft()
        ledger.abandon(lease, job.rows, in_doubt=chunk.in_doubt(job))

    def _settle(
        self,
        lease: Lease,
        bookings: Sequence[Booking],
        marking: Sequence[Row] = (),
        meanwhile: Callable[[], None] | None = None,
    ) -> bool:
        """Write outcomes, and mark what may leave next; False where the lease was lost.

        While the database is away for a moment, nothing is sent.
        """
        written, marked = self._patience.outlast(
            lambda: ledger.settle_and_mark(lease, bookings, marking, meanwhile)
        )
        self.booked += written
        return marked

    # -- the end ---------------------------------------------------------------------------------

    def _end(self) -> None:
        """Leave the session to the pool's reaper, and the slot to the session."""
        try:
            self._patience.outlast(self._meter.close)
        finally:
            self._patience.outlast(self._give_back)

    def _give_back(self) -> None:
        slot, now = self._holds.slot, self._time.now()
        if slot is not None and slot.rested and not self._contact.tried:
            # Nothing was to do, and the session that the slot stands for is idle still.
            self._holds.give_back(now, idle=True)
            return
        # The last slot is left to whoever comes next: in another process it would wait for this
        # session to end.
        keep = slot is not None and not self._shift.stopping()
        keep = keep and pacing.has_free_slot(self.way, now)
        self._idle = self._contact.drop(keep=keep) or self._idle
        self._holds.give_back(now, idle=self._idle)
