"""Time, as leases know it: the database's UTC clock, and this machine's clock that counts suspends.

The database's clock is read for a claim, unless that was done a moment ago, and handed on as
``now``; what passes after that is measured here by ``CLOCK_BOOTTIME``, so that a process that was
stopped, or a machine that was asleep, wakes up to a lease that has run out.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from django.db import connections

if TYPE_CHECKING:
    from collections.abc import Callable

_NOW = {
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL",
}
_READINGS = 3
_CLOSE = 0.002
"""Seconds that a reading may take for its moment to be known well enough."""

_YOUNG = 1.0
"""Seconds after which a reading is no longer what a lease begins by."""

_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def database_now(using: str) -> datetime:
    """Return the time by the clock of the database ``using``, aware, in UTC."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(_NOW[connection.vendor])
        return _aware(cursor.fetchone()[0])


def boottime() -> float:
    """Return seconds since boot, suspends included."""
    return time.clock_gettime(_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Reading:
    """The database's time, read once; what passes after that is told by our own clock."""

    read_at: datetime
    read_boottime: float
    clock: Callable[[], float] = field(default=boottime, repr=False)

    @classmethod
    def take(cls, using: str) -> Reading:
        """Read the clock of the database ``using``, to within a few milliseconds where it can.

        The first statement of a process may have to connect first, and nobody knows when within
        such a wait the clock was read: it is read again then. Workers go by it together, and what
        one of them is ahead of the others is lost to all.
        """
        closest, width = None, math.inf
        for _ in range(_READINGS):
            before = boottime()
            read_at = database_now(using)
            after = boottime()
            if after - before < width:
                width = after - before
                closest = cls(read_at, (before + after) / 2, boottime)
            if width <= _CLOSE:
                break
        assert closest is not None
        return closest

    def now(self) -> datetime:
        """Return the database's time, as far as it can be told without asking it again."""
        return self.read_at + timedelta(seconds=self.clock() - self.read_boottime)

    def fresh(self) -> bool:
        """Say whether it is so young that a lease may begin by it: a clock that was set since would
        move its end.
        """
        return self.clock() - self.read_boottime < _YOUNG


@dataclass(slots=True)
class Lease:
    """The right to send what was claimed under ``token``, until it runs out or is renewed.

    ``seconds`` is its length. Its end is counted from before the statement
    that set it, so it is never later than the row says.
    """

    token: UUID
    seconds: float
    read_at: datetime
    read_boottime: float
    clock: Callable[[], float] = field(default=boottime, repr=False)
    ends: float = field(init=False)

    def __post_init__(self) -> None:
        self.ends = self.read_boottime + self.seconds

    @classmethod
    def begin(cls, seconds: float, using: str, reading: Reading | None = None) -> Lease:
        """Return a new lease that begins now, by the clock of the database ``using``, or by a
        ``reading`` of it that is :meth:`~Reading.fresh`.

        Our clock is read first: whatever comes between the two makes the lease
        end earlier here, and never later than the row says; by a reading that is so to within what
        that took, which :meth:`valid` has to spare.
        """
        read_boottime = boottime()
        at = database_now(using) if reading is None else reading.now()
        return cls(uuid4(), seconds, at, read_boottime)

    def now(self) -> datetime:
        """Return the database's time, as far as it can be told without asking it again."""
        return self.read_at + timedelta(seconds=self.clock() - self.read_boottime)

    def valid(self) -> bool:
        """Say whether it still holds, with a tenth of its length (at most 30 s) to spare."""
        return self.clock() < self.ends - min(self.seconds / 10, 30.0)

    def runs_low(self) -> bool:
        """Say whether more than a third of it has gone, so that it is time to renew it."""
        return self.clock() > self.ends - self.seconds * 2 / 3

    def renewed_until(self) -> datetime:
        """Return the row's new end if it is renewed now; :meth:`renew` makes it true here."""
        return self.now() + timedelta(seconds=self.seconds)

    def renew(self, asked_at: float) -> None:
        """Take the new end, counted from ``asked_at`` (the clock before the statement)."""
        self.ends = asked_at + self.seconds


def _aware(value: datetime | str) -> datetime:
    said = datetime.fromisoformat(value) if isinstance(value, str) else value
    return said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)
