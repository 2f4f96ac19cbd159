"""What an answer means for its event and for its endpoint; no clock, no row, no setting."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from django_smtpx.webhooks.posting import Answer

SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds until an event is tried again, as Standard Webhooks suggests them; the last repeats."""

RESTS = (5.0, 15.0, 60.0, 300.0, 900.0, 1800.0)
"""Seconds that an endpoint rests after so many failures in a row; the last repeats."""

FIRST_FAILURES = 3
"""Failures in a row, of whatever kind, that make an endpoint rest, and of which an answer that
comes after them says that it is back: what it has refused meanwhile is due at once then.
"""

GIVE_UP = 3 * 86400.0
"""Seconds after its first try at which an event that nobody takes is given up."""

MOST_WAIT = 86400.0
"""Seconds of a ``Retry-After`` that are believed."""

ENOUGH = 20
"""Answers in a row about single events that make an endpoint dead, if nothing else has: one event
that it will never take is none.
"""

_JITTER = 0.2
_GONE = 410
_ABOUT_THE_EVENT = frozenset({400, 406, 409, 411, 412, 413, 414, 415, 417, 422, 431, 500})
"""What a receiver says of a body that it does not like, or breaks on."""


class Scope(StrEnum):
    """What an answer is about."""

    NONE = "none"
    EVENT = "event"
    """This event, as far as one can tell."""
    ENDPOINT = "endpoint"
    """No other event would fare better now."""
    GONE = "gone"
    """It wants no more of them (410)."""


class Fate(NamedTuple):
    """What comes of an event after a try: it is done, given up, or tried again in ``delay``
    seconds.
    """

    scope: Scope
    delay: float = 0.0
    given_up: bool = False

    @property
    def done(self) -> bool:
        """Whether it was taken."""
        return self.scope is Scope.NONE


def decide(answer: Answer, tries: int, age: float, rand: float) -> Fate:
    """Return what comes of an event after an answer.

    ``tries`` counts those before this one, ``age`` is the seconds since the first of them, and
    ``rand`` is from 0 to 1.
    """
    if 200 <= answer.status < 300:
        return Fate(Scope.NONE)
    if answer.status == _GONE:
        return Fate(Scope.GONE)
    scope = Scope.EVENT if answer.status in _ABOUT_THE_EVENT else Scope.ENDPOINT
    # What an endpoint that is down does not take is not the event's fault: that ends by disabling.
    if scope is Scope.EVENT and age >= GIVE_UP:
        return Fate(scope, given_up=True)
    step = SCHEDULE[min(tries, len(SCHEDULE) - 1)] * (1 - _JITTER + 2 * _JITTER * rand)
    return Fate(scope, max(step, min(answer.retry_after, MOST_WAIT)))


def rest(fate: Fate, failures: int, retry_after: float) -> float:
    """Return for how many seconds an endpoint rests after so many ``failures`` in a row; 0: not.

    One that answers may only dislike this event; what follows is tried, a few times.
    """
    if fate.scope is Scope.EVENT and failures < FIRST_FAILURES:
        return 0.0
    step = RESTS[min(max(failures, 1), len(RESTS)) - 1]
    return max(step, min(retry_after, MOST_WAIT))


def is_dead(fate: Fate, failures: int, failing: float, disable_after: float) -> bool:
    """Say whether an endpoint is disabled that has done nothing but fail for ``failing`` seconds,
    ``failures`` times.
    """
    if fate.scope is Scope.GONE:
        return True
    sure = fate.scope is Scope.ENDPOINT or failures >= ENOUGH
    return sure and failing >= disable_after
