"""Rows that rest with what they wait for: no attempt, no step, and mostly no age meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Case, DateTimeField, Q, Value, When
from django.db.models.functions import Mod
from django.db.models.lookups import Exact

from django_smtpx.ledger.claiming import give_back
from django_smtpx.ledger.lanes import READY_LANES, made_ready, ready_in, waiting
from django_smtpx.ledger.rows import database, update_all, update_some
from django_smtpx.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django_smtpx.ledger.clock import Lease
    from django_smtpx.ledger.rows import Row

Lane = Delivery.Lane

_FIRST = 20
_WAVES = 16
_SPREAD = 0.1
_WIDEST_SPREAD = timedelta(seconds=60)


def park(
    mailer: str,
    until: datetime | None,
    at: datetime,
    *,
    destination: str | None = None,
    ages: bool = False,
) -> int:
    """Rest all that is ready for ``mailer`` until then (None: until somebody resumes it).

    The first few come back in time for the probe, the others in waves over a
    tenth of their rest, of up to a minute: not all are there at once. With
    ``ages`` the time until then counts towards their age: a domain whose servers
    are gone does not keep its mail for ever.
    """
    values = {"lane": Lane.IDLE, "parked_at": until or at if ages else at}
    count = 0
    for lane in READY_LANES:
        rows = Delivery.objects.using(database()).filter(ready_in(lane), mailer=mailer)
        ready = rows.filter(_to(destination)).order_by("destination", "-priority", "pk")
        if count < _FIRST:
            count += update_some(ready, _FIRST - count, next_attempt_at=until, **values)
        if count >= _FIRST:
            count += update_all(ready, next_attempt_at=_in_waves(until, at), **values)
    return count


def unpark(
    mailer: str, at: datetime, *, destination: str | None = None, domain: str | None = None
) -> int:
    """Make everything that rests behind ``mailer`` ready now: its pause is over.

    Or only what goes straight to a ``destination``, or, whichever way, to a ``domain``.
    """
    resting = (
        Delivery.objects.using(database())
        .filter(
            waiting(),
            _to(destination),
            Q() if domain is None else Q(domain=domain),
            mailer=mailer,
            parked_at__isnull=False,
        )
        .order_by("parked_at")
    )
    return update_all(resting, next_attempt_at=at, **made_ready(at))


def rest(lease: Lease, rows: Sequence[Row], until: datetime | None, *, ages: bool = False) -> int:
    """Give back claimed rows whose content has not left, to rest until then, and count them.

    ``ages`` is as for :func:`park`.
    """
    at = lease.now()
    values = {"lane": Lane.IDLE, "parked_at": until or at if ages else at}
    count = give_back(lease, rows[:_FIRST], next_attempt_at=until, **values)
    if rows[_FIRST:]:
        waves = _in_waves(until, at)
        count += give_back(lease, rows[_FIRST:], next_attempt_at=waves, **values)
    return count


def _in_waves(until: datetime | None, at: datetime) -> Any:
    """Return when rows that rest until then come due: some at once, the others soon after.

    The recipients of one message together, or they would be as many contents.
    """
    spread = min((until - at) * _SPREAD, _WIDEST_SPREAD) if until else timedelta(0)
    if until is None or spread <= timedelta(0):
        return until
    field = DateTimeField()
    waves = (Value(until + spread * wave / _WAVES, field) for wave in range(1, _WAVES))
    return Case(
        *(
            When(Exact(Mod("message_id", _WAVES), wave), then=due)
            for wave, due in enumerate(waves, 1)
        ),
        default=Value(until, field),
        output_field=field,
    )


def _to(destination: str | None) -> Q:
    return Q() if destination is None else Q(destination=destination)
