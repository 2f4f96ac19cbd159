"""How many contents may leave now: a sliding window that all workers share.

The window lives in one row of the database, as text; whoever changes it holds
the row. Its length is cut into buckets, and a content is counted in the bucket
that its grant ends with, until a whole length after the end of that bucket.
Why that is never too many: take the contents that leave in any one length of
time, and of their grants the one that was given last. When it was given, each
of the others was still counted, because its bucket ended no earlier than the
content left. So all of them together are within the rate.

What this costs is the bucket: at most ``count`` in 51 buckets where the rate
has 50, which is 98 % of it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKETS = 50
"""So many buckets are one length of the window."""

_KEPT = BUCKETS // 2
"""Expired buckets are kept for half a length, for a worker whose clock is a little behind."""

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS = {seconds: unit for unit, seconds in _SECONDS.items()}
_RATE = re.compile(r"([1-9][0-9]{0,8})/([smhd])")
_MOST = 999_999_999
_LONGEST = 10 * 365 * 86400.0
_NEVER = 10**12
"""A bucket that is beyond any date: of a second's window, in the year 2603."""

_TEXT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,16})?):([0-9]{1,12}):([0-9,]{1,1700})")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` contents in any window of ``seconds``; a full count may go at once.

    Raises ValueError when ``count`` is no whole number from 1 to 999,999,999,
    or ``seconds`` is not from 1 to ten years.
    """

    count: int
    seconds: float

    def __post_init__(self) -> None:
        given: object = self.count
        whole = isinstance(given, int) and not isinstance(given, bool)
        if not (whole and 1 <= self.count <= _MOST):
            raise ValueError(
                f"The count of a rate must be a whole number from 1 to {_MOST}, not {self.count!r}."
            )
        if not 1 <= self.seconds <= _LONGEST:
            raise ValueError(
                f"The length of a rate must be from 1 second to ten years, not {self.seconds!r}."
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "14/s", "500/m", "100/h" or "10000/d"; anything else is a ValueError."""
        match = _RATE.fullmatch(text)
        if match is None:
            raise ValueError(
                "A rate must be a whole number above 0 for each second, minute, hour or day, "
                f"such as '14/s', '500/m', '100/h' or '10000/d', not {text!r}."
            )
        return cls(int(match[1]), _SECONDS[match[2]])

    def __str__(self) -> str:
        """Return it as it is configured; a length without a unit is given in seconds ("7/10s")."""
        unit = _UNITS.get(self.seconds)
        return f"{self.count}/{unit or f'{self.seconds:g}s'}"


@dataclass(frozen=True, slots=True)
class Grant:
    """So many contents may leave before ``until`` (seconds since the epoch); then it is void."""

    count: int
    until: float


@dataclass(frozen=True, slots=True)
class Window:
    """The contents that count against ``rate``: pairs of bucket and number, oldest first.

    Every ``at`` is in seconds since the epoch by the database's clock. It may
    run back a little from one call to the next. What is counted more than a
    whole length ahead of it is void: the clock was set back.
    """

    rate: Rate
    counts: tuple[tuple[int, int], ...] = ()

    @classmethod
    def load(cls, text: str, rate: Rate) -> Self:
        """Read what :meth:`dump` wrote; what cannot be read is an empty window.

        What was counted under a rate of another length goes on counting, as
        far back as that length reached: each of its buckets is counted in the
        one of ``rate`` in which it ends.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            return cls(rate)
        length = float(match[1])
        if not 1 <= length <= _LONGEST:
            return cls(rate)
        numbers = (int(number or 0) for number in match[3].split(","))
        pairs: Iterable[tuple[int, int]] = enumerate(numbers, int(match[2]))
        if length != rate.seconds:
            pairs = (
                (math.ceil((bucket + 1) * length / rate.seconds) - 1, number)
                for bucket, number in pairs
            )
        return cls(rate, _tidy(pair for pair in pairs if pair[0] < _NEVER))

    def dump(self) -> str:
        """Return the window as text of at most 2,000 characters, one text for one window."""
        if not self.counts:
            return ""
        first, last = self.counts[0][0], self.counts[-1][0]
        known = dict(self.counts)
        numbers = ",".join(str(known.get(bucket, "")) for bucket in range(first, last + 1))
        return f"{float(self.rate.seconds)!r}:{first}:{numbers}"

    def free(self, at: float) -> int:
        """Return how many contents may leave now."""
        return max(0, self.rate.count - self._counted(self._bucket(at)))

    def next_at(self, at: float, wanted: int = 1) -> float:
        """Return the earliest time when ``wanted`` contents may leave; ``at`` when they may now.

        More than the rate's count never may; then it is the time when a full count may.
        """
        wanted = min(wanted, self.rate.count)
        if self.free(at) >= wanted:
            return at
        ends = (self._start(bucket + 1 + BUCKETS) for bucket, _ in self.counts)
        return next(end for end in ends if end > at and self.free(end) >= wanted)

    def take(self, at: float, wanted: int, *, life: float = 0.0) -> tuple[Grant, Window]:
        """Count up to ``wanted`` contents, and return the grant for them and the window with them.

        A grant lives for half a bucket (1 % of the length) at least, and for a
        bucket and a half at most; with ``life`` for at least so many seconds,
        of up to half the length. Each bucket more costs 2 % of the throughput.
        """
        count = min(max(wanted, 0), self.free(at))
        if not count:
            return Grant(0, at), self
        width = self.rate.seconds / BUCKETS
        least = min(max(life, width / 2), self.rate.seconds / 2)
        bucket = self._bucket(at + least)
        return Grant(count, self._start(bucket + 1)), self._with(at, bucket, count)

    def give_back(self, grant: Grant, count: int) -> Window:
        """Take back ``count`` contents of ``grant`` that did not leave and never will."""
        bucket = round(grant.until * BUCKETS / self.rate.seconds) - 1
        known = dict(self.counts)
        if self._start(bucket + 1) != grant.until or bucket not in known:
            return self
        known[bucket] -= min(max(count, 0), grant.count, known[bucket])
        return Window(self.rate, _tidy(known.items()))

    def force(self, at: float, count: int) -> Window:
        """Count contents that leave now whatever the rate says."""
        return self._with(at, self._bucket(at), count) if count > 0 else self

    def _bucket(self, at: float) -> int:
        return math.floor(at * BUCKETS / self.rate.seconds)

    def _start(self, bucket: int) -> float:
        """Return the first moment that is in ``bucket``, rounding and all."""
        at = bucket * self.rate.seconds / BUCKETS
        while self._bucket(at) < bucket:
            at = math.nextafter(at, math.inf)
        while self._bucket(earlier := math.nextafter(at, -math.inf)) >= bucket:
            at = earlier
        return at

    def _counted(self, now: int) -> int:
        return sum(number for bucket, number in self.counts if abs(bucket - now) <= BUCKETS)

    def _with(self, at: float, bucket: int, count: int) -> Window:
        now = self._bucket(at)
        kept = [pair for pair in self.counts if now - BUCKETS - _KEPT <= pair[0] <= now + BUCKETS]
        return Window(self.rate, _tidy([*kept, (bucket, count)]))


def _tidy(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Add up what is in one bucket and leave out what is empty or long past, oldest first."""
    counts: Counter[int] = Counter()
    for bucket, number in pairs:
        counts[bucket] += number
    newest = max(counts, default=0)
    return tuple(
        # More than any rate's count is as good as any other such number.
        (bucket, min(number, _MOST + 1))
        for bucket, number in sorted(counts.items())
        if number > 0 and bucket > newest - 3 * BUCKETS
    )
