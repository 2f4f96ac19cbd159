"""What the tests have the site do, each in a process of its own; arguments and answers are JSON."""

from __future__ import annotations

import base64
import socket
import time
from collections import Counter
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage, get_connection, send_mail
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import Count
from django.utils import timezone

from django_smtpx import ledger, tasks
from django_smtpx.models import Attempt, Delivery, Message, Route

if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = (Delivery.Status.QUEUED, Delivery.Status.SENDING, Delivery.Status.DEFERRED)


def send_corpus(count: int) -> dict[str, Any]:
    """Send ``count`` varied messages; return how many, and how many recipients they have."""
    from tests.integration.corpus import messages

    sent = recipients = 0
    for message in messages(count):
        assert message.send() == 1
        sent += 1
        recipients += message.smtpx.deliveries.count()
    return {"messages": sent, "recipients": recipients}


def send_plain(count: int, recipients: int = 1) -> dict[str, Any]:
    """Send ``count`` small messages; return their number and the longest a send() took (s)."""
    longest = 0.0
    for number in range(count):
        message = EmailMessage(
            f"Message {number}",
            f"The body of {number}.\n",
            "from@example.com",
            [f"to-{number}-{each}@example.net" for each in range(recipients)],
        )
        began = time.monotonic()
        assert message.send() == 1
        longest = max(longest, time.monotonic() - began)
    return {"messages": count, "longest": longest}


def send_at(after: float, subject: str) -> str:
    """Send a mail for ``after`` seconds from now, by the database's clock; return when that is."""
    at = ledger.now() + timedelta(seconds=after)
    message = EmailMessage(subject, "Body.\n", "from@example.com", ["to@example.net"])
    message.send_at = at  # type: ignore[attr-defined]
    assert message.send() == 1
    return at.isoformat()


def attempted_at() -> dict[str, str]:
    """Return when each mail's latest attempt began, by its subject."""
    rows = Attempt.objects.order_by("pk").values_list("delivery__message__subject", "started_at")
    return {subject: at.isoformat() for subject, at in rows}


def clocks() -> dict[str, Any]:
    """Take a lease of two seconds here, and say what came of it, and what time it was thought to be.

    ``promoted`` counts what the sweep made ready a second before its time, and at it.
    """
    mail = EmailMessage("Clock", "Body.\n", "from@example.com", ["to@example.net"])
    mail.send()
    lease, rows = ledger.claim("default", 1, 2.0)
    early = ledger.reclaim(ledger.now())
    stolen = len(ledger.claim("default", 1, 2.0)[1])
    # It was written a moment after the clock was read.
    _until(lambda: ledger.now() > lease.read_at + timedelta(seconds=2.5), 10, every=0.05)
    late = ledger.reclaim(ledger.now())
    at = ledger.now() + timedelta(hours=1)
    mail = EmailMessage("Later", "Body.\n", "from@example.com", ["to@example.net"])
    mail.send_at = at  # type: ignore[attr-defined]
    mail.send()
    second = timedelta(seconds=1)
    promoted = [ledger.promote(at - second), ledger.promote(at + second)]
    settled = ledger.now()
    lease, rows = ledger.claim("default", 1, 60.0)
    ledger.release(lease, rows)
    Message.objects.update(settled_at=settled)
    kept = ledger.purge(settled + second, second * 2, second * 2)[1]
    purged = ledger.purge(settled + second, second / 2, second / 2)[1]
    return {
        "off": abs((ledger.now() - timezone.now()).total_seconds()),
        "claimed": len(rows),
        "early": early,
        "stolen": stolen,
        "late": late,
        "promoted": promoted,
        "purged": [kept, purged],
    }


def session_time_zone() -> str:
    """Return the time zone of the database's session."""
    asked = {"mysql": "SELECT @@session.time_zone", "postgresql": "SHOW timezone"}
    with connection.cursor() as cursor:
        cursor.execute(asked[connection.vendor])
        return str(cursor.fetchone()[0])


def send_past_broker(count: int, port: int) -> dict[str, Any]:
    """Send ``count`` small messages; return how long that took (s), and how often something in this
    process has tried to connect to ``port`` meanwhile.
    """
    tries = []
    real = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[1] == port:
            tries.append(address)
        real(sock, address)

    socket.socket.connect = connect  # type: ignore[assignment,method-assign]
    began = time.monotonic()
    longest = send_plain(count)["longest"]
    return {"took": time.monotonic() - began, "longest": longest, "tries": len(tries)}


def send_many(count: int) -> dict[str, Any]:
    """Send ``count`` small messages through one ``send_messages`` call, in one transaction."""
    batch = [
        EmailMessage(
            f"Message {n}", f"The body of {n}.\n", "from@example.com", [f"to-{n}@example.net"]
        )
        for n in range(count)
    ]
    with transaction.atomic():
        stored = get_connection().send_messages(batch)
    return {"messages": stored}


def send_singly(count: int) -> dict[str, Any]:
    """Send ``count`` small messages, each by a call of its own, and say what was prepared for it."""
    for n in range(count):
        message = EmailMessage(
            f"Single {n}", f"The body of {n}.\n", "from@example.com", [f"single-{n}@example.net"]
        )
        message.send()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return {"prepared": [statement.split()[:2] for (statement,) in cursor.fetchall()]}


def send_by(mailer: str, count: int) -> dict[str, Any]:
    """Send ``count`` small messages by one of several mailers, in one transaction."""
    batch = [
        EmailMessage(
            f"Message {n}", f"The body of {n}.\n", "from@example.com", [f"to-{n}@example.net"]
        )
        for n in range(count)
    ]
    with transaction.atomic():
        stored = get_connection(mailer=mailer).send_messages(batch)  # type: ignore[call-overload]
    return {"messages": stored}


def send_steadily(name: str, count: int, pause: float, file: str) -> dict[str, int]:
    """Send ``count`` small messages, ``pause`` seconds apart, every other one in a transaction.

    Adds a line to ``file`` for each: its Message-ID, TAB, "stored" or the database's error that
    send() raised, after which it connects anew, as Django does for the next request.
    """
    said: Counter[str] = Counter()
    with Path(file).open("a", buffering=1) as lines:
        for number in range(count):
            key = f"<{name}.{number}@example.net>"
            message = EmailMessage(
                "Steadily", "Body.\n", "from@example.com", [f"to-{name}-{number}@example.net"]
            )
            message.extra_headers["Message-ID"] = key
            outcome = _sent_or_refused(message, in_transaction=number % 2 == 1)
            said[outcome] += 1
            lines.write(f"{key}\t{outcome}\n")
            time.sleep(pause)
    return dict(said)


def _sent_or_refused(message: EmailMessage, *, in_transaction: bool) -> str:
    try:
        with transaction.atomic() if in_transaction else nullcontext():
            assert message.send() == 1
    except DatabaseError as error:
        connection.close()
        return type(error).__name__
    return "stored"


def send_in_transaction(*, commit: bool, subject: str, using: str = "default") -> dict[str, Any]:
    """Send one mail inside atomic() and then commit, or roll back; return the rows inside and after."""

    class RollBack(Exception):
        pass

    inside = 0
    try:
        with transaction.atomic(using=using):
            send_mail(subject, "Body.\n", "from@example.com", ["to@example.net"])
            inside = Message.objects.filter(subject=subject).count()
            if not commit:
                raise RollBack
    except RollBack:
        pass
    return {"inside": inside, "after": Message.objects.filter(subject=subject).count()}


def wait_settled(seconds: float, every: float = 0.1, *, hurry: bool = False) -> dict[str, int]:
    """Wait until no delivery is waiting, at most ``seconds``; return the statuses' counts.

    ``hurry`` lets what rests, and what is due later, be due at once.
    """

    def done() -> bool:
        if hurry:
            _let_time_pass()
        return not Delivery.objects.filter(status__in=WAITING).exists()

    _until(done, seconds, every=0.5 if hurry else every)
    return statuses()


def _let_time_pass() -> None:
    now = timezone.now()
    Route.objects.filter(paused_until__gt=now).update(paused_until=now)
    Delivery.objects.filter(status__in=WAITING, next_attempt_at__gt=now).update(next_attempt_at=now)


def wait_attempted(count: int, seconds: float) -> dict[str, int]:
    """Wait until ``count`` deliveries are settled; return the statuses' counts."""
    _until(
        lambda: Delivery.objects.exclude(status__in=WAITING).count() >= count, seconds, every=0.02
    )
    return statuses()


def _until(done: Callable[[], bool], seconds: float, every: float) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(every)


def statuses() -> dict[str, int]:
    """Return how many deliveries have each status."""
    rows = Delivery.objects.order_by().values_list("status").annotate(Count("id"))
    return dict(rows)


def stored() -> list[dict[str, str]]:
    """Return every message's Message-ID and content (base64)."""
    return [
        {"message_id": m.message_id, "content": base64.b64encode(m.content or b"").decode()}
        for m in Message.objects.select_related("body")
    ]


def deliveries() -> list[dict[str, Any]]:
    """Return every delivery with the outcomes of its attempts in order."""
    outcomes: dict[int, list[str]] = {}
    for pk, outcome in Attempt.objects.order_by("number").values_list("delivery_id", "outcome"):
        outcomes.setdefault(pk, []).append(outcome)
    rows = Delivery.objects.values(
        "id",
        "recipient",
        "status",
        "category",
        "attempt_count",
        "phase",
        "code",
        "reply",
        "message__message_id",
    )
    return [{**row, "outcomes": outcomes.get(row["id"], [])} for row in rows]


def send_marked(count: int) -> dict[str, Any]:
    """Send mails of words that nobody may see."""
    from tests.integration.markers import mail

    return {"messages": sum(mail().send() for _ in range(count))}


def send_and_hint(count: int, hints: int) -> dict[str, Any]:
    """Send ``count`` small messages, and publish so many hints, as if they had come one by one."""
    sent = send_many(count)
    for _ in range(hints):
        tasks.drain.apply_async(("default",), expires=60)
    return sent


def send_in_transactions(plans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send one mail in each of several transactions, one after the other."""
    return [send_in_transaction(**plan) for plan in plans]


def rows_per_table() -> dict[str, int]:
    """Return how many rows the outbox has."""
    return dict(
        Counter(
            message=Message.objects.count(),
            delivery=Delivery.objects.count(),
            attempt=Attempt.objects.count(),
        )
    )


def vendor() -> str:
    """Return which database this is."""
    return connection.vendor
