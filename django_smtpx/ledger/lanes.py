"""Lanes: which set a row is in, as conditions that the partial indexes are taken for.

SQLite takes a partial index only where a term of the statement is the index's own condition, word
for word, and does not see that a lane of 1 is one above 0; so both are said. They are said by NOT:
of a plain ``lane > 0`` it would make a range of the index, and go through all that is ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Case, DateTimeField, ExpressionWrapper, F, Q, Value, When

from django_smtpx.models import Delivery

if TYPE_CHECKING:
    from datetime import datetime

Lane = Delivery.Lane

READY_LANES = (Lane.READY, Lane.AGAIN, Lane.ALONE)
WAITING_LANES = (Lane.IDLE, *READY_LANES)

_IS_READY = ~Q(lane__lte=Lane.IDLE)
_WAITS = ~Q(lane__lt=Lane.IDLE)

MAY_BE_POISON = 2
"""A row that has lost its lease so many times is claimed alone."""


def ready_in(lane: Lane) -> Q:
    """Return what a claim of one lane may take."""
    return Q(lane=lane) & _IS_READY


def ready() -> Q:
    """Return what a claim may take, of whichever lane."""
    return _IS_READY


def waiting_in(lane: Lane) -> Q:
    """Return what of one lane is not settled and is not being sent."""
    return Q(lane=lane) & _WAITS


def waiting() -> Q:
    """Return what is not settled and is not being sent, of whichever lane."""
    return _WAITS


def idle() -> Q:
    """Return what waits and is not ready; said beside ``lane=Lane.IDLE``."""
    return _WAITS & ~Q(lane__gt=Lane.IDLE)


def ready_lane() -> Case:
    """Return the lane of a row that becomes ready."""
    return Case(
        When(leases_lost__gte=MAY_BE_POISON, then=Value(Lane.ALONE)), default=lane_by_attempts()
    )


def lane_by_attempts() -> Case:
    """Return the lane of a row that becomes ready and is not suspected of anything."""
    return Case(When(attempt_count=0, then=Value(Lane.READY)), default=Value(Lane.AGAIN))


def made_ready(at: datetime) -> dict[str, Any]:
    """Return what is written to rows that become ready at ``at``; they did not age while parked.

    What is marked as parked from a later time on has aged as if it were not (see ``parking``). In
    this order: MariaDB reads what it has just written.
    """
    rested = ExpressionWrapper(
        F("age_from") + (Value(at, DateTimeField()) - F("parked_at")), DateTimeField()
    )
    return {
        "lane": ready_lane(),
        "age_from": Case(
            When(Q(parked_at=None) | Q(parked_at__gt=at), then=F("age_from")), default=rested
        ),
        "parked_at": None,
    }
