"""Messages a second that one worker process sends from its queue where a round trip takes its time.

A Celery worker with four threads and ``max_connections=4``, which is the default, to smtp-sink
through a relay; and django-post-office with five threads, which is its default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.processes import RATE, in_turns, server
from benchmarks.queues.contest import OURS, POST_OFFICE, Entry, Load, contest
from benchmarks.queues.environments import python_of
from benchmarks.queues.sinks import sink
from benchmarks.queues.workers import celery, commands
from benchmarks.report import Report, arguments, main
from benchmarks.roundtrip import round_trip

if TYPE_CHECKING:
    import argparse

THREADS = 4
BATCH = 500
"""Messages that are queued together."""
FEWER = 4
"""Of how many messages one is for those who are slower; 100 are one claim of ours."""
ENTRIES = {
    "ours": Entry(OURS, {"": celery("threads", THREADS)}),
    "ours-one": Entry(OURS, {", one connection": commands()}),
    POST_OFFICE: Entry(POST_OFFICE, {"": commands()}, more={"threads": 5, "batch": 1_000}),
}


def measure(options: argparse.Namespace) -> Report:
    """Let both send the same mail, in turns."""
    report = Report("outbox_roundtrip", options)
    chosen = options.only or list(ENTRIES)
    pythons = {name: python_of(ENTRIES[name].kind) for name in chosen}
    with sink() as running, server("relay", str(running.port), "--rtt", str(options.rtt)) as relay:
        for run in range(options.runs):
            report.add("relay", "round_trip_ms", round_trip(relay.port))
            for name in in_turns(chosen, run):
                count = options.messages if name == "ours" else -(-options.messages // FEWER)
                load = Load(relay.port, count, BATCH, one_by_one=False)
                contest(report, ENTRIES[name], pythons[name], running, load)
            if "ours" in chosen:
                report.goal("messages/s", report.latest(OURS, RATE), ">=", 180)
    return report


if __name__ == "__main__":
    parser = arguments(__doc__, messages=2_400)
    parser.add_argument(
        "--rtt", type=float, default=20.0, help="round trip in milliseconds; default: %(default)s"
    )
    parser.add_argument("--only", action="append", choices=ENTRIES, help="measure this alone")
    main(measure, parser)
