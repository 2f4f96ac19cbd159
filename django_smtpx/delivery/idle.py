"""The sweep, and delivering in this process until nothing is due."""

from __future__ import annotations

import logging
import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError
from django.db import connections

from django_smtpx import ledger, pacing
from django_smtpx.config import content_retention, log_retention, mailers, sweep_interval
from django_smtpx.delivery.draining import drain
from django_smtpx.delivery.posting import due_webhooks, post_events
from django_smtpx.delivery.stopping import never
from django_smtpx.mailer import Way
from django_smtpx.smtp.pool import default_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from django_smtpx.config import Mailer

SWEEP, DELIVER = "sweep", "deliver"
"""Jobs whose turns tell that somebody looks after the mail: workers, and this process alone."""

PURGE_EVERY = 3600.0
"""Seconds between two runs of the retention that the sweep begins."""

PURGE_SECONDS = 5.0
"""Seconds after which such a run ends, so that a worker with one process has mail to send, too."""

UPKEEP_EVERY = 1.0
"""Seconds after which a process that delivers until nothing is due looks again for what has come
due. What comes due within them, as the last mail is sent, is left to whoever comes next.
"""

ORPHANS_EVERY = 86400.0
"""Seconds between two looks for files of contents that no message has any more."""

_INTERVAL_TOLERANCE = 0.9

logger = logging.getLogger("django_smtpx.delivery")


def sweep(
    wake: Callable[[str], None],
    purge: Callable[[], None] = lambda: None,
    *,
    here: Callable[[str], object] = lambda name: None,
    tell: Callable[[str], None] = lambda name: None,
) -> bool:
    """Wake what is due and take back what a dead worker held; once an interval over all workers.

    ``wake`` is called with the name of each mailer that has ready mail and a
    free slot, ``purge`` when the retention is due. ``here`` is called, whether
    it is this process's turn or not, with each mailer that is to be drained in
    this very process: others would be refused. ``tell`` is called with the name of each webhook
    that has events to be told. Returns whether it ran.
    """
    at = ledger.now()
    known = mailers()
    ours = pacing.refused_elsewhere(known, at)
    if ours:
        pacing.reopen_changed(known, at)
    ran = ledger.take_turn(SWEEP, sweep_interval() * _INTERVAL_TOLERANCE, at)
    if ran:
        upkeep()
        for name in ledger.waiting_mailers(known):
            mailer = known.get(name)
            if mailer is not None and _may_drain(mailer, at):
                wake(name)
        for name in due_webhooks():
            tell(name)
        if ledger.take_turn("purge", PURGE_EVERY, at):
            purge()
    for name in ours:
        here(name)
    if ran:
        # Last: mail is woken by then.
        ledger.tally(at)
    return ran


def _may_drain(mailer: Mailer, at: datetime) -> bool:
    """Say whether a drain would find something to do: a slot, and its turn before it gives up."""
    way = Way(mailer)
    if mailer.transport == "smtp" and not pacing.has_free_slot(way, at):
        return False
    turn = pacing.opens_at(way, at)
    return turn <= at + timedelta(seconds=max(pacing.PATIENCE, sweep_interval()))


def upkeep() -> None:
    """Take back, expire and promote what is due for it, and tell of what waits too long."""
    at = ledger.now()
    pacing.free_dead_slots(at)
    ledger.reclaim(at)
    ledger.expire(at)
    pacing.reopen_changed(mailers(), at)
    pacing.end_pauses(at)
    pacing.end_slowdowns(at)
    ledger.promote(at)
    ledger.notice_delays(at)


def last_turn() -> datetime | None:
    """Return when mail that is due was last looked for, by a worker's sweep or by a command."""
    return max(ledger.turns((SWEEP, DELIVER)).values(), default=None)


def run_until_idle(
    names: Iterable[str] | None = None,
    *,
    once: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Deliver in this process what is due, and return how many outcomes there were.

    For the mailers named, or for all; until nothing is due any more, or one
    round with ``once``. ``progress`` is told how many outcomes each drain had. Webhooks are told
    last, each for some seconds.
    """
    total = 0
    ledger.take_turn(DELIVER, 0.0, ledger.now())
    chosen = list(mailers()) if names is None else list(names)
    kept_up = -math.inf
    while True:
        if time.monotonic() - kept_up >= UPKEEP_EVERY:
            upkeep()
            kept_up = time.monotonic()
        count = 0
        for name in chosen:
            done = drain(mailers()[name])
            progress(done)
            count += done
        ledger.tally(ledger.now())
        total += count
        if once or not count:
            ledger.flush_timings(at_once=True)
            break
    for name in due_webhooks():
        post_events(name)
    return total


def close() -> None:
    """Say QUIT on this process's idle sessions and give back their slots, as it ends.

    Slots that cannot be given back run out by themselves a moment later.
    """
    default_pool.close()
    ledger.flush_tls_sessions()
    ledger.flush_timings(at_once=True)
    try:
        connection = connections[ledger.database()]
        if pacing.free_rested_slots(ledger.now) and not connection.in_atomic_block:
            connection.close()
    except DatabaseError as error:
        logger.info("The slots of idle sessions could not be given back: %s", error)


def purge(over: Callable[[], bool] = never) -> tuple[int, int]:
    """Apply the retention: returns how many contents and how many messages were deleted."""
    at = ledger.now()
    purged = _purge(at, over)
    ledger.remove_orphans(at, over)
    return purged.contents, purged.messages


def purge_a_while(stopping: Callable[[], bool] = never) -> None:
    """Apply the retention for some seconds; what is left then is the next sweep's to begin.

    Once a day files that belong to no message any more go as well.
    """
    at = ledger.now()
    end = time.monotonic() + PURGE_SECONDS

    def over() -> bool:
        return stopping() or time.monotonic() > end

    if not _purge(at, over).finished:
        ledger.give_turn_back("purge", PURGE_EVERY, at)
    elif ledger.take_turn("orphans", ORPHANS_EVERY, at):
        ledger.remove_orphans(at, over)


def _purge(at: datetime, over: Callable[[], bool]) -> ledger.Purged:
    before = at - log_retention()
    pacing.forget_refused(before)
    purged = ledger.purge(at, content_retention(), log_retention(), over)
    return purged._replace(finished=purged.finished and pacing.forget_unused(before, over))
