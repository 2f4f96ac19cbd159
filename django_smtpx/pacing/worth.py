"""How many connections a way may have at once, over all workers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django_smtpx.pace import Concurrency
from django_smtpx.pacing.routes import Key, all_routes, found, rows
from django_smtpx.pacing.slots import used_slots

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from django_smtpx.mailer import Way
    from django_smtpx.models import Route

_A_DAY = timedelta(days=1)


def connections(way: Way) -> int:
    """Return how many connections ``way`` may have: what its mailer says, and no more than the
    other side has been found to bear.
    """
    route = next(iter(found(_of_way, way.name, way.domain)), None)
    return _known(way, route).allowed(way.mailer.max_connections)


def book_connection(way: Way, at: datetime, *, made: bool) -> None:
    """Note that the other side took a connection, or did not.

    Two that note at once may count as one: what is found out is a rule of thumb.
    """
    route, _ = all_routes().get_or_create(mailer=way.name, host="", domain=way.domain, sender="")
    known = _known(way, route)
    now = known.after_success(way.mailer.max_connections) if made else known.after_failure()
    if now != known or route.used_at is None or at - route.used_at > _A_DAY:
        _write(way, now, used_at=at)


def begin_anew(way: Way) -> None:
    """Let a destination that has rested begin with as few connections as an unknown one."""
    if way.domain:
        _write(way, _initial(way))


def has_free_slot(way: Way, at: datetime) -> bool:
    """Say whether a drain would find a slot for one more connection."""
    most = connections(way)
    return used_slots(way, at, most) < most


def _of_way(mailer: str, domain: str) -> QuerySet[Route]:
    return rows(Key(mailer, domain=domain))


def _initial(way: Way) -> Concurrency:
    """Return what an unknown way may have: a host that a site submits to, all at once."""
    cap = way.mailer.max_connections
    return Concurrency.initial(cap) if way.domain else Concurrency(float(cap))


def _known(way: Way, route: Route | None) -> Concurrency:
    if route is None or route.concurrency is None:
        return _initial(way)
    return Concurrency(route.concurrency, route.failed_cohorts or 0.0)


def _write(way: Way, known: Concurrency, **values: datetime) -> None:
    rows(Key(way.name, domain=way.domain)).update(
        concurrency=known.window, failed_cohorts=known.failed_cohorts, **values
    )
