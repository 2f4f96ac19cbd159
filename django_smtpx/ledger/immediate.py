"""Rows of ``"now"`` mode: stored already claimed and marked, so that no worker ever takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import F

from django_smtpx.ledger.claiming import rows_of
from django_smtpx.ledger.clock import Lease
from django_smtpx.ledger.rows import Row, atomically, database
from django_smtpx.ledger.storing import store
from django_smtpx.models import Delivery, Message

if TYPE_CHECKING:
    from django_smtpx.compose import Composed
    from django_smtpx.ledger.storing import Stored

Status = Delivery.Status
Lane = Delivery.Lane

_MAY_GO_AGAIN = (Status.FAILED, Status.CANCELLED, Status.SUPPRESSED)


def store_now(
    mailer: str, mail: Composed, lease_seconds: float
) -> tuple[Message, Lease | None, list[Row]]:
    """Store one mail as being sent by this process, under a lease and marked.

    If the process dies, the sweep books it as unknown: it is never sent again
    behind the caller's back. The lease is None where the mail's idempotency
    key belongs to an earlier message.
    """
    using = database()
    lease = Lease.begin(lease_seconds, using)

    def write() -> Stored:
        (stored,) = store([(mailer, mail)], mode=Message.Mode.NOW)
        if stored.new:
            _take(lease, stored.message, using)
        return stored

    stored = atomically(write, using)
    if not stored.new:
        return stored.message, None, []
    return stored.message, lease, rows_of(lease)


def resumable(message: Message) -> tuple[str, ...]:
    """Return the recipients that :func:`resume_now` would claim, and write nothing."""
    rows = Delivery.objects.using(database()).filter(message=message)
    if rows.exclude(status__in=_MAY_GO_AGAIN).exists():
        return ()
    return tuple(rows.order_by("pk").values_list("recipient", flat=True))


def resume_now(message: Message, lease_seconds: float) -> tuple[Lease, list[Row]]:
    """Claim for this process what of an earlier message failed or was suppressed: its key is used
    once more.

    No row comes back when nothing of it failed, or some of it was sent or may
    have been. From now on it is of ``"now"`` mode, whatever it was stored for.
    """
    using = database()
    lease = Lease.begin(lease_seconds, using)

    def take() -> int:
        row = Message.objects.using(using).filter(pk=message.pk)
        # Its write comes first: on SQLite who has read may find that he cannot write any more.
        row.update(mode=F("mode"))
        if not resumable(message):
            return 0
        row.update(settled_at=None, mode=Message.Mode.NOW)
        return _take(lease, message, using)

    return lease, rows_of(lease) if atomically(take, using) else []


def _take(lease: Lease, message: Message, using: str) -> int:
    rows = Delivery.objects.using(using).filter(message=message)
    return rows.filter(status__in=(Status.QUEUED, *_MAY_GO_AGAIN)).update(
        status=Status.SENDING,
        lane=Lane.OUT,
        next_attempt_at=None,
        settled_at=None,
        lease_token=lease.token,
        lease_expires_at=lease.renewed_until(),
        marked=True,
    )
