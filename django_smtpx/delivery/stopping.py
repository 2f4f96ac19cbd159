"""How a drain learns that it is to end before its time."""

from __future__ import annotations

import mmap

LOOK_EVERY = 1.0
"""Seconds after which a drain that waits for a server looks whether it is to end."""


class Stopped(Exception):
    """The drain is to end, and nothing is under way whose answer is worth waiting for."""


def never() -> bool:
    """Tell a drain that nothing stops it."""
    return False


class StopSign:
    """Whether this worker stops: one byte that its processes share.

    A worker's children are told nothing when it stops, but to end when they are
    done. The byte is made before the first of them is forked; each child sees it,
    whenever it was forked. It takes no lock, so that a signal handler may raise it.
    """

    def __init__(self) -> None:
        self._byte: mmap.mmap | None = None

    def lower(self) -> None:
        """Begin a worker: from here on, children share the sign."""
        if self._byte is None:
            self._byte = mmap.mmap(-1, 1)
        self._byte[0] = 0

    def raise_it(self) -> None:
        """Tell the drains of all processes of this worker to end."""
        if self._byte is not None:
            self._byte[0] = 1

    def is_raised(self) -> bool:
        """Say whether the worker stops."""
        return self._byte is not None and self._byte[0] == 1
