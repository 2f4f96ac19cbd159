"""How many connections a destination bears at once, found out as Postfix does.

Each success raises the number by 1/N, so that it grows by one when N have
succeeded. The first failure to connect or to be greeted lowers it by one, at
once, and so does each N more (Postfix, SCHEDULER_README: feedback of 1/N with
a hysteresis of 1). Postfix calls a destination dead after a whole round of
failures; ours rests after the first one, for that rest begins with a minute
and costs no other mail a try.

One thing is simpler than there: a success forgets the failures before it, so
that failures count from the last success on. With one connection in K that
fails the number settles near K either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

_INITIAL = 2
_ROUNDING = 1e-9
"""N times 1/N is 1, whatever it is in floating point."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """What is known of a destination: two columns of its row, both floating point.

    The whole part of ``window`` is how many connections it bears. The rest is
    what successes have earned towards one more or, while ``failed_cohorts``
    (the rounds of failures since the last success) is not 0, what is left
    before failures take the next one.
    """

    window: float
    failed_cohorts: float = 0.0

    @classmethod
    def initial(cls, cap: int) -> Self:
        """Begin with a destination that nothing is known of; ``cap`` is the most it may have.

        Postfix begins with 5 (initial_destination_concurrency), for a mail
        server's queue. Its older sample-rate.cf has 2: with 1, one bad message
        stops everything to a site. A site that sends a few mails to each of
        many destinations gains nothing by more than 2.
        """
        return cls(float(max(1, min(_INITIAL, cap))))

    def after_success(self, cap: int) -> Self:
        """Return what is known after a connection was made and greeted."""
        now = self._now
        earned = float(now) if self.failed_cohorts else self.window
        return type(self)(min(_whole(earned + 1 / now), float(max(1, cap))))

    def after_failure(self) -> Self:
        """Return what is known after a connection was not made, or not greeted.

        The number falls when a round of N failures begins and not when it is
        over, so that too many become fewer at once.
        """
        now = self._now
        left = self.window if self.failed_cohorts else float(now)
        window = max(1.0, _whole(left - 1 / now))
        return type(self)(window, _whole(self.failed_cohorts + 1 / now))

    def allowed(self, cap: int) -> int:
        """Return how many connections may be open at once: at least one, at most ``cap``."""
        return max(1, min(self._now, cap))

    @property
    def _now(self) -> int:
        return max(1, int(self.window))


def _whole(number: float) -> float:
    nearest = round(number)
    return float(nearest) if abs(number - nearest) < _ROUNDING else number
