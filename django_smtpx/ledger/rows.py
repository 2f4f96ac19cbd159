"""What the ledger hands out and takes back, and how its statements are run."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.db import OperationalError, connections, router, transaction

from django_smtpx.models import Message
from django_smtpx.retry import History
from django_smtpx.smtp.envelope import NO_PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet

    from django_smtpx.retry import Decision
    from django_smtpx.smtp import Result

T = TypeVar("T")

_BATCH = 1000
_BUSY_FOR = 30.0
_BUSY_PAUSE = 0.05
_BUSY_WORDS = ("locked", "deadlock", "lock wait timeout", "could not serialize")


class Row(NamedTuple):
    """One claimed delivery: what is needed to send it and to decide about it.

    ``recipients`` is how many deliveries its message has, this one among them; 0 where
    nobody has counted. ``traceparent`` is the context of the span it was stored in, or "".
    """

    pk: int
    message: int
    recipient: str
    uuid: UUID
    envelope_sender: str
    require_tls: bool
    size: int
    mailer: str
    mode: str
    attempts: int
    step: int
    unknowns: int
    leases_lost: int
    marked: bool
    age_from: datetime
    expires_at: datetime | None
    domain: str
    recipients: int
    traceparent: str = ""

    @property
    def history(self) -> History:
        """What ``retry`` decides by."""
        return History(
            step=self.step,
            unknowns=self.unknowns,
            age_from=self.age_from,
            expires_at=self.expires_at,
        )

    def tried_once_more(self) -> Row:
        """Return the row after an attempt of it was noted that changed nothing else."""
        return self._replace(attempts=self.attempts + 1)


ROW_FIELDS = (
    "pk",
    "message_id",
    "recipient",
    "message__uuid",
    "message__envelope_sender",
    "message__require_tls",
    "message__size",
    "mailer",
    "message__mode",
    "attempt_count",
    "step",
    "unknowns",
    "leases_lost",
    "marked",
    "age_from",
    "expires_at",
    "domain",
    "message__recipient_count",
    "message__traceparent",
)


class Booking(NamedTuple):
    """An outcome to write down: of which row, what happened, and what was decided.

    ``duration`` is in seconds. ``park`` says that the row rests with its
    mailer, so that the time until ``decision.next_attempt_at`` does not count
    towards its age; with ``ages`` it does, and only the end of the rest makes it
    ready before its time. ``suppress`` says that the recipient goes on the
    suppression list. ``phases`` are the seconds that each phase was waited for.
    """

    row: Row
    result: Result
    decision: Decision
    started_at: datetime
    duration: float = 0.0
    transcript: str = ""
    park: bool = False
    ages: bool = False
    suppress: bool = False
    phases: Mapping[str, float] = NO_PHASES


def database() -> str:
    """Return the alias of the database that the outbox is written to."""
    return router.db_for_write(Message)


def storable(text: str) -> str:
    """Return ``text`` as every database can hold it: no NUL, and nothing that is not Unicode."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def patiently(work: Callable[[], T], using: str) -> T:
    """Run ``work``, and again while the database only says that it is busy, for 30 s at most.

    Inside a caller's transaction it runs once: what failed there cannot be repeated alone.
    """
    if connections[using].in_atomic_block:
        return work()
    give_up = time.monotonic() + _BUSY_FOR
    pause = _BUSY_PAUSE
    while True:
        try:
            return work()
        except OperationalError as error:
            if time.monotonic() > give_up or not _is_busy(error):
                raise
        time.sleep(pause * (0.5 + random.random()))  # noqa: S311 (spreads writers, guards nothing)
        pause = min(pause * 2, 1.0)


def in_callers_transaction(using: str) -> bool:
    """Say whether a transaction is open that is not only the one that Django puts around a test."""
    connection = connections[using]
    blocks = connection.atomic_blocks
    return connection.in_atomic_block and not all(
        getattr(each, "_from_testcase", False) for each in blocks
    )


def atomically(work: Callable[[], T], using: str) -> T:
    """Run ``work`` in a transaction of its own, patiently; it must begin with its write."""

    def transact() -> T:
        with transaction.atomic(using=using):
            return work()

    return patiently(transact, using)


def update_some(rows: QuerySet[Any], limit: int, **values: Any) -> int:
    """Update at most ``limit`` of ``rows``, in one statement where there are no row locks.

    Elsewhere their keys are read first. PostgreSQL could do without, but it plans by statistics
    that do not know yet of what has just been put away, or woken, and reads the subquery anew
    for each row then. SQLite is told of the keys alone: it would go through all of ``rows`` to see
    which of them are among the chosen.
    """
    using = rows.db
    features = connections[using].features
    if features.allow_sliced_subqueries_with_in and not features.has_select_for_update:
        ours = rows.model._default_manager.using(using)
        still = ours.filter(pk__in=rows.values("pk")[:limit])
    else:
        chosen = list(rows.values_list("pk", flat=True)[:limit])
        still = rows.order_by().filter(pk__in=chosen)
    count: int = patiently(lambda: still.update(**values), using)
    return count


def update_all(rows: QuerySet[Any], **values: Any) -> int:
    """Update ``rows`` in bounded batches, and count them; what is written must take them out."""
    total = 0
    while count := update_some(rows, _BATCH, **values):
        total += count
    return total


def _is_busy(error: OperationalError) -> bool:
    text = str(error).lower()
    return any(word in text for word in _BUSY_WORDS)
