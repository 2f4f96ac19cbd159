"""Time that passes when a test says so: the outbox's, by which everything is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from django_smtpx import delivery, pacing
from django_smtpx.config import mailers
from django_smtpx.ledger import clock as ledger_clock

if TYPE_CHECKING:
    import pytest

BEGAN = datetime(2030, 1, 1, tzinfo=UTC)
SWEEP_EVERY = timedelta(seconds=10)


class Clock:
    """The database's clock and this machine's, which stand still until somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = BEGAN
        self.slept: list[float] = []
        # Both are read in one module: the database's as what its answer means, ours as what has
        # passed since.
        monkeypatch.setattr(ledger_clock, "_aware", lambda value: self.now)
        own = SimpleNamespace(clock_gettime=lambda clock: self.passed().total_seconds())
        monkeypatch.setattr(ledger_clock, "time", own)
        monkeypatch.setattr("django.utils.timezone.now", lambda: self.now)
        monkeypatch.setattr(pacing, "Meter", partial(pacing.Meter, sleep=self.sleep))

    def passed(self) -> timedelta:
        """Return how much time has passed."""
        return self.now - BEGAN

    def seconds(self) -> float:
        """Return it in seconds since the epoch."""
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        """Let time pass for a meter that waits in place."""
        # A microsecond more: what is less is rounded away, and the turn would never come.
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds, microseconds=1)

    def forward(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)

    def sweep(self) -> list[str]:
        """Let a sweep's interval pass, and sweep; return whom it woke."""
        self.now += SWEEP_EVERY
        woken: list[str] = []
        assert delivery.sweep(woken.append)
        return woken

    def sweep_and_drain(self) -> int:
        """Do what workers do once an interval, and return how many outcomes there were."""
        return sum(delivery.drain(mailers()[name]) for name in self.sweep())
