"""The rows against what the server really took."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, Q

from django_smtpx.models import Attempt, Delivery, Message

if TYPE_CHECKING:
    from django_smtpx.testing import ScriptedServer

WAITING = (Delivery.Status.QUEUED, Delivery.Status.SENDING, Delivery.Status.DEFERRED)


def counts() -> Counter[str]:
    """Count the deliveries by status."""
    rows = Delivery.objects.order_by().values_list("status").annotate(Count("id"))
    return Counter(dict(rows))


def waiting(by_status: Counter[str]) -> int:
    """Return how many deliveries are not settled."""
    return sum(by_status[status] for status in WAITING)


def outcomes() -> list[tuple[str, str, int, int]]:
    """Return status, category, deliveries and attempts, the most frequent first."""
    rows = Delivery.objects.order_by().values("status", "category")
    rows = rows.annotate(deliveries=Count("id", distinct=True), tries=Count("attempts"))
    return sorted(
        ((r["status"], r["category"], r["deliveries"], r["tries"]) for r in rows),
        key=lambda row: -row[2],
    )


def tries() -> list[tuple[str, str, int]]:
    """Return outcome, category and count of the attempts that did not succeed."""
    rows = Attempt.objects.order_by().values_list("outcome", "category").annotate(Count("id"))
    return sorted((row for row in rows if row[0] != "sent"), key=lambda row: -row[2])


@dataclass(frozen=True)
class Audit:
    """What was found; ``faults`` is what must not be."""

    messages: int
    recipients: int
    taken: int
    taken_again: int
    held_back: int
    faults: tuple[str, ...]


def audit(server: ScriptedServer) -> Audit:
    """Compare each delivery with the copies of it that the server took, byte for byte."""
    copies: Counter[tuple[str, str]] = Counter()
    contents = {m.message_id.strip("<>"): m.content for m in Message.objects.select_related("body")}
    faults = []
    for received in server.messages:
        ident = received.parsed()["Message-ID"].strip("<>")
        copies.update((ident, recipient) for recipient in received.recipients)
        if contents.get(ident) != received.content:
            faults.append(f"altered on its way: {ident}")
    taken, again, held = sum(copies.values()), 0, 0
    unknown = Count("attempts", filter=Q(attempts__outcome="unknown"))
    rows = Delivery.objects.select_related("message").annotate(unknown_tries=unknown)
    for row in rows:
        got = copies.pop((row.message.message_id.strip("<>"), row.recipient), 0)
        least, most = _expected(row.status, row.unknown_tries)
        if not least <= got <= most:
            faults.append(f"{row.recipient}: {row.status}, but the server took {got} of it")
        again += max(0, got - 1)
        held += row.status == Delivery.Status.UNKNOWN
    faults += [f"nobody sent this: {ident} to {recipient}" for ident, recipient in copies]
    return Audit(len(contents), len(rows), taken, again, held, tuple(faults))


def _expected(status: str, unknown_tries: int) -> tuple[int, int]:
    """Return how many copies there may be: each unknown attempt may have left one."""
    return (1, 1 + unknown_tries) if status == Delivery.Status.SENT else (0, unknown_tries)
