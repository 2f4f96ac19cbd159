"""Mailers, and what is closed or slowed down behind them, as the overview shows them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Case, Q, Value, When
from django.utils.formats import number_format
from django.utils.text import Truncator

from django_smtpx import ledger, pacing
from django_smtpx.admin import words
from django_smtpx.admin.links import Deed, Figure
from django_smtpx.config import mailer_errors, mailers
from django_smtpx.language import recorded_reason
from django_smtpx.models import Attempt, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django_smtpx.admin.flow import Kind
    from django_smtpx.admin.links import Links

Outcome = Attempt.Outcome

MOST_MAILERS, MOST_ROUTES = 50, 20

_REASON_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Way:
    """A mailer, or what is closed or slowed down behind one; ``key`` is 0 where it is open."""

    name: str
    key: int
    url: str
    state: str
    label: str
    reason: str
    next_probe: str
    pace: str
    deeds: tuple[Deed, ...]
    cells: tuple[Figure, ...]


def closed_routes() -> list[Route]:
    """Return what is closed or slowed down, and how each mailer is: held ones first."""
    closed = ~Q(state=Route.State.OPEN) | Q(slow_limit__isnull=False)
    worst_first = Case(
        When(host="", domain="", sender="", then=Value(0)),
        When(state=Route.State.HELD, then=Value(1)),
        When(state=Route.State.PAUSED, then=Value(2)),
        default=Value(3),
    )
    rows = Route.objects.using(ledger.database()).filter(closed)
    ordered = rows.order_by(worst_first, "mailer", "host", "domain", "sender")
    return list(ordered[: MOST_MAILERS + MOST_ROUTES + 1])


def is_mailer(route: Route) -> bool:
    """Say whether it is the whole mailer."""
    return not (route.host or route.domain or route.sender)


def mailer_ways(
    routes: Iterable[Route], kinds: Sequence[Kind] | None, links: Links, now: datetime
) -> list[Way]:
    """Return each mailer, with what became of its attempts unless ``kinds`` is None."""
    by_name = {route.mailer: route for route in routes if is_mailer(route)}
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for kind in kinds or ():
        counts[kind.mailer][kind.outcome] += kind.count
    names = sorted({*mailers(), *mailer_errors(), *by_name, *counts})
    return [
        _way(
            words.mailer(name),
            # Of one that has never rested there is no row.
            by_name.get(name) or Route(mailer=name),
            links,
            now,
            () if kinds is None else _cells(name, counts[name], links),
        )
        for name in names[:MOST_MAILERS]
    ]


def ways_behind(routes: Iterable[Route], links: Links, now: datetime) -> tuple[list[Way], str]:
    """Return what is closed behind mailers, and where there is more of it."""
    behind = [route for route in routes if not is_mailer(route)]
    more = links.routes() if len(behind) > MOST_ROUTES else ""
    return [_way(str(route), route, links, now) for route in behind[:MOST_ROUTES]], more


def _cells(mailer: str, counts: Counter[str], links: Links) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            str(outcome.label),
            number_format(counts[outcome.value]),
            links.deliveries(status__exact=outcome.value, mailer=mailer),
        )
        for outcome in Outcome
    )


def _way(
    name: str, route: Route, links: Links, now: datetime, cells: tuple[Figure, ...] = ()
) -> Way:
    slowdown = pacing.slowdown_of(route)
    limit = slowdown.limit_at(now.timestamp()) if slowdown is not None else None
    is_open = route.state == Route.State.OPEN
    return Way(
        name=name,
        key=0 if is_open else route.pk,
        url=links.route(route) if route.pk else "",
        state=route.state,
        label=route.get_state_display(),
        reason="" if is_open else reason(route),
        next_probe=words.next_probe(route, now),
        pace=words.pace(limit),
        deeds=links.tools(route),
        cells=cells,
    )


def reason(route: Route) -> str:
    """Return what closed it, or the beginning of that."""
    return Truncator(recorded_reason(route.pause_reason)).chars(_REASON_LENGTH)
