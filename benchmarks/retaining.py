"""A process of a site whose outbox is purged: ``python -m benchmarks.retaining``.

It fills the outbox, purges it, or delivers in it meanwhile, and says how that went.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.large import growth_of
from benchmarks.outboxes import create_tables, set_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTENT = 3_000
"""Bytes of each content."""
TOUR = 20
"""Messages that are stored, claimed, marked and settled in one go."""
DELIVERING = "delivering"
"""What is said as soon as what is delivered is measured."""


def fill(messages: int) -> dict[str, float]:
    """Make so many messages that were sent 100 days ago, by copying the rows of one."""
    from django.db import connection
    from django.utils import timezone

    from django_smtpx.models import Attempt, Content, Delivery, Message

    create_tables()
    _tour(1)
    Message.objects.update(created_at=timezone.now() - timedelta(days=100))
    moment = "t.created_at + g * interval '1 second' / 10"
    for model, own in (
        (
            Message,
            {
                "id": "g",
                "uuid": "gen_random_uuid()",
                "message_id": "'<' || g || '@example.com>'",
                "created_at": moment,
                "settled_at": moment,
            },
        ),
        (Content, {"message_id": "g"}),
        (Delivery, {"id": "g", "message_id": "g"}),
        (Attempt, {"id": "g", "delivery_id": "g"}),
    ):
        table = model._meta.db_table
        columns = [field.column for field in model._meta.concrete_fields]
        values = ", ".join(own.get(name, f"t.{name}") for name in columns)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} "
                f"FROM {table} t, generate_series(2, {messages}) g"
            )
            if "id" in own:
                cursor.execute(f"ALTER TABLE {table} ALTER id RESTART WITH {messages + 1}")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {Message._meta.db_table} SET settled_at = created_at WHERE id = 1")
        cursor.execute("ANALYZE")
    return {"messages": Message.objects.count()}


def purge(messages: int) -> dict[str, float]:
    """Purge contents, and then the log, and say how fast, and how it ended beside its beginning."""
    from django_smtpx import ledger

    ledger.purge(ledger.now(), timedelta(days=300), timedelta(days=300))
    at = ledger.now()
    figures: dict[str, float] = {}

    def run() -> None:
        for name, log_age in (("contents", 300), ("messages", 90)):
            ticks: list[float] = []
            done = ledger.purge(
                at,
                timedelta(days=7),
                timedelta(days=log_age),
                lambda ticks=ticks: bool(ticks.append(time.perf_counter())),  # type: ignore[misc]
            )
            count = done.contents if name == "contents" else done.messages
            if count < messages:
                sys.exit(f"{count} {name} of {messages} were purged")
            tenth = max(1, len(ticks) // 10)
            figures[f"{name}_per_second"] = count / (ticks[-1] - ticks[0])
            figures[f"{name}_last_to_first"] = (ticks[-1] - ticks[-1 - tenth]) / (
                ticks[tenth] - ticks[0]
            )

    return {"growth": growth_of(run), **figures}


def deliver(messages: int) -> dict[str, float]:
    """Store, claim, mark and settle until the input ends; say how long a statement took at most."""
    from django.db import connection

    waits: list[float] = []

    def timed(execute: Callable[..., Any], *args: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(*args)
        finally:
            waits.append(time.perf_counter() - began)

    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    _tour(TOUR)
    print(DELIVERING, flush=True)
    tours = 0
    with connection.execute_wrapper(timed):
        while not (tours and over.is_set()):
            _tour(TOUR)
            tours += 1
    waits.sort()
    return {
        "longest_ms": waits[-1] * 1000,
        "p99_ms": waits[len(waits) * 99 // 100] * 1000,
        "statements": len(waits),
        "messages": tours * TOUR,
    }


def _tour(messages: int) -> None:
    """Let messages be stored, claimed, marked and settled, as a drain does it."""
    from django.utils import timezone

    from django_smtpx import ledger
    from django_smtpx.ledger import Booking
    from django_smtpx.retry import decide_now
    from django_smtpx.smtp import Result

    ledger.store([("default", mail) for mail in _mails(messages)])
    lease, rows = ledger.claim("default", messages, 60.0)
    ledger.contents(rows)
    ledger.mark(lease, rows)
    now = timezone.now()
    bookings = []
    for row in rows:
        result = Result(row.recipient, "sent", "ok", "none", "eod", "DATA", 250, "2.0.0", "Ok")
        decision = decide_now(result, row.history)
        bookings.append(Booking(row=row, result=result, decision=decision, started_at=now))
    ledger.settle(lease, bookings)


def _mails(count: int) -> Iterator[Any]:
    import base64
    import os

    from django_smtpx.compose import Composed

    for _ in range(count):
        body = base64.encodebytes(os.urandom(CONTENT * 3 // 4)).replace(b"\n", b"\r\n")
        yield Composed(
            sender="sender@example.com",
            recipients=("recipient@example.net",),
            content=b"Subject: A mail\r\n\r\n" + body,
            message_id=f"<{os.urandom(8).hex()}@example.com>",
            from_header="sender@example.com",
            subject="A mail",
        )


def wait(seconds: int) -> dict[str, float]:
    """Do nothing for so many seconds."""
    time.sleep(seconds)
    return {}


WORK = {"fill": fill, "purge": purge, "deliver": deliver, "wait": wait}


def main() -> None:
    """Do one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("work", choices=WORK)
    parser.add_argument("database", type=json.loads)
    parser.add_argument("--messages", type=int, default=0)
    options = parser.parse_args()
    set_up(options.database)
    print(json.dumps(WORK[options.work](options.messages)))


if __name__ == "__main__":
    main()
