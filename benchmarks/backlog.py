"""What a message costs, and a look at the log, with a thousand rows and with a million.

On PostgreSQL. An outbox with a thousand rows and one with a million more, of one kind after the
other, are drained, swept and looked at in turns.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.backlogs.process import LISTS, OVERVIEW
from benchmarks.processes import HOST, ROOT, STOP_TIMEOUT, smtp_sink
from benchmarks.queues.sites import Process
from benchmarks.queues.stores import postgres
from benchmarks.report import Report, arguments, main, positive

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from benchmarks.queues.stores import Database

SMALL = 1_000
KINDS = ("due tomorrow", "ready for another mailer", "settled")
DUE_AT_ONCE = 100_000

_NO_STATISTICS = "ALTER TABLE {} SET (autovacuum_enabled = off)"
_TABLES = ("django_smtpx_message", "django_smtpx_delivery", "django_smtpx_attempt")


def measure(options: argparse.Namespace) -> Report:
    """Drain, sweep and look at both outboxes, in turns; or only say what rows take."""
    report = Report("backlog", options)
    with smtp_sink() as port:
        if options.sizes:
            _measure_sizes(report, options, port)
            return report
        if options.overviews:
            _measure_overviews(report, options, port)
            return report
        if options.writes:
            _measure_writes(report, options, port)
            return report
        with _outbox(port, options) as (_, small):
            for kind in options.only or KINDS:
                with _outbox(port, options, kind) as (_, large):
                    _compare(report, options, kind, small, large)
        for _ in range(0 if options.lists else options.runs):
            _promote(report, options, port)
    return report


@contextlib.contextmanager
def _site(port: int) -> Iterator[tuple[Database, Process]]:
    """Make an outbox without rows."""
    with postgres() as database:
        site = {"database": database.settings, "host": HOST, "port": port}
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.backlogs.process"],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "benchmarks.backlogs.settings",
                "BENCHMARK_SITE": json.dumps(site),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            outbox = Process(process)
            outbox.do("migrate")
            for table in _TABLES:
                # What it would do in between, and when, is nobody's to say.
                outbox.do("run", sql=_NO_STATISTICS.format(table))
            yield database, outbox
            process.communicate(timeout=STOP_TIMEOUT)
        finally:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def _outbox(
    port: int, options: argparse.Namespace, kind: str = ""
) -> Iterator[tuple[Database, Process]]:
    """Make an outbox with a thousand rows of all kinds, and with many of one ``kind``."""
    with _site(port) as (database, outbox):
        outbox.do("fill", kind="mixed", count=SMALL)
        outbox.do("fill", kind="routes", count=options.routes if kind else SMALL)
        if options.statistics == "stale":
            database.settle()
        if kind:
            outbox.do("fill", kind=kind, count=options.rows)
        if options.statistics == "fresh":
            database.settle()
        else:
            outbox.do("run", sql="CHECKPOINT")
        yield database, outbox


def _compare(
    report: Report, options: argparse.Namespace, kind: str, small: Process, large: Process
) -> None:
    rows = {f"{SMALL:,} rows, beside {kind}": small, f"{options.rows:,} {kind}": large}
    for outbox in () if options.lists else rows.values():
        outbox.do("drain", count=options.messages)
    for run in range(options.runs):
        pairs = list(rows.items())
        for row, outbox in reversed(pairs) if run % 2 else pairs:
            if not options.lists:
                report.add_all(row, outbox.do("drain", count=options.messages))
                report.add_all(row, outbox.do("sweep"))
        for name in LISTS:
            _look(report, options, rows, name, f"list {name}, ms")
        _look(report, options, rows, OVERVIEW, "overview, ms")
        few, many = rows

        def ratio(column: str, few: str = few, many: str = many) -> float:
            return report.latest(many, column) / report.latest(few, column)

        for name in LISTS:
            report.goal(f"list {name}, {kind}", ratio(f"list {name}, ms"), "<=", 2)
        report.goal(f"overview, {kind}", ratio("overview, ms"), "<=", 2)
        if options.lists:
            continue
        report.goal(f"time a message, {kind}", ratio("ms_per_message"), "<=", 1.2)
        report.goal(f"CPU time a message, {kind}", ratio("cpu_ms_per_message"), "<=", 1.2)
        report.goal(f"sweep, {kind}", ratio("sweep_ms"), "<=", 1.5)


def _look(
    report: Report,
    options: argparse.Namespace,
    rows: dict[str, Process],
    which: str,
    column: str,
) -> None:
    """Look at a page of each outbox in turns: what else the machine does falls on all of them."""
    taken: dict[str, list[float]] = {row: [] for row in rows}
    for _ in range(1 + options.looks):
        for row, outbox in rows.items():
            taken[row].append(outbox.do("look", which=which)["ms"])
    for row, (_, *counted) in taken.items():
        report.add(row, column, statistics.median(counted))


def _measure_overviews(report: Report, options: argparse.Namespace, port: int) -> None:
    """Look at the overview of the log of a month, whose attempts are counted."""
    with contextlib.ExitStack() as stack:
        outboxes = {}
        for count in (SMALL, options.rows):
            database, outbox = stack.enter_context(_site(port))
            row = f"{count:,} rows of a month"
            outboxes[row] = outbox
            outbox.do("fill", kind="month", count=count)
            report.add_all(row, outbox.do("tally"))
            database.settle()
        few, many = outboxes
        for _ in range(options.runs):
            _look(report, options, outboxes, OVERVIEW, "overview, ms")
            ratio = report.latest(many, "overview, ms") / report.latest(few, "overview, ms")
            report.goal("overview of a month", ratio, "<=", 2)


def _promote(report: Report, options: argparse.Namespace, port: int) -> None:
    """Let many rows come due at once."""
    count = min(options.rows, DUE_AT_ONCE)
    with _outbox(port, options) as (_, outbox):
        outbox.do("fill", kind="coming due", count=count)
        done = outbox.do("promote")
        report.add(f"{count:,} come due at once", "us_per_row", done["seconds"] / count * 1e6)
        report.goal(f"seconds until {count:,} are ready", done["seconds"], "<=", 20)


def _measure_sizes(report: Report, options: argparse.Namespace, port: int) -> None:
    with _outbox(port, options) as (_, outbox):
        sizes = outbox.do("sizes", count=options.rows)
        for row, figures in sizes.items():
            report.add_all(row, figures)
        whole = sum(
            report.latest(row, "bytes_per_row") for row in sizes if not row.startswith("content")
        )
        report.goal("bytes a message of one recipient in the log", whole, "<=", 2_000)


def _measure_writes(report: Report, options: argparse.Namespace, port: int) -> None:
    for _ in range(options.runs):
        for fillfactor in (100, 85, 70):
            with _outbox(port, options) as (_, outbox):
                done = outbox.do("writes", count=options.messages, fillfactor=fillfactor)
            for row, figures in done.items():
                report.add_all(row, figures)
            total = sum(figures["wal_records"] for figures in done.values())
            report.goal(f"WAL records a message, fillfactor {fillfactor}", total, "<=", 35)


if __name__ == "__main__":
    parser = arguments(__doc__, messages=200)
    parser.add_argument("--rows", type=positive, default=1_000_000, help="default: %(default)s")
    parser.add_argument(
        "--routes",
        type=positive,
        default=100_000,
        help="destinations that the large outbox knows; default: %(default)s",
    )
    parser.add_argument(
        "--looks",
        type=positive,
        default=9,
        help="looks at a page in a run, of which the median counts, after one that does not; "
        "default: %(default)s",
    )
    parser.add_argument(
        "--statistics",
        choices=("fresh", "stale", "none"),
        default="fresh",
        help="what the planner knows: all, the first thousand rows, or nothing; default: fresh",
    )
    parser.add_argument(
        "--only", action="append", choices=KINDS, help="rows of this kind; may be said again"
    )
    parser.add_argument(
        "--lists", action="store_true", help="only look at the admin's pages, and send nothing"
    )
    parser.add_argument("--sizes", action="store_true", help="only say what a row takes")
    parser.add_argument(
        "--overviews", action="store_true", help="only look at the overview of a month's log"
    )
    parser.add_argument(
        "--writes", action="store_true", help="only say what is written as a message is sent"
    )
    main(measure, parser)
