"""Messages a second over one connection where a round trip takes its time.

With PIPELINING against smtplib, both to smtp-sink; and with CHUNKING, to a server of our own that
has it, against the same smtplib. All of them go through the same kind of relay.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.processes import HOST, RATE, compete, server, smtp_sink
from benchmarks.report import Report, arguments, main

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

CHUNKING = "django_smtpx, BDAT"
CLIENTS = ["django_smtpx", CHUNKING, "smtplib"]
WARM_UP = 2
PROBES = 10


def measure(options: argparse.Namespace) -> Report:
    """Run all clients in turns."""
    report = Report("roundtrip", options)
    with _ports(options.rtt) as (sink, chunking):
        for run in range(options.runs):
            report.add("relay", "round_trip_ms", round_trip(sink))
            measured = compete(
                {name: chunking if name == CHUNKING else sink for name in CLIENTS},
                run,
                messages=options.messages,
                at_once=options.messages,
                warm_up=WARM_UP,
            )
            for name in CLIENTS:
                report.add_all(name, measured[name])
            _compare(report)
    return report


@contextlib.contextmanager
def _ports(rtt: float) -> Iterator[tuple[int, int]]:
    with (
        smtp_sink() as sink,
        server("server", "--chunking") as chunking,
        server("relay", str(sink), "--rtt", str(rtt)) as to_sink,
        server("relay", str(chunking.port), "--rtt", str(rtt)) as to_chunking,
    ):
        yield to_sink.port, to_chunking.port


def round_trip(port: int) -> float:
    """Return how many milliseconds the answer to a NOOP takes."""
    times = []
    with socket.create_connection((HOST, port)) as sock:
        sock.recv(4_096)
        for _ in range(PROBES):
            started = time.perf_counter()
            sock.sendall(b"NOOP\r\n")
            sock.recv(4_096)
            times.append(time.perf_counter() - started)
        sock.sendall(b"QUIT\r\n")
        sock.recv(4_096)
    return statistics.median(times) * 1_000


def _compare(report: Report) -> None:
    theirs = report.latest("smtplib", RATE)
    pipelined = report.latest("django_smtpx", RATE)
    chunked = report.latest(CHUNKING, RATE)
    report.goal("rate with PIPELINING, of smtplib's", pipelined / theirs, ">=", 3.8)
    report.goal("rate with CHUNKING, of smtplib's", chunked / theirs, ">=", 20)


if __name__ == "__main__":
    parser = arguments(__doc__, messages=100)
    parser.add_argument(
        "--rtt", type=float, default=20.0, help="round trip in milliseconds; default: %(default)s"
    )
    main(measure, parser)
