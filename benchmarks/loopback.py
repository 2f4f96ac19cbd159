"""Messages a second and CPU time a message, over one connection without a delay, to smtp-sink.

Compared with smtplib, with aiosmtplib, and with a bare socket that sends the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.processes import CPU, RATE, compete, require_aiosmtplib, smtp_sink
from benchmarks.report import Report, arguments, main

if TYPE_CHECKING:
    import argparse

CLIENTS = ["django_smtpx", "smtplib", "aiosmtplib", "raw socket"]
WARM_UP = 200
AT_ONCE = 500
"""Messages that one sends before it is the next one's turn: between a tenth and half a second."""


def measure(options: argparse.Namespace) -> Report:
    """Run all clients in turns."""
    require_aiosmtplib()
    report = Report("loopback", options)
    with smtp_sink() as port:
        for run in range(options.runs):
            measured = compete(
                dict.fromkeys(CLIENTS, port),
                run,
                messages=options.messages,
                at_once=AT_ONCE,
                warm_up=min(WARM_UP, options.messages),
            )
            for name in CLIENTS:
                report.add_all(name, measured[name])
            _compare(report)
    return report


def _compare(report: Report) -> None:
    ours = report.latest("django_smtpx", RATE)
    report.goal("rate, of smtplib's", ours / report.latest("smtplib", RATE), ">=", 2.2)
    report.goal("rate, of aiosmtplib's", ours / report.latest("aiosmtplib", RATE), ">=", 4)
    ours = report.latest("django_smtpx", CPU)
    report.goal("CPU time, of the raw socket's", ours / report.latest("raw socket", CPU), "<=", 2)


if __name__ == "__main__":
    main(measure, arguments(__doc__, messages=5_000))
