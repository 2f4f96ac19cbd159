"""Mail into rows, in the caller's own transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.utils import timezone

from django_smtpx.addresses import domain_of
from django_smtpx.config import content_inline_max, mailers
from django_smtpx.ledger.clock import database_now
from django_smtpx.ledger.keeping import Filed
from django_smtpx.ledger.rows import database, patiently
from django_smtpx.ledger.statements import store_at_once, takes_all_at_once
from django_smtpx.models import Content, Delivery, Message
from django_smtpx.tracing import traceparent

if TYPE_CHECKING:
    from collections.abc import Sequence
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
        rows = [_message(mailer, mail, mode, now) for mailer, mail in mails]
        if len(mails) == 1 and _may_go_at_once(mails[0][1], using):
            return [Stored(_store_at_once(rows[0], mails[0][1], now, using), True)]
        # New objects for each try: those of a failed one have primary keys that
        # were rolled back, and may be somebody else's by now.
        messages = [Message(**row) for row in rows]
        files.committing = False
        with transaction.atomic(using=using):
            stored = _insert_messages(messages, using)
            fresh = [
                (entry.message, mail)
                for entry, (_, mail) in zip(stored, mails, strict=True)
                if entry.new
            ]
            files.insert(fresh, using)
            deliveries = [
                Delivery(message=message, **values)
                for message, mail in fresh
                for values in _deliveries(message.mailer, message.mode, mail, now)
            ]
            Delivery.objects.using(using).bulk_create(deliveries, batch_size=1000)
            files.committing = True
            return stored

    with Filed(mail for _, mail in mails) as files:
        stored = patiently(write, using)
        files.keep(entry.message.uuid for entry in stored if entry.new)
    return stored


def _may_go_at_once(mail: Composed, using: str) -> bool:
    """Say whether a single mail can be stored by a single statement."""
    small = len(mail.content) <= content_inline_max()
    return takes_all_at_once(using) and mail.idempotency_key is None and small


def _store_at_once(values: dict[str, Any], mail: Composed, now: datetime, using: str) -> Message:
    deliveries = _deliveries(values["mailer"], values["mode"], mail, now)
    children = [(Content, [{"data": mail.content}]), (Delivery, deliveries)]
    key = store_at_once((Message, values), children, "message", using)
    # As if it was read from its row: to name its fields one by one takes three times as long.
    names = _message_fields()
    return Message.from_db(using, names, [key, *map(values.get, names[1:])])


@cache
def _message_fields() -> list[str]:
    """Return the fields of a message, its key first."""
    return [field.attname for field in Message._meta.concrete_fields]


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


def _message(mailer: str, mail: Composed, mode: str, now: datetime) -> dict[str, Any]:
    return {
        "uuid": mail.uuid,
        "mailer": mailer,
        "mode": mode,
        "message_id": mail.message_id[:_MESSAGE_ID_LENGTH],
        "envelope_sender": mail.sender,
        "require_tls": mail.require_tls,
        "from_header": mail.from_header,
        "subject": mail.subject,
        "size": len(mail.content),
        "recipient_count": len(mail.recipients),
        "priority": mail.priority,
        "send_at": mail.send_at,
        "expires_at": mail.expires_at,
        "tags": mail.tags,
        "metadata": mail.metadata,
        "idempotency_key": mail.idempotency_key,
        "idempotency_digest": _digest(mailer, mail.idempotency_key),
        "traceparent": traceparent(),
        "created_at": now,
    }


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


def _deliveries(mailer: str, mode: str, mail: Composed, now: datetime) -> list[dict[str, Any]]:
    named = mailers().get(mailer)
    straight = named is not None and named.transport == "mx"
    due = mail.send_at if mail.send_at and mail.send_at > now else now
    alike = {
        "mailer": mailer,
        "priority": mail.priority,
        "status": Delivery.Status.QUEUED,
        "lane": Delivery.Lane.READY if due <= now else Delivery.Lane.IDLE,
        "next_attempt_at": due,
        "age_from": due,
        "expires_at": mail.expires_at,
        "delay_notice_at": None if mode == Message.Mode.NOW else due + FIRST_NOTICE,
    }
    domains = [domain_of(recipient) for recipient in mail.recipients]
    return [
        {
            "recipient": recipient,
            "domain": domain,
            "destination": domain if straight else "",
            **alike,
        }
        for recipient, domain in zip(mail.recipients, domains, strict=True)
    ]
