"""What reports say of mail that a server had taken, into rows: a delivery ends a second time.

A delivery that was ``sent`` gets one more attempt from the report, and is ``failed`` after that.
One that is in doubt is no longer so. What waits, or has ended otherwise, stays as it is. The same
report is booked once, however often and by however many it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.db import transaction

from django_smtpx import returnpaths
from django_smtpx.addresses import addr_spec, same_mailbox_key
from django_smtpx.bounces import COMMAND, DELAYED, DELIVERED, FAILED, judged
from django_smtpx.config import mailers, rules, secret_keys
from django_smtpx.ledger import events
from django_smtpx.ledger.rows import ROW_FIELDS, Booking, Row, atomically, database, storable
from django_smtpx.ledger.settling import finish_messages
from django_smtpx.ledger.suppressing import condemns, feed
from django_smtpx.ledger.telling import tell
from django_smtpx.models import Attempt, Category, Delivery, Message
from django_smtpx.retry import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from django_smtpx.bounces import Fate, Report
    from django_smtpx.smtp import Result

Status = Delivery.Status

_TRIES = 5
_HOST_LENGTH = 255
_CODE_LENGTH = 11
_SKEW = timedelta(days=1)


class Fact(StrEnum):
    """What came of one recipient's part of a report."""

    BOOKED = "booked"
    KNOWN = "known"
    UNCHANGED = "unchanged"
    EARLY = "early"
    STRANGER = "stranger"
    GONE = "gone"
    FOREIGN = "foreign"
    FORGED = "forged"


@dataclass(frozen=True, slots=True)
class Booked:
    """What came of a report, or of one recipient's part of it, and ``words`` for people."""

    fact: Fact
    words: str


@dataclass(frozen=True, slots=True)
class _Held:
    """A delivery as it was read, by which it is seen whether it is still so."""

    row: Row
    status: str
    category: str

    @property
    def in_doubt(self) -> bool:
        """Whether nobody knows if a server has taken it."""
        waits = self.status == Status.DEFERRED and self.category == Category.UNKNOWN_OUTCOME
        return waits or self.status == Status.UNKNOWN


def book_report(report: Report, recipients: Iterable[str], at: datetime) -> list[Booked]:
    """Book what ``report`` says on the deliveries of the message that its return path names.

    ``recipients`` are addresses that the mail came to, beside those that it has itself. Without a
    token that this site made nothing is changed.
    """
    try:
        uuid = returnpaths.message_of((*recipients, *report.addresses), secret_keys())
    except returnpaths.Forged as forged:
        return [Booked(Fact.FORGED, str(forged))]
    if uuid is None:
        return [Booked(Fact.FOREIGN, "it did not come to a return path of this site")]
    message = Message.objects.using(database()).filter(uuid=uuid).first()
    if message is None:
        return [Booked(Fact.GONE, f"its message {uuid} is not in the log (any more)")]
    mailboxes = _mailboxes(message)
    return [_book(message, mailboxes, fate, report, at) for fate in report.fates]


def _book(
    message: Message, mailboxes: Mapping[str, int], fate: Fate, report: Report, at: datetime
) -> Booked:
    """Book one recipient's part; who was overtaken by another process looks again."""
    when = _when(message, fate, report, at)
    for _ in range(_TRIES):
        held = _find(mailboxes, fate.recipients)
        if held is None:
            named = " or ".join(fate.recipients) or "nobody"
            return Booked(Fact.STRANGER, f"its message {message.uuid} did not go to {named}")
        recipient = held.row.recipient
        result = judged(fate, recipient, rules())
        if _is_known(held, result, when):
            return Booked(Fact.KNOWN, f"{recipient}: booked before")
        if held.status == Status.SENDING:
            # A report can be here before its own 250 is written down.
            return Booked(Fact.EARLY, f"{recipient}: being sent at this moment")
        status = _status_after(held, fate)
        if status is None:
            words = f"{recipient}: {fate.action} changes nothing about what is {held.status}"
            return Booked(Fact.UNCHANGED, words)
        if _write(held, status, result, when, at):
            return Booked(Fact.BOOKED, f"{recipient}: {fate.action}, {result.category}")
    return Booked(Fact.UNCHANGED, f"{recipient}: others are writing it")


def _when(message: Message, fate: Fate, report: Report, at: datetime) -> datetime:
    """Return when it happened, which tells a report from the next one.

    It must not depend on when it is read. Where clocks are far off the message's own time will do.
    """
    for moment in (fate.last_try_at, report.sent_at):
        if moment is not None and message.created_at - _SKEW <= moment <= at + _SKEW:
            return moment
    return message.created_at


def _mailboxes(message: Message) -> dict[str, int]:
    """Return the deliveries of a message by their addresses."""
    rows = Delivery.objects.using(database()).filter(message=message).order_by("-pk")
    return {_key(recipient): pk for recipient, pk in rows.values_list("recipient", "pk")}


def _find(mailboxes: Mapping[str, int], recipients: Sequence[str]) -> _Held | None:
    """Return the delivery that a report is about: by its address, or the only one that there is."""
    named = [mailboxes[key] for key in map(_key, recipients) if key in mailboxes]
    if not named and len(mailboxes) == 1:
        named = list(mailboxes.values())
    if not named:
        return None
    rows = Delivery.objects.using(database()).filter(pk=named[0])
    found = rows.values_list(*ROW_FIELDS, "status", "category").first()
    return None if found is None else _Held(Row(*found[:-2]), *found[-2:])


def _key(address: str) -> str:
    try:
        return same_mailbox_key(addr_spec(address))
    except ValueError:
        return same_mailbox_key(address)


def _status_after(held: _Held, fate: Fate) -> Delivery.Status | None:
    """Return where the delivery stands after that; None where the report changes nothing."""
    sent = held.status == Status.SENT
    if fate.action == FAILED and (sent or held.in_doubt):
        return Status.FAILED
    if fate.action == DELAYED and (sent or held.status == Status.UNKNOWN):
        # Somebody else has it, and tries on.
        return Status(held.status)
    if fate.action in DELIVERED and held.in_doubt:
        return Status.SENT
    return None


def _is_known(held: _Held, result: Result, when: datetime) -> bool:
    attempts = Attempt.objects.using(database()).filter(delivery=held.row.pk, command=COMMAND)
    return attempts.filter(outcome=result.outcome, started_at=when).exists()


def _write(
    held: _Held, status: Delivery.Status, result: Result, when: datetime, at: datetime
) -> bool:
    """Write an attempt and what it makes of the delivery; False: it is not as it was any more."""
    using = database()
    row, number = held.row, held.row.attempts + 1
    latest: dict[str, Any] = {
        "phase": result.phase,
        "code": result.code,
        "enhanced_code": result.enhanced_code[:_CODE_LENGTH],
        "reply": storable(result.reply),
        "host": storable(result.host)[:_HOST_LENGTH],
    }
    ours = Delivery.objects.using(using).filter(
        pk=row.pk, status=held.status, category=held.category, attempt_count=row.attempts
    )
    booking = _booking(held, status, result, when)
    ended = {} if result.outcome == "deferred" else _ended(status, result, at)

    def write() -> bool:
        if not ours.update(**latest, **ended, attempt_count=number):
            return False
        Attempt.objects.using(using).create(
            delivery_id=row.pk,
            number=number,
            started_at=when,
            outcome=result.outcome,
            category=result.category,
            action=result.action,
            rule=result.rule,
            command=result.command,
            **latest,
        )
        feed([(booking, number)], at, using)
        if ended:
            finish_messages([row.message], at, using)
        events.emit({row.pk: result.outcome}, at, using, attempted=True, reported=True)
        transaction.on_commit(lambda: tell([(booking, number)]), using=using, robust=True)
        return True

    return atomically(write, using)


def _ended(status: Delivery.Status, result: Result, at: datetime) -> dict[str, Any]:
    return {
        "status": status,
        "category": result.category,
        "lane": Delivery.Lane.OUT,
        "next_attempt_at": None,
        "parked_at": None,
        "delay_notice_at": None,
        "settled_at": at,
        "marked": False,
        # A 250 that came late, and is booked by the lease that was lost, would be older news.
        "lease_token": None,
        "lease_expires_at": None,
    }


def _booking(held: _Held, status: Delivery.Status, result: Result, when: datetime) -> Booking:
    mailer = mailers().get(held.row.mailer)
    decision = Decision(
        status=status.value,
        category=result.category,
        outcome=result.outcome,
        step=held.row.step,
        unknowns=held.row.unknowns,
    )
    suppress = mailer is not None and mailer.suppression and condemns(result)
    return Booking(
        row=held.row, result=result, decision=decision, started_at=when, suppress=suppress
    )
