"""A site with an outbox: ``python -m benchmarks.backlogs.process``.

Each line of its input is a command as JSON, ``[name, arguments]``, and is answered by one line.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import django

from benchmarks.queues.cpu import cpu_of
from benchmarks.queues.process import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

LISTS = {
    "unfiltered": "",
    "by status": "?status__exact=failed",
    "by mailer": "?mailer=default",
    "by category": "?category__exact=mailbox_unknown",
}


class Process:
    """What it can be told to do."""

    def __init__(self) -> None:
        self._client: Client | None = None

    def migrate(self) -> None:
        """Make the tables, and somebody who looks at the lists."""
        from django.contrib.auth.models import User
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        User.objects.create_superuser("staff", password="x")

    def fill(self, kind: str, count: int) -> None:
        """Insert rows."""
        from benchmarks.backlogs import rows

        fill = {**rows.KINDS, "mixed": rows.mixed, "coming due": rows.coming_due}
        fill[kind](count)

    def run(self, sql: str) -> None:
        """Run a statement."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(sql)

    def drain(self, count: int) -> dict[str, float]:
        """Queue so many mails and send them; return what one of them took.

        CPU time is ours and that of our backend, or ours alone where it runs on another machine.
        """
        from django.core.mail import EmailMessage, get_connection
        from django.db import connection

        from django_smtpx import delivery
        from django_smtpx.config import mailers

        mails = [
            EmailMessage(f"Subject {n}", "Hello\n" * 100, "from@example.com", [f"{n}@example.com"])
            for n in range(count)
        ]
        _mail_backend(get_connection).send_messages(mails)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
        before = _cpu(pid)
        seconds = _seconds(lambda: _expect(count, delivery.drain(mailers()["default"])))
        cpu = _cpu(pid) - before
        return {"ms_per_message": seconds / count * 1e3, "cpu_ms_per_message": cpu / count * 1e3}

    def sweep(self) -> dict[str, float]:
        """Do what the sweep does; nothing is due."""
        from django_smtpx import ledger
        from django_smtpx.config import mailers
        from django_smtpx.delivery.idle import upkeep

        def sweep() -> None:
            upkeep()
            ledger.waiting_mailers(mailers())

        return {"sweep_ms": _seconds(sweep) * 1e3}

    def promote(self) -> dict[str, float]:
        """Let what has come due be ready."""
        from django_smtpx import ledger

        counts: list[int] = []
        seconds = _seconds(lambda: counts.append(ledger.promote(ledger.now())))
        return {"seconds": seconds, "count": counts[0]}

    def look(self, which: str) -> dict[str, float]:
        """Look at a list of deliveries in the admin."""
        if self._client is None:
            from django.contrib.auth.models import User
            from django.test import Client

            self._client = Client()
            self._client.force_login(User.objects.get())
            self.look("unfiltered")
        client = self._client

        def get() -> None:
            response = client.get(f"/admin/django_smtpx/delivery/{LISTS[which]}")
            _expect(200, response.status_code)

        return {"ms": _seconds(get) * 1e3}

    def writes(self, count: int, fillfactor: int) -> dict[str, Any]:
        """Claim, mark and settle so many; return what is written a message, by step."""
        from benchmarks.backlogs import rows
        from benchmarks.backlogs.writes import writes
        from django_smtpx.models import Delivery, Message

        for model in (Message, Delivery):
            self.run(f"ALTER TABLE {model._meta.db_table} SET (fillfactor = {fillfactor})")
        rows.ready_elsewhere(2 * count)
        # What a page takes for the first time after a checkpoint is not what is looked for.
        writes(count, fillfactor)
        return writes(count, fillfactor)

    def sizes(self, count: int) -> dict[str, Any]:
        """Insert so many sent messages as the log has them, and return what they take."""
        from benchmarks.backlogs import rows

        rows.settled(count, attempts=True)
        rows.contents(min(count, 10_000))
        return rows.sizes()


def _mail_backend(get_connection: Callable[[], Any]) -> Any:
    from django.core import mail

    return mail.mailers["default"] if hasattr(mail, "mailers") else get_connection()


def _cpu(backend: int) -> float:
    from django.db import connection

    name = str(connection.settings_dict["NAME"])
    return cpu_seconds() + (cpu_of(backend, named=name) or 0.0)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _expect(wanted: int, got: int) -> None:
    if wanted != got:
        raise RuntimeError(f"{got} instead of {wanted}")


def main() -> None:
    """Do what the input says until it ends."""
    django.setup()
    answers, sys.stdout = sys.stdout, sys.stderr
    process = Process()
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(process, name)(**arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
