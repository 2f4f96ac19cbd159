"""What is ready: seen along the index, and without a claim."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db.models import F

from django_smtpx.ledger.cursors import cursor
from django_smtpx.ledger.lanes import READY_LANES, ready_in
from django_smtpx.ledger.rows import database, update_all
from django_smtpx.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from django.db.models import QuerySet

Lane = Delivery.Lane


def waiting_mailers(names: Iterable[str]) -> list[str]:
    """Return those of these mailers that have ready mail, in their order."""
    return [
        name
        for name in names
        if any(
            _any_of(_in(lane).filter(mailer=name), "destination", "-priority", "pk")
            for lane in READY_LANES
        )
    ]


def ready_destinations(mailer: str) -> list[str]:
    """Return the domains that ``mailer`` has ready mail straight for, in their order."""
    return sorted(
        {
            name
            for lane in READY_LANES
            for name in _distinct(_in(lane).filter(mailer=mailer), "destination")
        }
    )


def ready_lanes(mailer: str, destination: str = "") -> frozenset[Lane]:
    """Return the lanes in which ``mailer`` has ready mail, straight for ``destination`` if it sends
    to domains, by one statement.
    """
    return _lanes_with(_ready_for, mailer, destination)


def redirect_ready(mailer: str, *, by_domain: bool) -> int:
    """Let ready mail that was stored when ``mailer`` had another transport go as it has to now."""
    astray = _without_domain if by_domain else _with_destination
    destination = F("domain") if by_domain else ""
    return sum(
        update_all(astray(lane, mailer), destination=destination)
        for lane in sorted(_lanes_with(astray, mailer))
    )


def _ready_for(lane: Lane, mailer: str, destination: str) -> QuerySet[Delivery]:
    rows = _in(lane).filter(mailer=mailer, destination=destination)
    return rows.order_by("-priority", "pk")


def _with_destination(lane: Lane, mailer: str) -> QuerySet[Delivery]:
    return _in(lane).filter(mailer=mailer, destination__gt="").order_by("destination")


def _without_domain(lane: Lane, mailer: str) -> QuerySet[Delivery]:
    rows = _in(lane).filter(mailer=mailer, destination="", domain__gt="")
    return rows.order_by("-priority", "pk")


def _lanes_with(ask: Callable[..., QuerySet[Delivery]], *what: str) -> frozenset[Lane]:
    """Return the ready lanes in which ``ask(lane, *what)`` finds a row.

    Each is looked into along the index, for the first row in its order: ``EXISTS`` would leave that
    to the planner. This is asked by each drain, be it for a single mail, and takes the ORM several
    times as long as the database: so it is put into words once.
    """
    using = database()
    with cursor(using) as bound:
        sql, places = _lanes_in_words(ask, using, len(what))
        given = dict(zip(_places(len(what)), what, strict=True))
        bound.execute(sql, [given.get(place, place) for place in places])
        found = bound.fetchone()
    return frozenset(lane for lane, key in zip(READY_LANES, found, strict=True) if key is not None)


@lru_cache(maxsize=32)
def _lanes_in_words(
    ask: Callable[..., QuerySet[Delivery]], using: str, count: int
) -> tuple[str, tuple[Any, ...]]:
    """Return the words, and the parameters, with places for ``count`` that are to be given."""
    words: list[str] = []
    parameters: list[Any] = []
    for lane in READY_LANES:
        first = ask(lane, *_places(count)).values_list("pk")[:1]
        sql, its = first.query.get_compiler(using).as_sql()
        words.append(f"({sql})")
        parameters += its
    return f"SELECT {', '.join(words)}", tuple(parameters)


def _places(count: int) -> list[str]:
    """Return what stands for values that are given later; no row has them."""
    return [f"\0{number}" for number in range(count)]


def _in(lane: Lane) -> QuerySet[Delivery]:
    return Delivery.objects.using(database()).filter(ready_in(lane))


def _any_of(rows: QuerySet[Delivery], *order: str) -> bool:
    """Say whether there is one, looking along the index: ``exists()`` leaves that to the planner,
    and may go through the log until it meets one.
    """
    return bool(rows.order_by(*order).values_list("pk")[:1])


def _distinct(rows: QuerySet[Delivery], field: str) -> Iterator[str]:
    """Yield each value of ``field``, by one step along the index a value."""
    values = rows.order_by(field).values_list(field, flat=True)
    value = values.first()
    while value is not None:
        yield value
        value = values.filter(**{f"{field}__gt": value}).first()
