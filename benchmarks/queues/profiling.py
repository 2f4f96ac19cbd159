"""Where the CPU time of a drain goes, by samples of the stack.

A tracing profile makes each call dearer and so overstates what calls most; and what it says of a
process with several threads is wrong. A sample costs the same wherever it is taken.
"""

from __future__ import annotations

import collections
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

INTERVAL = 0.001
"""Seconds of CPU time between two samples; a kernel may take fewer."""
LINES = 40
"""Functions that are shown in a table."""
WIDTH = 150
"""Characters that are shown of a statement."""
DEPTH = 3
"""Names of a module's path that make a room: ``django_smtpx.ledger.settling``."""

_SELECTED = re.compile(r"SELECT .{40,}? FROM")
_VALUES = re.compile(r"\((?:[^()]{60,}|%s[^()]*)\)")

_FRAME = {"__main__", "runpy", __name__, "benchmarks.queues.kinds"}


class Statements:
    """Counts the statements of a connection, and the seconds that each was waited for."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.seconds: collections.Counter[str] = collections.Counter()

    def __call__(self, execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        """Execute, and count; a hook for Django's ``execute_wrapper()``."""
        shape = _SELECTED.sub("SELECT … FROM", _VALUES.sub("(…)", sql))[:WIDTH]
        self.counts[shape] += 1
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.seconds[shape] += time.perf_counter() - started

    def text(self) -> str:
        """Return a table, with what took longest first."""
        lines = (
            f"{seconds:8.3f} s {self.counts[shape]:6}  {shape}"
            for shape, seconds in self.seconds.most_common(LINES)
        )
        return "\n".join(["statements, by the clock, and how many", *lines, ""])


class Sampler:
    """Counts stacks; of a function twice in one stack, once."""

    def __init__(self) -> None:
        self.samples = 0
        self.own: collections.Counter[str] = collections.Counter()
        self.rooms: collections.Counter[str] = collections.Counter()
        self.whole: collections.Counter[str] = collections.Counter()

    def take(self, _signal: int, frame: FrameType | None) -> None:
        """Count the stack that was interrupted."""
        if frame is None:
            return
        self.samples += 1
        self.own[_name(frame)] += 1
        self.rooms[_room(frame)] += 1
        self.whole.update({_name(each) for each in _stack(frame) if _module(each) not in _FRAME})

    def text(self, seconds: float) -> str:
        """Return tables with shares; ``seconds`` are the CPU time in all."""
        first = f"{seconds:.3f} s of CPU time, {self.samples} samples"
        tables = (
            ("by module", self.rooms),
            ("by function, without what it calls", self.own),
            ("by function, with what it calls", self.whole),
        )
        return "\n".join([first, *(self._table(*table) for table in tables), ""])

    def _table(self, title: str, counts: Mapping[str, int]) -> str:
        most = sorted(counts.items(), key=lambda item: -item[1])[:LINES]
        lines = (f"{count / max(self.samples, 1):7.1%}  {name}" for name, count in most)
        return "\n".join(["", title, *lines])


def profiled(call: Callable[[], object]) -> str:
    """Call in the main thread, and return where the CPU time of this process went meanwhile."""
    sampler, statements = Sampler(), Statements()
    before = signal.signal(signal.SIGPROF, sampler.take)
    started = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        with connection.execute_wrapper(statements):
            call()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return sampler.text(time.process_time() - started) + "\n" + statements.text()


def _stack(frame: FrameType) -> Iterator[FrameType]:
    each: FrameType | None = frame
    while each is not None:
        yield each
        each = each.f_back


def _name(frame: FrameType) -> str:
    code = frame.f_code
    return f"{_module(frame)}:{code.co_firstlineno} {code.co_qualname}"


def _room(frame: FrameType) -> str:
    return ".".join(_module(frame).split(".")[:DEPTH])


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__") or Path(frame.f_code.co_filename).name)
