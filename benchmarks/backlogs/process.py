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

_DELIVERIES = "delivery/"
_MESSAGES = "message/"
_ROUTES = "route/"
LISTS = {
    "unfiltered": _DELIVERIES,
    "last page": f"{_DELIVERIES}?p={{last}}",
    "behind the last page": f"{_DELIVERIES}?before={{old_delivery}}",
    "by status": f"{_DELIVERIES}?status__exact=failed",
    "by mailer": f"{_DELIVERIES}?mailer=default",
    "by category": f"{_DELIVERIES}?category__exact=mailbox_unknown",
    "by what it waits for": f"{_DELIVERIES}?wait=scheduled",
    "by domain": f"{_DELIVERIES}?domain=example.com",
    "by hour": f"{_DELIVERIES}?when=hour",
    "by day": f"{_DELIVERIES}?when={{day}}",
    "by recipient": f"{_DELIVERIES}?o=1",
    "search recipient": f"{_DELIVERIES}?q={{recipient}}",
    "search Message-ID": f"{_DELIVERIES}?q={{message_id}}",
    "search UUID": f"{_DELIVERIES}?q={{uuid}}",
    "search queue id": f"{_DELIVERIES}?q=4D0F41A2B3C",
    "search nothing": f"{_DELIVERIES}?q=there-is-none",
    "messages": _MESSAGES,
    "messages, last page": f"{_MESSAGES}?p={{last_of_messages}}",
    "messages by status": f"{_MESSAGES}?status=failed",
    "messages by day": f"{_MESSAGES}?when={{day}}",
    "messages, search nothing": f"{_MESSAGES}?q=there-is-none",
    "routes": _ROUTES,
    "routes, last page": f"{_ROUTES}?p={{last_of_routes}}",
    "routes that rest": f"{_ROUTES}?state__exact=paused",
    "routes by category": f"{_ROUTES}?category__exact=unreachable",
    "routes slowed down": f"{_ROUTES}?pace=slow",
    "routes by mailer": f"{_ROUTES}?mailer=other",
    "routes, search domain": f"{_ROUTES}?q={{domain}}",
    "routes, search nothing": f"{_ROUTES}?q=there-is-none",
    "a delivery": "delivery/{old_delivery}/change/",
    "a message": "message/{old_message}/change/",
}
"""Pages of the admin that are looked at, of what :meth:`Process.look` fills in."""
OVERVIEW = "overview"


class Process:
    """What it can be told to do."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._asked_for: dict[str, Any] = {}

    def migrate(self) -> None:
        """Make the tables, and somebody who looks at the lists."""
        from django.contrib.auth.models import User
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        User.objects.create_superuser("staff", password="x")

    def fill(self, kind: str, count: int) -> None:
        """Insert rows."""
        from benchmarks.backlogs import rows

        fill = {
            **rows.KINDS,
            "mixed": rows.mixed,
            "coming due": rows.coming_due,
            "month": rows.month,
            "routes": rows.routes,
        }
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

    def tally(self) -> dict[str, float]:
        """Count all attempts, as the sweep does a part at a time; return what one of them takes."""
        from django_smtpx import ledger
        from django_smtpx.ledger.tallies import BEHIND

        at = ledger.now()
        ledger.tally(at)
        counts: list[int] = []

        def count() -> None:
            while done := ledger.tally(at + BEHIND):
                counts.append(done)

        seconds = _seconds(count)
        return {"us_per_attempt": seconds / max(sum(counts), 1) * 1e6}

    def look(self, which: str) -> dict[str, float]:
        """Look at a page of the admin, of what is in the middle of all that is there."""
        if self._client is None:
            from django.contrib.auth.models import User
            from django.test import Client

            self._client = Client()
            self._client.force_login(User.objects.get())
            self._asked_for = _middle()
            self.look("unfiltered")
        client = self._client
        page = "" if which == OVERVIEW else LISTS[which].format(**self._asked_for)

        def get() -> None:
            response = client.get(f"/admin/django_smtpx/{page}")
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


def _middle() -> dict[str, Any]:
    """Return what can be asked about a row in the middle, and the last page that can be turned to.

    The last page of a list has as many rows before it, or as many as there are.
    """
    from django_smtpx.models import Delivery, Message, Route

    rows = Delivery.objects.select_related("message")
    oldest, newest = rows.order_by("pk")[0], rows.order_by("-pk")[0]
    row = rows.filter(pk__gte=(oldest.pk + newest.pk) // 2).order_by("pk")[0]
    return {
        "last": _last_page(Delivery),
        "last_of_messages": _last_page(Message),
        "last_of_routes": _last_page(Route),
        "old_delivery": row.pk,
        "old_message": row.message_id,
        "recipient": row.recipient,
        "message_id": row.message.message_id,
        "uuid": row.message.uuid,
        "day": row.message.created_at.date().isoformat(),
        "domain": Route.objects.order_by("-pk").values_list("domain", flat=True).first(),
    }


def _last_page(model: Any) -> int:
    """Return the last page that can be turned to of a list of all rows, 100 on each."""
    from django_smtpx.admin.counting import COUNTED

    return max(model.objects.order_by("-pk")[:COUNTED].count() // 100, 1)


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
