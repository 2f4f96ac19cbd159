"""CPU time that it takes to make bytes of a mail, and memory that a large attachment takes.

Beside Django's own ``EmailMessage.message().as_bytes()``, which is what its backends send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.composing import COMPOSERS, MAILS, MEGABYTE, seconds_each
from benchmarks.processes import in_turns, worker
from benchmarks.report import Report, arguments, main, positive

if TYPE_CHECKING:
    import argparse

OURS, DJANGOS = COMPOSERS
OF_DJANGOS = 0.2
OF_THE_FILE = 2.5


def measure(options: argparse.Namespace) -> Report:
    """Compose every kind of mail in turns, and the large one in processes of its own."""
    report = Report("compose", options)
    for run in range(options.runs):
        for kind in MAILS:
            _compose(report, kind, run, options.messages)
        for composer in in_turns(list(COMPOSERS), run):
            measured = worker("composing", composer, "--megabytes", options.megabytes)
            growth = measured["growth"] / MEGABYTE / options.megabytes
            report.add("growth, of a large file's size", composer, growth)
        growth = report.latest("growth, of a large file's size", OURS)
        report.goal("growth, of a large file's size", growth, "<=", OF_THE_FILE)
    return report


def _compose(report: Report, kind: str, run: int, messages: int) -> None:
    row = f"{kind}, CPU µs"
    for composer in in_turns(list(COMPOSERS), run):
        mails = [MAILS[kind]() for _ in range(messages)]
        seconds_each(COMPOSERS[composer], mails[:1])
        report.add(row, composer, seconds_each(COMPOSERS[composer], mails) * 1e6)
    ratio = report.latest(row, OURS) / report.latest(row, DJANGOS)
    report.goal(f"CPU time, of Django's: {kind}", ratio, "<=", OF_DJANGOS)


if __name__ == "__main__":
    parser = arguments(__doc__, messages=200)
    parser.add_argument(
        "--megabytes", type=positive, default=50, help="of the large file; default: %(default)s"
    )
    main(measure, parser)
