"""How long a dialogue waited for its server, phase by phase."""

from __future__ import annotations

import time


class Stopwatch:
    """Adds up, in ``waits``, the seconds that each phase was waited for.

    A reply is waited for from when its command was sent, or from when the reply before it came,
    where that was later. So commands that go out together count no moment twice, and all phases
    together took as long as the whole.
    """

    __slots__ = ("_since", "waits")

    def __init__(self) -> None:
        self.waits: dict[str, float] = {}
        self._since = time.monotonic()

    def begin(self) -> None:
        """Wait from now on."""
        self._since = time.monotonic()

    def lap(self, phase: str, now: float, waits: dict[str, float]) -> None:
        """Count what has gone by until ``now`` as ``phase`` in ``waits``, which are its own or a
        transaction's, and wait from then on for the next.
        """
        waits[phase] = waits.get(phase, 0.0) + now - self._since
        self._since = now

    def take(self) -> dict[str, float]:
        """Return what was counted, and begin anew."""
        taken, self.waits = self.waits, {}
        return taken
