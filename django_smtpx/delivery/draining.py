"""The drain of one mailer: its course along its way, or one after the other along several."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.views.decorators.debug import sensitive_variables

from django_smtpx import ledger
from django_smtpx.delivery.course import Course, Shift
from django_smtpx.delivery.stopping import never
from django_smtpx.mailer import Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_smtpx.config import Mailer

NO_NEW_WORK_AFTER = 20.0
"""Seconds after which a drain leaves the rest to its successor."""


def drain(
    mailer: Mailer,
    *,
    wake: Callable[[], None] = lambda: None,
    linger: float = 0.0,
    stops: tuple[type[BaseException], ...] = (),
    stopping: Callable[[], bool] = never,
) -> int:
    """Deliver what is ready for ``mailer``, and return how many deliveries were settled or put off.

    ``wake`` is called when one more drain should run. ``linger`` is for how
    many seconds to look again once nothing is ready: as long as hints are
    coalesced, so that none of them is lost. ``stops`` are the exceptions that
    mean "end now", and say nothing about the mail under way. ``stopping`` is
    asked again and again whether the drain is to end before its time: then no
    content leaves that has not begun to, the replies to those that have are
    awaited, and ``wake`` is called for the rest.
    """
    return Drain(mailer, wake=wake, linger=linger, stops=stops, stopping=stopping).run()


def postponed(again: Callable[[], object]) -> bool:
    """Say whether this thread has a transaction open, on any database: bytes wait for its end.

    ``again`` is called once it is committed, unless it is only a test's that is open still. Where
    Django does not tell (transactions that are committed by hand) it is not.
    """
    holding = [one for one in connections.all(initialized_only=True) if _is_open(one)]
    if not holding:
        return False
    connection = holding[0]

    def once() -> None:
        # Whoever runs these hooks with the transaction still open would run them for ever.
        if not _is_open(connection):
            again()

    if connection.in_atomic_block:
        transaction.on_commit(once, using=connection.alias, robust=True)
    return True


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    """Say whether a transaction is open there that is not only the one around a test."""
    if connection.in_atomic_block:
        # As Django itself tells them apart, for durable=True.
        return not all(getattr(each, "_from_testcase", False) for each in connection.atomic_blocks)
    return connection.connection is not None and not connection.autocommit


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
        stopping: Callable[[], bool] = never,
    ) -> None:
        self.mailer = mailer
        self._wake = wake
        self._linger = linger
        self._clock = clock
        self._rand = rand
        self._stopping = stopping
        self._began = clock()
        self._shift = Shift(
            wake=wake,
            over=self._is_over,
            stopping=stopping,
            clock=clock,
            rand=rand,
            harmless=(DatabaseError, *stops),
        )

    # An error report of Django's shows what variables hold: contents, and their parts.
    @sensitive_variables()
    def run(self) -> int:
        """Deliver until nothing is ready, each way rests, the time is up or the worker stops."""
        if self._stopping():
            self._wake()
            return 0
        began = True
        if self.mailer.transport == "mx":
            booked = self._to_destinations()
            ledger.flush_tls_sessions()
        else:
            ledger.redirect_ready(self.mailer.name, by_domain=False)
            course = Course(Way(self.mailer), self._shift, linger=self._linger)
            booked, began = course.run(), course.began
        ledger.flush_timings()
        # A drain that was stopped and had done nothing would be followed by its like at once.
        if began and (self._time_is_up() or (booked and self._stopping())):
            self._wake()
        return booked

    def _to_destinations(self) -> int:
        """Go to each ready destination with a free slot, each drain beginning with another one."""
        ledger.redirect_ready(self.mailer.name, by_domain=True)
        domains = ledger.ready_destinations(self.mailer.name)
        first = int(self._rand() * len(domains))
        booked = 0
        for domain in domains[first:] + domains[:first]:
            if self._is_over():
                break
            done = Course(Way(self.mailer, domain), self._shift).run()
            # Not where nothing could go: whom it wakes would find no more, and wake the next.
            if done and not booked and len(domains) > 1:
                self._wake()
            booked += done
        return booked

    def _is_over(self) -> bool:
        return self._stopping() or self._time_is_up()

    def _time_is_up(self) -> bool:
        return self._clock() - self._began > NO_NEW_WORK_AFTER
