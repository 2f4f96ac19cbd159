"""What one queue does in one run: it takes mail, and sends it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.processes import CPU, RATE, ClientFailed
from benchmarks.queues.sites import site
from benchmarks.queues.workers import Commands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.queues.sinks import Sink
    from benchmarks.queues.sites import Process, Site
    from benchmarks.report import Report

OURS = "django_smtpx"
POST_OFFICE = "post_office"
DJANGO_MAILER = "django-mailer"
CELERY_EMAIL = "celery-email"
DATABASE_CPU = "database_cpu_us"
SINGLE = "send_mail_us"
SINGLE_CPU = "send_mail_cpu_us"
TOGETHER = "send_messages_us"
WHOLE = "all_cpu_us"
WARM_UP = 50


@dataclass(frozen=True)
class Entry:
    """One queue; ``ways`` are who sends what is queued, by what is added to the name of the row.

    ``more`` is for the settings of its kind.
    """

    kind: str
    ways: Mapping[str, Callable[..., Any]]
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """How much there is to do.

    ``messages`` are queued by ``send_mail()`` for each way, or together in
    batches of ``batch`` where that is not of interest; ``port`` is where the
    server is, as the queue sees it.
    """

    port: int
    messages: int
    batch: int
    one_by_one: bool = True
    profile: bool = False


def contest(report: Report, entry: Entry, python: str, sink: Sink, load: Load) -> None:
    """Let a queue, in a site of its own, take mail and send it, in each of its ways."""
    with (
        site(entry.kind, load.port, python=python, **entry.more) as made,
        made.process() as web,
    ):
        web.do("migrate")
        contestant = _Contestant(report, entry.kind, made, web, sink)
        if load.one_by_one:
            contestant.queue(WARM_UP)
            took = contestant.queue(load.batch, together=True)
            if "" in entry.ways:
                report.add(entry.kind, TOGETHER, took["seconds"] / load.batch * 1e6)
        for suffix, hire in entry.ways.items():
            with hire(made, web, sink) as worker:
                contestant.compete(suffix, worker, load)


class _Contestant:
    def __init__(self, report: Report, row: str, site: Site, web: Process, sink: Sink) -> None:
        self._report = report
        self._row = row
        self._site = site
        self._web = web
        self._sink = sink
        self._first = 0
        self._sent = sink.count()

    def queue(self, count: int, *, together: bool = False) -> dict[str, float]:
        """Send mail to the queue."""
        took: dict[str, float] = self._web.do(
            "send", first=self._first, count=count, together=together
        )
        self._first += count
        self._sent += count
        return took

    def compete(self, suffix: str, worker: Any, load: Load) -> None:
        """Warm the worker up, queue mail, and note what it takes to send it."""
        self.queue(WARM_UP)
        self._drain(worker.drain)
        row, count = self._row + suffix, load.messages
        queued = self._queue_all(load)
        self._site.database.settle()
        profiled = load.profile and isinstance(worker, Commands)
        with self._site.database.measured() as database:
            took = self._drain(worker.profile if profiled else worker.drain)
        if waiting := self._web.do("waiting"):
            raise ClientFailed(f"{row}: {waiting} messages are not sent.")
        sys.stderr.write(took.get("text", ""))
        self._report.add(row, RATE, count / took["seconds"])
        self._report.add(row, CPU, took["cpu"] / count * 1e6)
        if database.seconds is not None:
            self._report.add(row, DATABASE_CPU, database.seconds / count * 1e6)
        if load.one_by_one:
            self._report.add(row, SINGLE, queued["seconds"] / count * 1e6)
            self._report.add(row, SINGLE_CPU, queued["cpu"] / count * 1e6)
            self._report.add(row, WHOLE, (queued["cpu"] + took["cpu"]) / count * 1e6)

    def _queue_all(self, load: Load) -> dict[str, float]:
        if load.one_by_one:
            return self.queue(load.messages)
        for start in range(0, load.messages, load.batch):
            self.queue(min(load.batch, load.messages - start), together=True)
        return {}

    def _drain(self, drain: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
        """Drain, and see that all has arrived."""
        took = drain(self._sent)
        if (arrived := self._sink.count()) != self._sent:
            raise ClientFailed(f"{self._row}: {arrived} of {self._sent} messages have arrived.")
        return took
