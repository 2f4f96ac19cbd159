"""What a person can ask of deliveries, and what stands against it: values and pure calls."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import Q, TextChoices
from django.utils.translation import gettext_lazy as _

from django_smtpx.models import Category, Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Status = Delivery.Status


class Step(TextChoices):
    """What a person can do."""

    RETRY = "retry", _("send again")
    ARRIVED = "arrived", _("settle as arrived")
    CANCEL = "cancel", _("cancel")


class Refusal(TextChoices):
    """Why a delivery is left as it is."""

    SENT = "sent", _("sent already")
    SENDING = "sending", _("being sent at this moment")
    SUPPRESSED = "suppressed", _("suppressed")
    DOUBTFUL = "doubtful", _("of unknown outcome: the server may have taken it")
    SURE = "sure", _("not in doubt")
    ENDED = "ended", _("ended already")
    NAMELESS = "nameless", _("from a connection without a name, which no worker can look up")
    PURGED = "purged", _("without its content, which has been purged")
    EXPIRED = "expired", _("past its expires_at")
    SCHEDULED = "scheduled", _("scheduled for later by its sender")
    DUE = "due", _("due already, and not tried yet")
    OVERTAKEN = "overtaken", _("changed by somebody else in the meantime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Deliveries by what they have in common; None stands for anything.

    ``ids`` are primary keys. ``recipient`` and ``domain`` are compared without
    regard to case. ``seen`` are the statuses that they were seen in: what is in another one by now
    is left as it is.
    """

    ids: tuple[int, ...] | None = None
    mailer: str | None = None
    domain: str | None = None
    recipient: str | None = None
    category: str | None = None
    status: str | None = None
    seen: tuple[str, ...] | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing at all is asked of a delivery."""
        return all(getattr(self, one.name) is None for one in fields(self) if one.name != "seen")

    def condition(self) -> Q:
        """Return what the rows must meet, apart from ``ids``."""
        lookups = {
            "mailer": self.mailer,
            "domain": None if self.domain is None else self.domain.lower(),
            "recipient__iexact": self.recipient,
            "category": self.category,
            "status": self.status,
        }
        return Q(**{name: value for name, value in lookups.items() if value is not None})


class Group(NamedTuple):
    """What deliveries are counted by; status and category as they were before."""

    mailer: str
    domain: str
    category: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """What came of it, or (by :func:`preview`) would.

    ``deliveries`` are the keys of those that were written, ``messages`` those
    of their messages, ``mailers`` the names of their mailers. ``scheduled`` of
    them go at their ``send_at`` and not now. ``groups`` counts them, and
    ``refused`` those that were left as they are. ``before`` and ``after`` count
    all that were looked at, by their status.
    """

    deliveries: tuple[int, ...] = ()
    messages: tuple[int, ...] = ()
    mailers: tuple[str, ...] = ()
    scheduled: int = 0
    groups: Mapping[Group, int] = field(default_factory=dict)
    refused: Mapping[Refusal, int] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many deliveries were written."""
        return len(self.deliveries)

    @property
    def selected(self) -> int:
        """How many deliveries were looked at."""
        return self.count + sum(self.refused.values())


class Facts(NamedTuple):
    """What is judged by, of one row."""

    pk: int
    message: int
    mailer: str
    domain: str
    category: str
    status: str
    lane: int
    send_at: datetime | None
    expires_at: datetime | None
    content: int | None
    attempt_count: int

    def after(self, step: Step) -> Status:
        """Return the status that ``step`` gives it."""
        if step != Step.RETRY:
            return Status.SENT if step == Step.ARRIVED else Status.CANCELLED
        return Status.DEFERRED if self.attempt_count else Status.QUEUED

    @property
    def group(self) -> Group:
        """What the row is counted by."""
        return Group(self.mailer, self.domain, self.category, self.status)

    @property
    def in_doubt(self) -> bool:
        """Whether the server may have taken it, and nobody has said so yet."""
        waits = self.status == Status.DEFERRED and self.category == Category.UNKNOWN_OUTCOME
        return waits or self.status == Status.UNKNOWN

    def is_scheduled(self, at: datetime) -> bool:
        """Say whether its sender wants it to go later than ``at``."""
        return self.send_at is not None and self.send_at > at


_NEVER_AGAIN = {
    Status.SENT: Refusal.SENT,
    Status.SENDING: Refusal.SENDING,
    Status.SUPPRESSED: Refusal.SUPPRESSED,
    Status.UNKNOWN: Refusal.DOUBTFUL,
}
_NOT_TO_BE_CANCELLED = {
    **_NEVER_AGAIN,
    Status.FAILED: Refusal.ENDED,
    Status.CANCELLED: Refusal.ENDED,
}
_NOT_TO_BE_SETTLED = {
    Status.SENT: Refusal.SENT,
    Status.SENDING: Refusal.SENDING,
}


def refusal(step: Step, row: Facts, at: datetime, *, unknown_too: bool = False) -> Refusal | None:
    """Return why ``step`` leaves a row as it is, or None where it does not; pure."""
    status = Status(row.status)
    if step == Step.CANCEL:
        return _NOT_TO_BE_CANCELLED.get(status)
    if step == Step.ARRIVED:
        return None if row.in_doubt else _NOT_TO_BE_SETTLED.get(status, Refusal.SURE)
    if status in _NEVER_AGAIN and not (unknown_too and status == Status.UNKNOWN):
        return _NEVER_AGAIN[status]
    return _against_content(row, at) or _against_time(row, at)


def _against_content(row: Facts, at: datetime) -> Refusal | None:
    if not row.mailer:
        return Refusal.NAMELESS
    if row.content is None:
        return Refusal.PURGED
    if row.expires_at is not None and row.expires_at <= at:
        return Refusal.EXPIRED
    return None


def _against_time(row: Facts, at: datetime) -> Refusal | None:
    if row.status != Status.QUEUED:
        return None
    if row.is_scheduled(at):
        return Refusal.SCHEDULED
    return Refusal.DUE if row.lane > Delivery.Lane.IDLE else None
