"""Time a recipient takes, where a message has many and the server takes 100 in a transaction.

It must not grow with their number. One server refuses those beyond (452 4.5.3), and another says
before how many it takes (LIMITS, RFC 9422).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.processes import ClientFailed, in_turns, server, worker
from benchmarks.report import Report, arguments, main, positive

if TYPE_CHECKING:
    import argparse

AT_ONCE = 100
SERVERS = {"452": [], "LIMITS": ["--limits"]}
TIME = "us_per_recipient"
GROWTH = 1.25
"""How far the time of the most may be above that of the fewest: what a busy machine makes of it."""


def measure(options: argparse.Namespace) -> Report:
    """Run all servers and sizes in turns."""
    report = Report("recipients", options)
    rows = {_row(name, size): (name, size) for name in SERVERS for size in options.recipients}
    for run in range(options.runs):
        for row in in_turns(list(rows), run):
            _send(report, *rows[row], options.messages)
        fewest, most = min(options.recipients), max(options.recipients)
        for name in SERVERS:
            growth = report.latest(_row(name, most), TIME) / report.latest(_row(name, fewest), TIME)
            report.goal(f"{name}: time of one of {most:,}, of {fewest:,}", growth, "<=", GROWTH)
    return report


def _send(report: Report, name: str, size: int, messages: int) -> None:
    with server("server", "--recipients", str(AT_ONCE), *SERVERS[name]) as running:
        measured = worker("many", running.port, "--recipients", size, "--messages", messages)
    taken = size * messages
    # One message went before.
    if running.totals["recipients"] != taken + 1:
        raise ClientFailed(f"{running.totals['recipients'] - 1} of {taken} recipients arrived")
    row = _row(name, size)
    report.add(row, TIME, measured["seconds"] / taken * 1e6)
    report.add(row, "cpu_us_per_recipient", measured["cpu"] / taken * 1e6)
    report.add(row, "commands_per_recipient", running.totals["commands"] / taken)


def _row(name: str, size: int) -> str:
    return f"{name}, {size:,} recipients"


def _sizes(text: str) -> list[int]:
    return [positive(each) for each in text.split(",")]


if __name__ == "__main__":
    parser = arguments(__doc__, messages=1)
    parser.add_argument(
        "--recipients",
        type=_sizes,
        default=[1_000, 2_000, 5_000, 10_000],
        help="of a message, each number for itself; default: 1000,2000,5000,10000",
    )
    main(measure, parser)
