"""How many connections a way may have at once, over all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.pace import Concurrency
from django_smtpx.pacing.routes import Key, all_routes, rows
from django_smtpx.pacing.slots import used_slots

if TYPE_CHECKING:
    from datetime import datetime

    from django_smtpx.mailer import Way
    from django_smtpx.models import Route


def connections(way: Way) -> int:
    """Return how many connections ``way`` may have: what its mailer says, and for a destination
    no more than it has been found to bear.
    """
    cap = way.mailer.max_connections
    if not way.domain:
        return cap
    return _concurrency(rows(Key(way.name, domain=way.domain)).first(), cap).allowed(cap)


def book_connection(way: Way, *, made: bool) -> None:
    """Note that a destination took a connection, or did not.

    Two that note at once may count as one: what is found out is a rule of thumb.
    """
    if not way.domain:
        return
    cap = way.mailer.max_connections
    route, _ = all_routes().get_or_create(mailer=way.name, host="", domain=way.domain, sender="")
    known = _concurrency(route, cap)
    now = known.after_success(cap) if made else known.after_failure()
    if now != known or route.concurrency is None:
        _write(way, now)


def begin_anew(way: Way) -> None:
    """Let a destination that has rested begin with as few connections as an unknown one."""
    if way.domain:
        _write(way, Concurrency.initial(way.mailer.max_connections))


def has_free_slot(way: Way, at: datetime) -> bool:
    """Say whether a drain would find a slot for one more connection."""
    most = connections(way)
    return used_slots(way, at, most) < most


def _concurrency(route: Route | None, cap: int) -> Concurrency:
    if route is None or route.concurrency is None:
        return Concurrency.initial(cap)
    return Concurrency(route.concurrency, route.failed_cohorts or 0.0)


def _write(way: Way, known: Concurrency) -> None:
    rows(Key(way.name, domain=way.domain)).update(
        concurrency=known.window, failed_cohorts=known.failed_cohorts
    )
