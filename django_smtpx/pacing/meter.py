"""The right to let contents leave: counted over all workers, by compare-and-swap on one row."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.db.models import F

from django_smtpx import ledger
from django_smtpx.models import RateWindow
from django_smtpx.pace import Grant, Rate, Window
from django_smtpx.pacing.routes import Key, rows
from django_smtpx.pacing.slow import slowdown_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from django.db.models import QuerySet

    from django_smtpx.mailer import Mailer, Way
    from django_smtpx.pace import Slowdown

PATIENCE = 10.0
"""Seconds that a drain waits in place for its turn; for longer it does not stay."""

_MOST_AT_ONCE = 20
_SWAP_PAUSE = 0.002
_LOOK_EVERY = 1.0
"""Seconds after which a drain that waits for its turn looks whether it is to end."""
_LIFE = 1.5
"""A grant lives for so many times what it took to get the last one, at least."""
_MARGIN = 0.005
"""So much of a second's window a grant ends earlier here than on record: a process may lose its
processor between being let go and letting go."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate, and what it is counted for: a mailer, or one destination of it."""

    mailer: str
    domain: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class UsedUp:
    """A limit that lets nothing go before ``until``."""

    limit: Limit
    until: datetime


def limits_on(way: Way, slowdown: Slowdown | None, at: float) -> tuple[Limit, ...]:
    """Return what bounds the rate of ``way``: its mailer's option, and what servers asked for."""
    found: dict[tuple[str, float], Rate] = {}
    slowed = slowdown.rate_at(at) if slowdown is not None else None
    for domain, rate in (("", way.mailer.rate), (way.domain, slowed)):
        if rate is not None:
            known = found.get((domain, rate.seconds), rate)
            found[domain, rate.seconds] = min(known, rate, key=lambda one: one.count)
    return tuple(Limit(way.name, domain, rate) for (domain, _), rate in found.items())


class Meter:
    """The share of one drain in what its way may let go.

    ``now`` returns the database's time, in seconds since the epoch. A grant is
    for contents that leave before it ends; what is left of it then is given back.
    ``stopping`` says that the drain is to end.
    """

    def __init__(
        self,
        limits: Sequence[Limit],
        now: Callable[[], float],
        *,
        stopping: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.limits = tuple(limits)
        self.waited = False
        self._now = now
        self._stopping = stopping
        self._sleep = sleep
        self._grants: list[tuple[Limit, Grant]] = []
        self._left = 0
        self._until = 0.0
        self._opens_at = 0.0
        self._batch = 1
        self._taking = 0.0

    def soon(self, ahead: int = 0) -> bool:
        """Say whether a content may leave within :data:`PATIENCE`: otherwise none is begun.

        ``ahead`` are the contents that have been begun and are not counted yet: it is about the
        one behind them.
        """
        if not self.limits or (self._holds() and self._left > ahead):
            return True
        if not ahead and self._take(1):
            return True
        now = self._now()
        if ahead:
            wanted = ahead + 1 - self._left
            self._opens_at = max(_next_at(limit, now, wanted) for limit in self.limits)
        return self._opens_at - now <= PATIENCE

    def admit(
        self, before_waiting: Callable[[], bool] = lambda: True, *, wanted: int = _MOST_AT_ONCE
    ) -> bool:
        """Count one content that leaves now; wait for its turn if that is not long.

        ``before_waiting`` is called once before it waits, and may refuse to. ``wanted`` is how many
        there are with this one, as far as is known: others may be waiting for what would only be
        given back. A grant that had run out by the time that it was on record is none. False, too,
        where the drain is to end while it waits.
        """
        if not self.limits:
            return True
        give_up, asked = self._now() + PATIENCE, False
        while not self._holds():
            if self._take(wanted) and self._now() <= give_up:
                continue
            if max(self._opens_at, self._now()) > give_up or not (asked or before_waiting()):
                return False
            asked = self.waited = True
            if not self._nap(max(self._opens_at - self._now(), _SWAP_PAUSE)):
                return False
        self._left -= 1
        return True

    def _nap(self, seconds: float) -> bool:
        """Sleep; False where the drain is to end meanwhile."""
        while seconds > 0 and not self._stopping():
            self._sleep(min(seconds, _LOOK_EVERY))
            seconds -= _LOOK_EVERY
        return not self._stopping()

    def close(self) -> None:
        """Give back what was granted and did not leave."""
        if self._left:
            self._give_back(self._left)
        self._grants, self._left = [], 0

    def _holds(self) -> bool:
        """Say whether a granted content is left; what has run out is given back."""
        if not self._left:
            return False
        if self._now() < self._until:
            return True
        self._batch = max(1, self._batch // 2)
        self.close()
        return False

    def _take(self, wanted: int) -> bool:
        """Ask all limits for the next contents, ``wanted`` at most; the scarcest says how many."""
        if self._grants:
            # The last grant was used up: there is more to send than was asked for.
            self._batch = min(self._batch * 2, _MOST_AT_ONCE)
        self._grants, count, until = [], min(self._batch, wanted), float("inf")
        began = self._now()
        # As long as it took the last time: what is granted has to be written down first.
        life = self._taking * _LIFE + _MARGIN
        for limit in self.limits:
            grant, opens_at = take(limit, self._now(), count, life=life)
            if not grant.count:
                self._opens_at = opens_at
                self._give_back(0)
                self._grants = []
                return False
            self._grants.append((limit, grant))
            margin = _MARGIN * min(limit.rate.seconds, 2.0)
            count, until = grant.count, min(until, grant.until - margin)
        self._left, self._until = count, until
        for limit, grant in self._grants:
            give_back(limit, grant, grant.count - count)
        self._taking = self._now() - began
        return True

    def _give_back(self, left: int) -> None:
        """Give back what is ``left`` of each grant (0: all of those that were just made)."""
        for limit, grant in self._grants:
            give_back(limit, grant, left or grant.count)


def take(limit: Limit, at: float, wanted: int, *, life: float = 0.0) -> tuple[Grant, float]:
    """Count up to ``wanted`` contents; return the grant, and when there are more if it is empty.

    The grant lives for ``life`` seconds at least, as far as its window allows.
    """
    began, now = time.monotonic(), at
    while True:
        counts, version = _read(limit)
        window = Window.load(counts, limit.rate)
        grant, taken = window.take(now, wanted, life=life)
        if not grant.count:
            return grant, window.next_at(now)
        if _swap(limit, version, taken):
            return grant, now
        time.sleep(_SWAP_PAUSE)
        # Who was second comes later than he asked.
        now = at + time.monotonic() - began


def give_back(limit: Limit, grant: Grant, count: int) -> None:
    """Take back ``count`` contents of a grant that did not leave."""
    while count > 0:
        counts, version = _read(limit)
        if _swap(limit, version, Window.load(counts, limit.rate).give_back(grant, count)):
            return
        time.sleep(_SWAP_PAUSE)


def count(way: Way, contents: int, at: datetime) -> None:
    """Count contents that leave whatever the rate says, as ``"now"`` mode does."""
    for limit in limits_on(way, None, at.timestamp()):
        while True:
            counts, version = _read(limit)
            window = Window.load(counts, limit.rate).force(at.timestamp(), contents)
            if _swap(limit, version, window):
                break
            time.sleep(_SWAP_PAUSE)


def opens_at(way: Way, at: datetime) -> datetime:
    """Return when the next content may leave on ``way``; ``at`` if it may now."""
    route = rows(Key(way.name, domain=way.domain)).first()
    now = at.timestamp()
    times = [
        Window.load(_read(limit)[0], limit.rate).next_at(now)
        for limit in limits_on(way, slowdown_of(route), now)
    ]
    latest = max(times, default=now)
    return at if latest <= now else datetime.fromtimestamp(latest, UTC)


def used_up_until(mailer: Mailer, at: datetime) -> datetime | None:
    """Return when the next content of ``mailer`` may leave by its own rate; None: it may now.

    For who only looks: nothing is written.
    """
    if mailer.rate is None:
        return None
    limit, now = Limit(mailer.name, "", mailer.rate), at.timestamp()
    counts = _row(limit).values_list("counts", flat=True).first()
    opens = Window.load(counts, limit.rate).next_at(now) if counts else now
    return datetime.fromtimestamp(opens, UTC) if opens > now else None


def used_up(
    ways: Iterable[tuple[Way, Slowdown | None]], at: datetime
) -> dict[tuple[str, str], UsedUp]:
    """Return what keeps the next content of each of these ways, by mailer and domain; what may go
    now is left out.

    For who only looks: nothing is written, and all of it is asked in one statement.
    """
    now = at.timestamp()
    limits = {(way.name, way.domain): limits_on(way, slow, now) for way, slow in ways}
    names = {name for (name, _), some in limits.items() if some}
    if not names:
        return {}
    rows = RateWindow.objects.using(ledger.database()).filter(mailer__in=names)
    counts = {
        (mailer, domain, seconds): text
        for mailer, domain, seconds, text in rows.values_list(
            "mailer", "domain", "seconds", "counts"
        )
    }
    opens = {
        limit: Window.load(
            counts.get((limit.mailer, limit.domain, round(limit.rate.seconds)), ""), limit.rate
        ).next_at(now)
        for limit in {limit for some in limits.values() for limit in some}
    }
    last = {way: max(some, key=lambda one: opens[one]) for way, some in limits.items() if some}
    return {
        way: UsedUp(limit, datetime.fromtimestamp(opens[limit], UTC))
        for way, limit in last.items()
        if opens[limit] > now
    }


def _next_at(limit: Limit, at: float, wanted: int) -> float:
    return Window.load(_read(limit)[0], limit.rate).next_at(at, wanted)


def _read(limit: Limit) -> tuple[str, int]:
    found = _row(limit).values_list("counts", "version").first()
    if found is None:
        RateWindow.objects.using(ledger.database()).bulk_create(
            [
                RateWindow(
                    mailer=limit.mailer, domain=limit.domain, seconds=round(limit.rate.seconds)
                )
            ],
            ignore_conflicts=True,
        )
        return "", 0
    return found


def _swap(limit: Limit, version: int, window: Window) -> bool:
    row = _row(limit).filter(version=version)
    return bool(
        ledger.patiently(
            lambda: row.update(counts=window.dump(), version=F("version") + 1), ledger.database()
        )
    )


def _row(limit: Limit) -> QuerySet[RateWindow]:
    return RateWindow.objects.using(ledger.database()).filter(
        mailer=limit.mailer, domain=limit.domain, seconds=round(limit.rate.seconds)
    )
