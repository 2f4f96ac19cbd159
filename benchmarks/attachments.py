"""Memory that a mail with a 50 MB attachment takes, while it is stored and while it is delivered.

By send(), composition and all; by the outbox alone, which is given the bytes; and by a drain. The
content is kept as a file, in parts in SQLite, and in parts in PostgreSQL.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.processes import ClientFailed, NotThere, in_turns, server, worker
from benchmarks.queues.stores import postgres
from benchmarks.report import Report, arguments, main, positive

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

MEGABYTE = 1_000_000
STORES = ("file", "SQLite", "PostgreSQL")
STORING = 2.5
"""Sizes of the attachment that memory may grow by while a mail is stored."""
DELIVERING = 0.2
"""The same while it is delivered."""


def measure(options: argparse.Namespace) -> Report:
    """Send a mail to a server with BDAT, and one to a server without, by each store."""
    report = Report("attachments", options)
    for run in range(options.runs):
        for store in in_turns(list(options.stores), run):
            with tempfile.TemporaryDirectory() as folder, _site(store, Path(folder)) as site:
                _store_and_deliver(report, store, site, options.megabytes * MEGABYTE)
    return report


def _store_and_deliver(report: Report, store: str, site: dict[str, Any], size: int) -> None:
    def grown(work: str, *args: object) -> float:
        measured = worker("attaching", work, json.dumps(site), "--size", size, *args)
        report.add(store, f"{work}_growth", measured["growth"] / size)
        report.add(store, f"{work}_seconds", measured["seconds"])
        return report.latest(store, f"{work}_growth")

    worker("attaching", "prepare", json.dumps(site), "--size", size)
    report.goal(f"send(), growth / size: {store}", grown("send"), "<=", STORING)
    report.goal(f"store, growth / size: {store}", grown("store"), "<=", STORING)
    with server("server", "--chunking") as bdat:
        found = grown("deliver", "--port", bdat.port)
        report.goal(f"deliver, BDAT, growth / size: {store}", found, "<=", DELIVERING)
    with server("server") as data:
        found = grown("deliver_again", "--port", data.port)
        report.goal(f"deliver, DATA, growth / size: {store}", found, "<=", DELIVERING)
    for running in (bdat, data):
        # Two mails: one was composed, and one was given as bytes.
        if running.totals["octets"] < 2 * size * 4 // 3:
            raise ClientFailed(f"{store}: {running.totals['octets']} octets arrived")


@contextlib.contextmanager
def _site(store: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Give what a process of the site has to know."""
    sqlite = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "outbox.sqlite3"),
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
    if store != "PostgreSQL":
        files = str(folder / "files") if store == "file" else ""
        yield {"database": sqlite, "files": files}
        return
    with postgres() as database:
        yield {"database": database.settings, "files": ""}


def _stores(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    unknown = [store for store in chosen if store not in STORES]
    if unknown:
        raise NotThere(f"{unknown[0]} is none of {', '.join(STORES)}")
    return chosen


if __name__ == "__main__":
    parser = arguments(__doc__, messages=1)
    parser.add_argument(
        "--megabytes", type=positive, default=50, help="of the attachment; default: %(default)s"
    )
    parser.add_argument(
        "--stores", type=_stores, default=STORES, help=f"some of {','.join(STORES)}; default: all"
    )
    main(measure, parser)
