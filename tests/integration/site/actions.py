"""What the tests have the site do, each in a process of its own; arguments and answers are JSON."""

from __future__ import annotations

import base64
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage, get_connection, send_mail
from django.db import connection, transaction
from django.db.models import Count

from django_smtpx.models import Attempt, Delivery, Message

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


def send_in_transaction(*, commit: bool, subject: str) -> dict[str, Any]:
    """Send one mail inside atomic() and then commit, or roll back; return the rows inside and after."""

    class RollBack(Exception):
        pass

    inside = 0
    try:
        with transaction.atomic():
            send_mail(subject, "Body.\n", "from@example.com", ["to@example.net"])
            inside = Message.objects.filter(subject=subject).count()
            if not commit:
                raise RollBack
    except RollBack:
        pass
    return {"inside": inside, "after": Message.objects.filter(subject=subject).count()}


def wait_settled(seconds: float, every: float = 0.1) -> dict[str, int]:
    """Wait until no delivery is waiting, at most ``seconds``; return the statuses' counts."""
    _until(lambda: not Delivery.objects.filter(status__in=WAITING).exists(), seconds, every)
    return statuses()


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
        "id", "recipient", "status", "category", "phase", "code", "reply", "message__message_id"
    )
    return [{**row, "outcomes": outcomes.get(row["id"], [])} for row in rows]


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
