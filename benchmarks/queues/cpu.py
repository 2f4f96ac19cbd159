"""The CPU time of processes that are not ours to ask: what Linux says of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TICK = os.sysconf("SC_CLK_TCK")


class Spent:
    """The CPU time of processes that come and go, since :meth:`begin`."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._latest: dict[int, float] = {}

    def note(self, found: Mapping[int, float | None]) -> None:
        """Note how much each process has spent in its life; None: there is none such here."""
        self._latest |= {pid: cpu for pid, cpu in found.items() if cpu is not None}

    def begin(self) -> None:
        """Count from here on."""
        self._first = dict(self._latest)

    @property
    def seconds(self) -> float | None:
        """How much it is in all; None where no process was found."""
        if not self._latest:
            return None
        return sum(cpu - self._first.get(pid, 0.0) for pid, cpu in self._latest.items())


def cpu_of(pid: int, *, named: str = "", with_ended: bool = False) -> float | None:
    """Return the CPU time of a process in seconds; None where there is none such.

    ``named`` is a part of its command line; with ``with_ended`` the time of
    those of its children counts, too, that have ended.
    """
    folder = Path("/proc") / str(pid)
    try:
        if named not in (folder / "cmdline").read_text():
            return None
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return sum(map(int, fields[11 : 15 if with_ended else 13])) / TICK


def cpu_of_all(pid: int) -> float:
    """Return the CPU time of a process, of its children, and of theirs."""
    own = cpu_of(pid, with_ended=True) or 0.0
    return own + sum(map(cpu_of_all, children(pid)))


def children(pid: int) -> list[int]:
    """Return the children of a process, whichever of its threads has begun them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in (Path("/proc") / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found
