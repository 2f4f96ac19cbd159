"""Messages a second and CPU time a message, over one connection without a delay, to smtp-sink.

Compared with smtplib, with aiosmtplib, and with a bare socket that sends the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.processes import in_turns, require_aiosmtplib, smtp_sink, worker
from benchmarks.report import Report, arguments, main

if TYPE_CHECKING:
    import argparse

CLIENTS = ["django_smtpx", "smtplib", "aiosmtplib", "raw socket"]
WARM_UP = 200
RATE = "messages_per_second"
CPU = "cpu_us_per_message"


def measure(options: argparse.Namespace) -> Report:
    """Run all clients in turns."""
    require_aiosmtplib()
    report = Report("loopback", options)
    count = ["--messages", options.messages, "--warm-up", min(WARM_UP, options.messages)]
    with smtp_sink() as port:
        for run in range(options.runs):
            for name in in_turns(CLIENTS, run):
                measured = worker("clients", name, port, *count)
                report.add(name, RATE, measured[RATE])
                report.add(name, CPU, measured[CPU])
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
