"""How long the phases of the conversation with servers took, in buckets, for histograms.

Counted in memory, so that no message waits for it, and written with the next
:func:`flush_timings` by one statement that adds to what is there: many processes may do so at once.
What a process that is killed had not written is lost, and no mail with it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from bisect import bisect_left
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from django.db import DatabaseError, InterfaceError, connections

from django_smtpx.ledger.rows import database, in_callers_transaction
from django_smtpx.models import PHASE_WITHIN, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EVERY = 10.0
"""Seconds between two writes of one process, at least: whoever scrapes comes less often."""

_ROWS = 100
"""Rows that are written by one statement."""

logger = logging.getLogger("django_smtpx.ledger")


_FIELDS = ("mailer", "phase", "bucket", "count", "seconds")


class Timed(NamedTuple):
    """So many waits of one mailer and phase that were alike, and how many seconds they were."""

    mailer: str
    phase: str
    bucket: int
    replies: int
    seconds: float


class _Buffer:
    """What was counted and is not written yet, of this process."""

    def __init__(self) -> None:
        self.start_clean()

    def start_clean(self) -> None:
        """Begin anew, also in a forked child: what was counted is the parent's."""
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str, int], list[float]] = {}
        self._due_at = 0.0

    def count(self, mailer: str, phases: Mapping[str, float]) -> None:
        """Count one wait of each phase."""
        with self._lock:
            for phase, seconds in phases.items():
                key = mailer, phase, bisect_left(PHASE_WITHIN, seconds) + 1
                sums = self._sums.get(key)
                if sums is None:
                    self._sums[key] = [1, seconds]
                else:
                    sums[0] += 1
                    sums[1] += seconds

    def put_back(self, timed: Sequence[Timed]) -> None:
        """Count what was taken and could not be written."""
        with self._lock:
            for one in timed:
                sums = self._sums.setdefault(one[:3], [0, 0.0])
                sums[0] += one.replies
                sums[1] += one.seconds

    def take(self, *, at_once: bool) -> list[Timed]:
        """Return all of it, in one order everywhere, where it is time, and begin anew."""
        now = time.monotonic()
        if not self._sums or (now < self._due_at and not at_once):
            return []
        with self._lock:
            sums, self._sums = self._sums, {}
            self._due_at = now + EVERY
        return [Timed(*key, int(count), total) for key, (count, total) in sorted(sums.items())]


_buffer = _Buffer()
os.register_at_fork(after_in_child=_buffer.start_clean)


def time_phases(mailer: str, phases: Mapping[str, float]) -> None:
    """Count what each phase took of one transaction, or of a session that could not be had.

    Cheap, and it touches no database.
    """
    _buffer.count(mailer, phases)


def flush_timings(*, at_once: bool = False) -> int:
    """Write what was counted in this process, and return how many rows that were.

    To be called where no byte moves, such as at the end of a drain. What was counted within
    :data:`EVERY` seconds waits for the next time, unless ``at_once``. It raises nothing: what
    cannot be written waits, too. Inside a caller's transaction it does nothing.
    """
    using = database()
    if in_callers_transaction(using):
        return 0
    written = 0
    timed = _buffer.take(at_once=at_once)
    while timed:
        try:
            _add(timed[:_ROWS], using)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Timings could not be written, and wait: %s", error)
            _buffer.put_back(timed)
            break
        written += len(timed[:_ROWS])
        timed = timed[_ROWS:]
    return written


def timed_in_all() -> list[Timed]:
    """Return what was ever counted; no number in it ever becomes less."""
    rows = Timing.objects.using(database()).order_by("mailer", "phase", "bucket")
    return [Timed(*row) for row in rows.values_list(*_FIELDS)]


def _add(timed: Sequence[Timed], using: str) -> None:
    """Add to the rows that are there, and insert the others, by one statement.

    In one order everywhere, so that two that do so at once wait for each other and do not lock up.
    """
    connection = connections[using]
    quote = connection.ops.quote_name
    table, key = quote(Timing._meta.db_table), quote("digest")
    columns = [key, *map(quote, _FIELDS)]
    if connection.vendor == "mysql":
        added = "ON DUPLICATE KEY UPDATE {0} = {0} + VALUES({0}), {1} = {1} + VALUES({1})"
    else:
        added = (
            f"ON CONFLICT ({key}) DO UPDATE SET "
            f"{{0}} = {table}.{{0}} + excluded.{{0}}, {{1}} = {table}.{{1}} + excluded.{{1}}"
        )
    marks = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * len(timed))
    values = [value for one in timed for value in (_digest(one), *one)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES {marks} "  # noqa: S608 (names of ours)
            f"{added.format(quote('count'), quote('seconds'))}",
            values,
        )


def _digest(one: Timed) -> str:
    return sha256(f"{one.mailer}\0{one.phase}\0{one.bucket}".encode()).hexdigest()
