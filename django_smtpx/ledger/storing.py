"""Mail into rows, in the caller's own transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from django.db import connections, transaction
from django.utils import timezone

from django_smtpx.config import content_inline_max, mailers
from django_smtpx.ledger.clock import database_now
from django_smtpx.ledger.keeping import Filed
from django_smtpx.ledger.rows import database, patiently
from django_smtpx.ledger.statements import store_at_once, takes_all_at_once
from django_smtpx.models import Content, Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django_smtpx.compose import Composed

FIRST_NOTICE = timedelta(minutes=15)
"""A delivery that still waits so long after it was due for the first time is told of."""

_MESSAGE_ID_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Stored:
    """A message's row; ``new`` is False where its idempotency key was there before."""

    message: Message
    new: bool


def store(mails: Sequence[tuple[str, Composed]], *, mode: str = Message.Mode.QUEUE) -> list[Stored]:
    """Store each mail for the mailer named beside it, all or none, in a fixed number of statements.

    In the caller's transaction where there is one. Large contents take more of them: they go into
    the database in parts, or into files, which are written first and raise what their storage
    raises. A mail whose idempotency key is known to its mailer is not stored again; a conflict
    breaks no transaction.
    """
    using = database()
    now = _now([mail for _, mail in mails], using)

    def write() -> list[Stored]:
        # New objects for each try: those of a failed one have primary keys that
        # were rolled back, and may be somebody else's by now.
        messages = [_message(mailer, mail, mode, now) for mailer, mail in mails]
        if len(mails) == 1 and _store_at_once(messages[0], mails[0][1], now, using):
            return [Stored(messages[0], True)]
        files.committing = False
        with transaction.atomic(using=using):
            stored = _insert_messages(messages, using)
            fresh = [
                (entry.message, mail)
                for entry, (_, mail) in zip(stored, mails, strict=True)
                if entry.new
            ]
            files.insert(fresh, using)
            Delivery.objects.using(using).bulk_create(_deliveries(fresh, now), batch_size=1000)
            files.committing = True
            return stored

    with Filed(mail for _, mail in mails) as files:
        stored = patiently(write, using)
        files.keep(entry.message.uuid for entry in stored if entry.new)
    return stored


def _store_at_once(message: Message, mail: Composed, now: datetime, using: str) -> bool:
    """Store a single mail by a single statement; False: that cannot be, and nothing was stored."""
    if not takes_all_at_once(using) or mail.idempotency_key is not None:
        return False
    if len(mail.content) > content_inline_max():
        return False
    content = Content(message=message, data=mail.content)
    deliveries = _deliveries([(message, mail)], now)
    store_at_once(message, [[content], deliveries], "message", using)
    return True


def _now(mails: Sequence[Composed], using: str) -> datetime:
    """Return the time by our own clock, or by the database's where some mail is for later.

    What is due at once is so whatever the time. For the rest a clock that is ahead would be too
    early; one statement more is little beside that.
    """
    scheduled = any(mail.send_at is not None for mail in mails)
    return database_now(using) if scheduled else timezone.now()


def find(mailer: str, key: str) -> Message | None:
    """Return the message of ``mailer`` that has the idempotency ``key``, if there is one."""
    holders = Message.objects.using(database())
    return holders.filter(idempotency_digest=_digest(mailer, key)).first()


def _message(mailer: str, mail: Composed, mode: str, now: datetime) -> Message:
    return Message(
        uuid=mail.uuid,
        mailer=mailer,
        mode=mode,
        message_id=mail.message_id[:_MESSAGE_ID_LENGTH],
        envelope_sender=mail.sender,
        require_tls=mail.require_tls,
        from_header=mail.from_header,
        subject=mail.subject,
        size=len(mail.content),
        recipient_count=len(mail.recipients),
        priority=mail.priority,
        send_at=mail.send_at,
        expires_at=mail.expires_at,
        tags=mail.tags,
        metadata=mail.metadata,
        idempotency_key=mail.idempotency_key,
        idempotency_digest=_digest(mailer, mail.idempotency_key),
        created_at=now,
    )


def _insert_messages(messages: list[Message], using: str) -> list[Stored]:
    plain = [message for message in messages if message.idempotency_key is None]
    keyed = [message for message in messages if message.idempotency_key is not None]
    manager = Message.objects.using(using)
    manager.bulk_create(plain)
    _fill_keys(plain, using)
    if not keyed:
        return [Stored(message, True) for message in messages]
    # A conflict is skipped rather than raised, so no savepoint is needed and
    # the caller's transaction lives; the uuid tells afterwards whose row it is.
    manager.bulk_create(keyed, ignore_conflicts=True)
    holders = _holders(keyed, using)
    stored = []
    for message in messages:
        if message.idempotency_key is None:
            stored.append(Stored(message, True))
            continue
        holder = holders[message.idempotency_digest]
        mine = holder.uuid == message.uuid
        stored.append(Stored(holder, mine))
    return stored


def _fill_keys(messages: list[Message], using: str) -> None:
    """Read the primary keys back on databases whose bulk insert does not return them."""
    if not messages or connections[using].features.can_return_rows_from_bulk_insert:
        return
    uuids = [message.uuid for message in messages]
    keys = dict(Message.objects.using(using).filter(uuid__in=uuids).values_list("uuid", "pk"))
    for message in messages:
        message.pk = keys[message.uuid]


def _holders(keyed: list[Message], using: str) -> dict[str | None, Message]:
    """Return who holds each digest, by the digest."""
    digests = {message.idempotency_digest for message in keyed}
    rows = Message.objects.using(using).filter(idempotency_digest__in=digests)
    found = {message.idempotency_digest: message for message in rows}
    if len(found) < len(digests):
        # Committed by another since the snapshot of a caller who reads repeatably:
        # a locking read sees it.
        found = {message.idempotency_digest: message for message in rows.select_for_update()}
    return found


def _digest(mailer: str, key: str | None) -> str | None:
    return None if key is None else sha256(f"{mailer}\0{key}".encode()).hexdigest()


def _deliveries(fresh: Iterable[tuple[Message, Composed]], now: datetime) -> list[Delivery]:
    straight = {name for name, mailer in mailers().items() if mailer.transport == "mx"}
    return [
        _delivery(message, recipient, now, straight=message.mailer in straight)
        for message, mail in fresh
        for recipient in mail.recipients
    ]


def _delivery(message: Message, recipient: str, now: datetime, *, straight: bool) -> Delivery:
    domain = recipient.rpartition("@")[2].lower() if "@" in recipient else ""
    due = message.send_at if message.send_at and message.send_at > now else now
    return Delivery(
        message=message,
        mailer=message.mailer,
        priority=message.priority,
        recipient=recipient,
        domain=domain,
        destination=domain if straight else "",
        status=Delivery.Status.QUEUED,
        lane=Delivery.Lane.READY if due <= now else Delivery.Lane.IDLE,
        next_attempt_at=due,
        age_from=due,
        expires_at=message.expires_at,
        delay_notice_at=None if message.mode == Message.Mode.NOW else due + FIRST_NOTICE,
    )
