"""Purging an outbox of settled messages on PostgreSQL, alone and beside a process that delivers.

The memory that it takes, whether it slows down on its way, and how long a delivery's statement had
to wait. Nothing is vacuumed meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.processes import ROOT, ClientFailed, worker
from benchmarks.queues.stores import postgres
from benchmarks.report import Report, arguments, main
from benchmarks.retaining import DELIVERING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

MEGABYTE = 1_000_000
LULL = 10.0
"""Seconds for which deliveries are measured with no purge beside them."""


def measure(options: argparse.Namespace) -> Report:
    """Fill a database, deliver in it, and deliver in it beside a purge."""
    report = Report("retention", options)
    for _ in range(options.runs):
        with postgres() as database:
            _run(report, database.settings, options.messages)
    return report


def _run(report: Report, database: dict[str, Any], messages: int) -> None:
    settings = json.dumps(database)
    worker("retaining", "fill", settings, "--messages", messages)
    with _delivering(settings) as heard:
        worker("retaining", "wait", settings, "--messages", int(LULL))
    report.add_all("delivery alone", heard())
    with _delivering(settings) as heard:
        purged = worker("retaining", "purge", settings, "--messages", messages)
    report.add_all("delivery beside a purge", heard())
    report.add("purge", "growth_mb", purged.pop("growth") / MEGABYTE)
    report.add_all("purge", purged)
    report.goal("growth, MB", report.latest("purge", "growth_mb"), "<=", 10)
    for what in ("contents", "messages"):
        slower = report.latest("purge", f"{what}_last_to_first")
        report.goal(f"time of the last tenth to the first, {what}", slower, "<=", 1.5)
    longest = report.latest("delivery beside a purge", "longest_ms")
    report.goal("longest wait of a delivery's statement, ms", longest, "<=", 1000)


@contextlib.contextmanager
def _delivering(settings: str) -> Iterator[Callable[[], dict[str, float]]]:
    """Deliver in a process of its own until the block ends; gives what tells its figures."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.retaining", "deliver", settings],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    try:
        # Else a short purge is over before there is anything beside it.
        begun = process.stdout is not None and process.stdout.readline().strip() == DELIVERING
        if begun:
            yield lambda: json.loads(said[0])
        out, error = process.communicate()
        if process.returncode or not begun:
            raise ClientFailed(f"{process.args!r} ended:\n{error}")
        said.append(out)
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    main(measure, arguments(__doc__, messages=1_000_000))
