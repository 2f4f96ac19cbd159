"""A few jobs on one session: marked together, sent one behind the other, settled together."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from django.db import Error as DatabaseError

from django_smtpx import ledger
from django_smtpx.delivery.contents import Contents
from django_smtpx.delivery.jobs import Job, book_purged, rows_of_jobs
from django_smtpx.delivery.stopping import Stopped, never

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from django_smtpx.ledger import Booking, Lease, Row
    from django_smtpx.pacing import Meter
    from django_smtpx.smtp import Envelope, Outcome
    from django_smtpx.smtp.session import Session

MAX_MESSAGES = 20
"""Messages whose content may have left and whose outcome is not written yet, at most."""

MAX_SECONDS = 1.0
"""For so long messages are sent before their outcomes are written."""

GIVE_BACK_AFTER = 5.0
"""Seconds of waiting for one reply after which jobs that were not begun go back."""

_RENEW_EVERY = 10.0

logger = logging.getLogger("django_smtpx.delivery")


def _nothing() -> None:
    """Do nothing."""


class Chunk:
    """The jobs at the head of ``pending``, and the caller's say while a session works on them.

    What is marked has been begun, one job after the other, when the next jobs are marked: in the
    transaction that settles what is known by then, and while the last one begun has its commands on
    the wire. So a session goes on without a pause, and there are never more than
    :data:`MAX_MESSAGES` that are marked and not settled.

    A job leaves ``pending`` when its outcome is known, or when it was given back. A large content,
    which is read while it is sent, goes alone. ``withheld`` says that a content was kept back here,
    which ends a session: neither the server's fault nor the way's; ``lost``, that the lease was.
    """

    def __init__(
        self,
        lease: Lease,
        pending: deque[Job],
        *,
        envelope: Callable[[Job, bytes | BinaryIO], Envelope],
        book: Callable[[Outcome, Job], list[Booking]],
        settle: Callable[[Sequence[Booking], Sequence[Row], Callable[[], None]], bool],
        keep_alive: Callable[[], None],
        go_on: Callable[[], bool] = lambda: True,
        go_further: Callable[[], bool] = lambda: True,
        may_begin: Callable[[Job], bool] = lambda job: True,
        prepare: Callable[[Envelope], None] = lambda envelope: None,
        stopping: Callable[[], bool] = never,
        meter: Meter | None = None,
        most: int = MAX_MESSAGES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval = min(MAX_SECONDS, lease.seconds / 3)
        self.done = 0
        self.sent = 0
        self.withheld = False
        self.lost = False
        self._lease = lease
        self._pending = pending
        self._envelope = envelope
        self._book = book
        self._settle = settle
        self._keep_alive = keep_alive
        self._go_on = go_on
        self._go_further = go_further
        self._may_begin = may_begin
        self._prepare = prepare
        self._prepared: dict[int, Envelope] = {}
        self._stopping = stopping
        self._meter = meter
        # A session that has just been opened carries one message, whatever its limits are.
        self._most = max(most, 1)
        self._clock = clock
        self._renewed = self._settled = clock()
        self._unsettled: dict[int, list[Booking]] = {}
        self._given_back: set[int] = set()
        self._cleared: set[int] = set()
        self._marked: deque[Job] = deque()
        self._contents = Contents(pending, self._reading)
        self._fed = 0
        self._stop = False
        self._said = False

    def mark(self) -> bool:
        """Write down what may leave next; False when the lease was lost, and nothing may.

        What has no content any more ends here.
        """
        jobs = self._contents.first(min(self._most, MAX_MESSAGES))
        for job in [job for job in jobs if job not in self._contents]:
            jobs.remove(job)
            self._pending.remove(job)
            self._settle(book_purged(job, self._lease.now()), (), _nothing)
        return self._mark(jobs)

    def _mark(self, jobs: Sequence[Job]) -> bool:
        """Write what is known, and mark ``jobs``, which are prepared while that is waited for."""
        marked = self._flush(rows_of_jobs(jobs), lambda: self._prepare_all(jobs))
        if marked:
            self._marked.extend(jobs)
        else:
            self.lost = True
            self._contents.close()
        return marked

    def _prepare_all(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if id(job) not in self._prepared:
                self._prepared[id(job)] = envelope = self._envelope(job, self._contents[job])
                self._prepare(envelope)

    def send(self, session: Session) -> int:
        """Send the jobs, write what became of them, and return how many have an outcome.

        What has none was not attempted, and stands at the head of ``pending``.
        An exception from outside is a stop: what is known is written first.
        """
        outcomes = session.transact(self._feed(), self)
        try:
            for outcome in outcomes:
                self._take(outcome)
                # Contents that went out ahead are answered without anything being fed meanwhile.
                self._flush_in_time()
        except BaseException:
            outcomes.close()
            self._take_interrupted(session.interrupted)
            raise
        finally:
            self._contents.close()
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

    def _reading(self) -> None:
        """Renew while a storage takes its time to give a large content."""
        if self._renewal_is_due():
            self.waiting(0.0)

    def _may_leave(self, job: object) -> bool:
        ours = id(job) not in self._given_back and not self.lost
        return ours and self._go_on() and self._lease.valid()

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
        """Write what is known, renew, and give back what a long wait keeps from beginning.

        Raises :class:`Stopped` where the drain is to end, and no content has left that is
        unanswered: one that has is waited for, since nobody else will ever hear what became of it.
        """
        try:
            self._flush()
            if self._renewal_is_due():
                self._renewed = self._clock()
                self._keep_alive()
            if self._stopping():
                self._await_no_more_than_sent()
            elif elapsed >= GIVE_BACK_AFTER:
                self._give_back()
        except DatabaseError:
            # The reply that is being waited for is worth more than this: it is
            # read, and then nothing more is sent.
            logger.exception("The outbox cannot be written to while a reply is awaited.")
            self._stop = True

    def _renewal_is_due(self) -> bool:
        return self._clock() - self._renewed > min(_RENEW_EVERY, self._lease.seconds / 3)

    def _feed(self) -> Iterator[Envelope]:
        while (self._marked or self._mark_more()) and self._may_be_fed(self._marked[0]):
            self._flush_in_time()
            job = self._marked.popleft()
            self._fed += 1
            prepared = self._prepared.pop(id(job), None)
            yield prepared or self._envelope(job, self._contents[job])

    def _mark_more(self) -> bool:
        """Mark what comes next, where the session may go on with it as it is."""
        under_way = self._fed - self.done
        most = min(MAX_MESSAGES - under_way, self._most - self._fed)
        if most <= 0 or self._stop or self._given_back or not self._go_further():
            return False
        jobs = self._contents.following(under_way, most)
        return bool(jobs) and self._mark(jobs)

    def _may_be_fed(self, job: Job) -> bool:
        if self._stop or self._given_back:
            return False
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

    def _flush(self, marking: Sequence[Row] = (), meanwhile: Callable[[], None] = _nothing) -> bool:
        """Write what is known, and mark what may leave next; False when the lease was lost."""
        if not (self._unsettled or marking):
            return True
        bookings = [booking for group in self._unsettled.values() for booking in group]
        try:
            marked = self._settle(bookings, marking, meanwhile)
        except DatabaseError:
            raise
        except BaseException:
            # A stop (a soft time limit) in the middle of it: what is known is
            # worth one more try before it takes effect.
            self._settle(bookings, (), _nothing)
            self._unsettled = {}
            raise
        self._unsettled = {}
        self._settled = self._clock()
        return marked

    def _flush_in_time(self) -> None:
        """Write what is known where that has not been done for a while."""
        if self._clock() - self._settled > MAX_SECONDS:
            self._flush()

    def _await_no_more_than_sent(self) -> None:
        if not self._cleared:
            raise Stopped
        self._give_back()
        if not self._said:
            self._said = True
            logger.warning(
                "The worker stops when a server has answered the content that it was sent: "
                "%d message(s).",
                len(self._cleared),
            )

    def _give_back(self) -> None:
        """Give back all but the jobs whose replies are awaited."""
        under_way = max(1, sum(self.in_doubt(job) for job in self._pending))
        others = list(self._pending)[under_way:]
        if others:
            ledger.release(self._lease, rows_of_jobs(others))
            self._given_back.update(map(id, others))
            self._marked.clear()
            for _ in others:
                self._pending.pop()
