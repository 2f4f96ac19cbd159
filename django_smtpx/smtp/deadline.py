"""One deadline over many steps."""

from __future__ import annotations

import time


class Deadline:
    """A point in time, ``timeout`` seconds from its making, that no step puts off."""

    __slots__ = ("_end",)

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout

    @property
    def left(self) -> float:
        """Seconds until it is reached; never below 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is reached."""
        return time.monotonic() >= self._end
