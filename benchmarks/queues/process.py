"""A process of a site: ``python -m benchmarks.queues.process``.

Each line of its input is a command as JSON, ``[name, arguments]``, and is answered by one line. It
needs ``BENCHMARK_SITE`` and ``DJANGO_SETTINGS_MODULE``.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

import django

from benchmarks.queues.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.queues.kinds import Kind


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def measured(call: Callable[[], object]) -> dict[str, float]:
    """Call, and return the seconds that it took, by the clock and of CPU time."""
    cpu, started = cpu_seconds(), time.perf_counter()
    call()
    return {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - cpu}


class Process:
    """What it can be told to do."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def migrate(self) -> None:
        """Make the tables."""
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    def send(self, first: int, count: int, *, together: bool = False) -> dict[str, float]:
        """Send mails one by one, or with one ``send_messages()``."""
        from benchmarks.queues.mails import mails, send_one_by_one, send_together

        send = send_together if together else send_one_by_one
        many = list(mails(first, count))
        return measured(lambda: send(many))

    def drain(self) -> dict[str, float]:
        """Send what is queued."""
        return measured(self.kind.drain)

    def profile(self) -> dict[str, Any]:
        """Send what is queued, and say in ``text`` where the CPU time went."""
        from benchmarks.queues.profiling import profiled

        texts: list[str] = []
        took = measured(lambda: texts.append(profiled(self.kind.drain)))
        return {**took, "text": texts[0]}

    def waiting(self) -> int:
        """Return how many messages are not known to be sent."""
        return self.kind.waiting()


def main() -> None:
    """Do what the input says until it ends."""
    django.setup()
    # As a site's package does: its tasks are those of its app.
    importlib.import_module("benchmarks.queues.app")

    # What others print is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    process = Process(KINDS[json.loads(os.environ["BENCHMARK_SITE"])["kind"]])
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(process, name)(**arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
