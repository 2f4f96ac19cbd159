"""What a reply that asks for less does to the rate of a destination.

The rate is halved, and comes back by a tenth a minute: down by a factor and up
by a summand, as TCP shares a line that nobody knows the width of (RFC 5681
section 3.1). When it has reached twice the rate from before, with nobody
having complained, the destination is free again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from django_smtpx.pace.window import Rate

FLOOR = 1 / 60
"""Contents a second: no slowdown goes below one a minute."""

_REST = 30.0
"""Seconds after a halving in which others are no news: they are about what was under way."""

_RECOVERY = 0.1
"""What comes back in a minute, as a part of the rate from before the slowdown."""

_ENDS_AT = 2.0
"""The slowdown is over at so many times the rate from before."""

LONGEST = _ENDS_AT / _RECOVERY * 60
"""Seconds after which each slowdown is over, wherever it began."""

_PERIODS = ((10.0, 1.0), (0.5, 10.0), (0.0, 60.0))
"""From how many contents a second on they are counted by how many seconds.

The shorter, the smaller is what goes at once, and the longer, the less is lost
to whole numbers.
"""


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A destination's rate while it is lower than it was: three columns of its row.

    ``limit`` is in contents a second, as it was at ``since`` (seconds since the
    epoch, by the database's clock); ``step`` is what it gains in a minute.
    """

    limit: float
    step: float
    since: float

    @classmethod
    def slowed(cls, current: Self | None, observed: float, at: float) -> Self:
        """Return the slowdown after a reply that asked for less.

        ``observed`` is the rate at which contents left until now, in contents a
        second. Half of it is the first limit; after that, the limit as it
        stands is halved, once in 30 seconds, however many workers are told.
        """
        limit = current.limit_at(at) if current else None
        if current is None or limit is None:
            before = max(observed, FLOOR)
            return cls(max(before / 2, FLOOR), before * _RECOVERY, at)
        if at < current.since + _REST:
            return current
        return replace(current, limit=max(limit / 2, FLOOR), since=at)

    def limit_at(self, at: float) -> float | None:
        """Return the limit at that time, in contents a second; None when there is none any more."""
        # A clock a little behind that of the worker who wrote this.
        minutes = max(0.0, at - self.since) / 60
        limit = self.limit + self.step * minutes
        return limit if limit < self.step / _RECOVERY * _ENDS_AT else None

    def rate_at(self, at: float) -> Rate | None:
        """Return the limit at that time as a rate, with little that goes at once; None for none."""
        limit = self.limit_at(at)
        if limit is None:
            return None
        seconds = next(seconds for least, seconds in _PERIODS if limit >= least)
        # One a minute is 1/60, and 60 times that must not be a little less than 1.
        return Rate(max(1, math.floor(limit * seconds + 1e-9)), seconds)
