"""A few jobs on one session: marked together, sent one behind the other, settled together."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError

from django_smtpx import ledger
from django_smtpx.delivery.jobs import Job, book_purged, rows_of_jobs

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator, Sequence

    from django_smtpx.ledger import Booking, Lease
    from django_smtpx.pacing import Meter
    from django_smtpx.smtp import Envelope, Outcome
    from django_smtpx.smtp.session import Session

MAX_MESSAGES = 20
"""Messages whose content may have left and whose outcome is not written yet, at most."""

MAX_BYTES = 8 * 1024 * 1024
"""Content held in memory at once, unless a single message is larger."""

MAX_SECONDS = 1.0
"""For so long messages are sent before their outcomes are written."""

GIVE_BACK_AFTER = 5.0
"""Seconds of waiting for one reply after which jobs that were not begun go back."""

_RENEW_EVERY = 10.0

logger = logging.getLogger("django_smtpx.delivery")


class Chunk:
    """The jobs at the head of ``pending``, and the caller's say while a session works on them.

    A job leaves ``pending`` when its outcome is known, or when it was given back.
    ``withheld`` says that a content was kept back here, which ends a session:
    neither the server's fault nor the way's.
    """

    def __init__(
        self,
        lease: Lease,
        pending: deque[Job],
        *,
        envelope: Callable[[Job, bytes], Envelope],
        book: Callable[[Outcome, Job], list[Booking]],
        settle: Callable[[Sequence[Booking]], None],
        keep_alive: Callable[[], None],
        go_on: Callable[[], bool] = lambda: True,
        may_begin: Callable[[Job], bool] = lambda job: True,
        meter: Meter | None = None,
        most: int = MAX_MESSAGES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval = min(MAX_SECONDS, lease.seconds / 3)
        self.done = 0
        self.sent = 0
        self.withheld = False
        self._lease = lease
        self._pending = pending
        self._envelope = envelope
        self._book = book
        self._settle = settle
        self._keep_alive = keep_alive
        self._go_on = go_on
        self._may_begin = may_begin
        self._meter = meter
        self._clock = clock
        self._renewed = clock()
        self._unsettled: dict[int, list[Booking]] = {}
        self._given_back: set[int] = set()
        self._cleared: set[int] = set()
        self._fed = 0
        self._stop = False
        self._jobs = _head(pending, min(most, MAX_MESSAGES))
        self._contents = ledger.contents(rows_of_jobs(self._jobs))

    def mark(self) -> bool:
        """Write down what may leave next; False when the lease was lost, and nothing may."""
        purged = [job for job in self._jobs if job.message not in self._contents]
        for job in purged:
            self._jobs.remove(job)
            self._pending.remove(job)
            self._settle(book_purged(job, self._lease.now()))
        rows = rows_of_jobs(self._jobs)
        return ledger.mark(self._lease, rows) if rows else True

    def send(self, session: Session) -> int:
        """Send the jobs, write what became of them, and return how many have an outcome.

        What has none was not attempted, and stands at the head of ``pending``.
        An exception from outside is a stop: what is known is written first.
        """
        outcomes = session.transact(self._feed(), self)
        try:
            for outcome in outcomes:
                self._take(outcome)
        except BaseException:
            outcomes.close()
            self._take_interrupted(session.interrupted)
            raise
        finally:
            self._flush()
        return self.done

    def may_send(self, envelope: Envelope) -> bool:
        """Say whether the content may leave: its job is still ours, suspends counted."""
        job = envelope.ident
        if not (self._may_leave(job) and self._in_its_turn(job)):
            self.withheld = True
            return False
        self._cleared.add(id(job))
        return True

    def _may_leave(self, job: object) -> bool:
        return id(job) not in self._given_back and self._go_on() and self._lease.valid()

    def _in_its_turn(self, job: object) -> bool:
        """Count the content against the rate; what is known is written before it waits."""
        if self._meter is None:
            return True
        waiting = len(self._pending) - len(self._cleared)
        return self._meter.admit(self._may_wait, wanted=waiting) and self._may_leave(job)

    def _may_wait(self) -> bool:
        """Say whether there is nothing under way that would wait for its answer meanwhile."""
        self._flush()
        return not self._cleared

    def waiting(self, elapsed: float) -> None:
        """Write what is known, renew, and give back what a long wait keeps from beginning."""
        try:
            self._flush()
            if self._clock() - self._renewed > min(_RENEW_EVERY, self._lease.seconds / 3):
                self._renewed = self._clock()
                self._keep_alive()
            if elapsed >= GIVE_BACK_AFTER:
                self._give_back()
        except DatabaseError:
            # The reply that is being waited for is worth more than this: it is
            # read, and then nothing more is sent.
            logger.exception("The outbox cannot be written to while a reply is awaited.")
            self._stop = True

    def _feed(self) -> Iterator[Envelope]:
        began = self._clock()
        for job in self._jobs:
            late = self.done and self._clock() - began > MAX_SECONDS
            if late or self._stop or self._given_back or not self._may_be_fed(job):
                return
            self._fed += 1
            yield self._envelope(job, self._contents[job.message])

    def _may_be_fed(self, job: Job) -> bool:
        in_time = self._meter is None or self._meter.soon(self._not_counted())
        return in_time and self._go_on() and self._may_begin(job)

    def _not_counted(self) -> int:
        """Return how many jobs are under way whose content has not been let go yet."""
        return self._fed - self.done - len(self._cleared)

    def in_doubt(self, job: Job) -> bool:
        """Say whether content of ``job``, which has no outcome on record, may have left."""
        return id(job) in self._cleared

    def _take(self, outcome: Outcome) -> None:
        if id(outcome.envelope.ident) in self._given_back:
            # It was found unfit for this server, and no byte of it was sent.
            return
        job = self._pending[0]
        # By its job: after a stop between these lines it is taken again, and booked once.
        self._unsettled[id(job)] = self._book(outcome, job)
        self._pending.popleft()
        self._cleared.discard(id(job))
        self.done += 1
        self.sent += any(result.outcome == "sent" for result in outcome.results)

    def _take_interrupted(self, outcomes: Sequence[Outcome]) -> None:
        """Take what is known of the jobs under way, but those that were taken before the stop."""
        for outcome in outcomes:
            if self._pending and outcome.envelope.ident is self._pending[0]:
                self._take(outcome)
        # Of the others, no content has left as a whole.
        self._cleared.clear()

    def _flush(self) -> None:
        if not self._unsettled:
            return
        bookings = [booking for group in self._unsettled.values() for booking in group]
        try:
            self._settle(bookings)
        except DatabaseError:
            raise
        except BaseException:
            # A stop (a soft time limit) in the middle of it: what is known is
            # worth one more try before it takes effect.
            self._settle(bookings)
            self._unsettled = {}
            raise
        self._unsettled = {}

    def _give_back(self) -> None:
        """Give back all but the jobs whose replies are awaited."""
        under_way = max(1, sum(self.in_doubt(job) for job in self._pending))
        others = list(self._pending)[under_way:]
        if others:
            ledger.release(self._lease, rows_of_jobs(others))
            self._given_back.update(map(id, others))
            del self._jobs[self.done + under_way :]
            for _ in others:
                self._pending.pop()


def _head(pending: deque[Job], most: int) -> list[Job]:
    jobs: list[Job] = []
    size = 0
    for job in pending:
        size += job.rows[0].size
        if jobs and (len(jobs) >= most or size > MAX_BYTES):
            break
        jobs.append(job)
    return jobs
