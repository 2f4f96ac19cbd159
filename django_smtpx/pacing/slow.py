"""What servers that ask for less leave on a route: its slowdown, and what it is worth at once."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Q

from django_smtpx.pace import Slowdown
from django_smtpx.pace.slowdown import LONGEST
from django_smtpx.pacing.routes import Key, all_routes, reason_of, rows

if TYPE_CHECKING:
    from django_smtpx.mailer import Way
    from django_smtpx.models import Route
    from django_smtpx.smtp import SMTPError

logger = logging.getLogger("django_smtpx.pacing")


def slowdown_of(route: Route | None) -> Slowdown | None:
    """Return the slowdown that is on record for a route."""
    if route is None or route.slow_limit is None or route.slow_since is None:
        return None
    return Slowdown(route.slow_limit, route.slow_step or 0.0, route.slow_since.timestamp())


def end_slowdowns(at: datetime) -> int:
    """Forget slowdowns that have been over for minutes at the most, and count them.

    In one statement, however many there are: every sweep asks. Until then they limit nothing.
    """
    slowed = all_routes().filter(slow_limit__isnull=False)
    over = Q(slow_since=None) | Q(slow_since__lte=at - timedelta(seconds=LONGEST))
    return slowed.filter(over).update(slow_limit=None, slow_step=None, slow_since=None)


def book_slow(way: Way, error: SMTPError, observed: float, at: datetime) -> Slowdown:
    """Halve the rate of ``way``, ``observed`` in contents a second until now, and return it.

    Whoever else was told the same in the same half minute changes nothing.
    """
    key = Key(way.name, domain=way.domain)
    route, _ = all_routes().get_or_create(mailer=key.mailer, host="", domain=key.domain, sender="")
    current = slowdown_of(route)
    slowed = Slowdown.slowed(current, observed, at.timestamp())
    if slowed == current:
        return slowed
    unchanged = rows(key).filter(slow_since=route.slow_since)
    written = unchanged.update(
        slow_limit=slowed.limit,
        slow_step=slowed.step,
        slow_since=datetime.fromtimestamp(slowed.since, UTC),
    )
    if not written:
        return slowdown_of(rows(key).first()) or slowed
    logger.warning(
        "Mailer %s slows down to %.3g messages a second: %s", key, slowed.limit, reason_of(error)
    )
    return slowed
