"""The sweep, and delivering in this process until nothing is due."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django_smtpx import ledger, pacing
from django_smtpx.config import content_retention, log_retention, mailers, sweep_interval
from django_smtpx.delivery.draining import drain
from django_smtpx.mailer import Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from django_smtpx.config import Mailer

PURGE_EVERY = 3600.0
"""Seconds between two runs of the retention that the sweep begins."""

_INTERVAL_TOLERANCE = 0.9


def sweep(
    wake: Callable[[str], None],
    purge: Callable[[], None] = lambda: None,
    *,
    here: Callable[[str], object] = lambda name: None,
) -> bool:
    """Wake what is due and take back what a dead worker held; once an interval over all workers.

    ``wake`` is called with the name of each mailer that has ready mail and a
    free slot, ``purge`` when the retention is due. ``here`` is called, whether
    it is this process's turn or not, with each mailer that is to be drained in
    this very process: others would be refused. Returns whether it ran.
    """
    at = ledger.now()
    known = mailers()
    ours = pacing.refused_elsewhere(known, at)
    if ours:
        pacing.reopen_changed(known, at)
    ran = ledger.take_turn("sweep", sweep_interval() * _INTERVAL_TOLERANCE, at)
    if ran:
        upkeep()
        for name in ledger.waiting_mailers():
            mailer = known.get(name)
            if mailer is not None and _may_drain(mailer, at):
                wake(name)
        if ledger.take_turn("purge", PURGE_EVERY, at):
            purge()
    for name in ours:
        here(name)
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


def run_until_idle(
    names: Iterable[str] | None = None,
    *,
    once: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Deliver in this process what is due, and return how many outcomes there were.

    For the mailers named, or for all; until nothing is due any more, or one
    round with ``once``. ``progress`` is told how many outcomes each drain had.
    """
    total = 0
    chosen = list(mailers()) if names is None else list(names)
    while True:
        upkeep()
        count = 0
        for name in chosen:
            done = drain(mailers()[name])
            progress(done)
            count += done
        total += count
        if once or not count:
            return total


def purge() -> tuple[int, int]:
    """Apply the retention: returns how many contents and how many messages were deleted."""
    at = ledger.now()
    pacing.forget_refused(at - log_retention())
    return ledger.purge(at, content_retention(), log_retention())
