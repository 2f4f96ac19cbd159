"""What it costs to queue mail and to send what is queued, beside other queues for Django.

The outbox of django_smtpx, django-post-office, django-mailer and django-celery-email: the same
mail, the same PostgreSQL, the same Redis and the same smtp-sink. Each of the others is
installed into an environment of its own, with the same Python and the same Django, or with Django
5.2 where it works with no later one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.processes import RATE, in_turns
from benchmarks.queues.contest import (
    CELERY_EMAIL,
    DJANGO_MAILER,
    OURS,
    POST_OFFICE,
    SINGLE,
    TOGETHER,
    WHOLE,
    Entry,
    Load,
    contest,
)
from benchmarks.queues.environments import python_of
from benchmarks.queues.sinks import sink
from benchmarks.queues.workers import celery, commands
from benchmarks.report import Report, arguments, main, positive

if TYPE_CHECKING:
    import argparse

ENTRIES = {
    "ours": Entry(OURS, {"": commands()}),
    "ours-too": Entry(
        OURS,
        {
            ", two commands": commands(2),
            ", Celery solo": celery("solo"),
            ", Celery prefork": celery("prefork"),
        },
    ),
    POST_OFFICE: Entry(POST_OFFICE, {"": commands()}),
    DJANGO_MAILER: Entry(DJANGO_MAILER, {"": commands()}),
    CELERY_EMAIL: Entry(CELERY_EMAIL, {"": celery("solo"), ", prefork": celery("prefork")}),
}
FLOOR = Entry("floor", {"": commands()})


def measure(options: argparse.Namespace) -> Report:
    """Let each queue take the same mail and send it, in turns."""
    report = Report("outbox", options)
    entries = ENTRIES | ({FLOOR.kind: FLOOR} if options.floor else {})
    chosen = options.only or list(entries)
    pythons = {entries[name].kind: python_of(entries[name].kind) for name in chosen}
    with sink() as running:
        load = Load(running.port, options.messages, options.batch, profile=options.profile)
        for run in range(options.runs):
            for name in in_turns(chosen, run):
                entry = _as_told(entries[name], options)
                contest(report, entry, pythons[entry.kind], running, load)
            if not options.only:
                _compare(report)
    return report


def _as_told(entry: Entry, options: argparse.Namespace) -> Entry:
    if entry.kind != POST_OFFICE:
        return entry
    return replace(entry, more={"threads": options.threads, "batch": options.post_office_batch})


def _compare(report: Report) -> None:
    def ratio(column: str, theirs: str, ours: str = OURS) -> float:
        return report.latest(ours, column) / report.latest(theirs, column)

    for title, ours in (("command", OURS), ("Celery", f"{OURS}, Celery solo")):
        report.goal(f"rate, {title}, of post_office's", ratio(RATE, POST_OFFICE, ours), ">=", 8)
        report.goal(
            f"rate, {title}, of django-mailer's", ratio(RATE, DJANGO_MAILER, ours), ">=", 16
        )
        # One process beside one process: a prefork worker's child composes while its parent speaks
        # with the broker, which is the next line.
        report.goal(f"rate, {title}, of celery-email's", ratio(RATE, CELERY_EMAIL, ours), ">=", 8)
    prefork = ratio(RATE, f"{CELERY_EMAIL}, prefork", f"{OURS}, Celery prefork")
    report.goal("rate, Celery prefork, of celery-email's", prefork, ">=", 8)
    two = f"{OURS}, two commands"
    report.goal("rate, two workers, of one's", ratio(RATE, OURS, two), ">=", 1.7)
    report.goal("send_mail(), of post_office's", ratio(SINGLE, POST_OFFICE), "<=", 1)
    report.goal("send_messages(), of post_office's", ratio(TOGETHER, POST_OFFICE), "<=", 0.6)
    report.goal("CPU time, whole way, of post_office's", ratio(WHOLE, POST_OFFICE), "<=", 0.4)
    report.goal("CPU time, whole way, of django-mailer's", ratio(WHOLE, DJANGO_MAILER), "<=", 0.3)


if __name__ == "__main__":
    parser = arguments(__doc__, messages=2_000)
    parser.add_argument(
        "--only",
        action="append",
        choices=ENTRIES,
        help="measure this alone; 'ours' is one command, 'ours-too' are two and Celery workers",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        default=1_000,
        help="messages of one send_messages(); default: %(default)s",
    )
    parser.add_argument(
        "--threads", type=positive, default=5, help="of post_office; default: %(default)s"
    )
    parser.add_argument(
        "--post-office-batch",
        type=positive,
        default=1_000,
        help="emails that post_office takes at once; default: %(default)s",
    )
    parser.add_argument(
        "--floor",
        action="store_true",
        help="measure what the statements and the bytes of ours cost alone, too",
    )
    parser.add_argument("--profile", action="store_true", help="print where the CPU time goes")
    main(measure, parser)
