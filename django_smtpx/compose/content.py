"""The bytes of a mail: Django composes, and this makes them fit for any server."""

from __future__ import annotations

import email.message
import email.policy
from contextlib import suppress
from email.errors import MessageError
from email.generator import BytesGenerator
from email.headerregistry import AddressHeader, BaseHeader, HeaderRegistry
from email.utils import formatdate, make_msgid
from functools import lru_cache
from inspect import Parameter, signature
from io import BytesIO
from typing import TYPE_CHECKING, Any

import django
from django.core.mail import EmailMessage
from django.core.mail.utils import DNS_NAME

from django_smtpx.addresses import refuse_controls, simple_mailbox
from django_smtpx.compose import headers, parts, tree, writer
from django_smtpx.compose.tree import Doubt
from django_smtpx.compose.writer import Written
from django_smtpx.smtp.content import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Tree = email.message.Message[Any, Any]

INTENDED_TO = "X-Smtpx-Intended-To"


class _Headers(HeaderRegistry):
    """The classes of headers, each built once: the standard library builds one for each header."""

    def __init__(self) -> None:
        super().__init__()
        self._built: dict[str, type[BaseHeader]] = {}

    def __getitem__(self, name: str) -> type[BaseHeader]:
        kind = name.lower() if name.lower() in self.registry else ""
        if kind not in self._built:
            self._built[kind] = super().__getitem__(kind)
        return self._built[kind]


_COMPOSING = email.policy.SMTP.clone(cte_type="7bit", header_factory=_Headers())


def write(
    email_message: EmailMessage, redirect_to: Sequence[str], intended: Sequence[str]
) -> Written:
    """Return the bytes of ``email_message``, addressed to ``redirect_to`` where that is not empty.

    CRLF line ends, no Bcc, header lines in ASCII (but for addresses that need
    SMTPUTF8), 7-bit transfer encodings except in what the user supplied in 8
    bits. Raises ``ValueError``.
    """
    with suppress(Doubt):
        if not redirect_to:
            return writer.write(email_message)
    _refuse_bad_texts(email_message)
    root = None
    with suppress(Doubt):
        root = writer.parts(email_message)
    message = _composed(email_message if root is None else _without_parts(email_message))
    _complete(message)
    if redirect_to:
        _redirect(message, redirect_to, intended)
    said = {
        "message_id": headers.decoded(message, "Message-ID").strip(),
        "from_header": headers.decoded(message, "From"),
        "subject": headers.decoded(message, "Subject"),
    }
    if root is None:
        message = parts.mend(message, frozenset(_supplied(email_message)))
    headers.settle(message)
    content = _flat(message) if root is None else tree.flat(root, headers.without_parts(message))
    return Written(content=content, **said)


def _without_parts(email_message: EmailMessage) -> EmailMessage:
    """Return a message with the same header alone."""
    bare = EmailMessage()
    for name in ("encoding", "subject", "from_email", "to", "cc", "reply_to", "extra_headers"):
        setattr(bare, name, getattr(email_message, name))
    return bare


def _refuse_bad_texts(email_message: EmailMessage) -> None:
    """Refuse what would end a header line, before Django makes lines of it."""
    headers.refuse_breakout("Subject", email_message.subject)
    for name, value in email_message.extra_headers.items():
        headers.refuse_breakout(str(name), value)
        if str(name).lower() in headers.ADDRESS_NAMES:
            _refuse_unreadable(str(name), value)
    for one in (*email_message.to, *email_message.cc):
        refuse_controls(str(one))  # they were parsed as recipients
    for one in email_message.reply_to:
        _refuse_unreadable("reply_to", one)
    _refuse_unreadable("from_email", email_message.from_email)
    body = email_message.body
    for text in (body, *(one[0] for one in getattr(email_message, "alternatives", None) or ())):
        if isinstance(text, str) and not text.isascii():
            _refuse_lone_surrogates(text)


def _refuse_unreadable(name: str, value: object) -> None:
    text = str(value)
    refuse_controls(text)
    if simple_mailbox(text) is not None:
        return
    try:
        AddressHeader.value_parser(text)
    except Exception as error:
        # The parser of the standard library raises IndexError and others on odd input.
        raise ValueError(f"{name} holds an invalid address: {text!r}.") from error


def _refuse_lone_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The text of the message holds a lone surrogate at {error.start}: no charset has it."
        ) from None


def _composed(email_message: EmailMessage) -> Tree:
    cls: Any = type(email_message)
    try:
        if _takes_policy(cls):
            made: Tree = email_message.message(policy=_COMPOSING)
        else:
            made = email_message.message()
        return made
    except MessageError as error:
        raise ValueError(f"The message cannot be composed: {error}") from error


@lru_cache(maxsize=128)
def _takes_policy(cls: Any) -> bool:
    """Whether message() takes a policy: since Django 6.0, but for overrides of older make."""
    if django.VERSION < (6, 0):
        return False
    parameters = signature(cls.message).parameters.values()
    return any(one.name == "policy" or one.kind is Parameter.VAR_KEYWORD for one in parameters)


def _complete(message: Tree) -> None:
    """Fix what makes every try the same mail, and take out what is nobody's business."""
    for name in ("Bcc", "Resent-Bcc"):
        del message[name]
    if message["MIME-Version"] is None:
        # Django 6 leaves it out where there is no body, but attachments or alternatives.
        message["MIME-Version"] = "1.0"
    if not str(message["Message-ID"] or "").strip():
        del message["Message-ID"]
        message["Message-ID"] = make_msgid(domain=str(DNS_NAME))
    if not str(message["Date"] or "").strip():
        del message["Date"]
        message["Date"] = formatdate()


def _redirect(message: Tree, redirect_to: Sequence[str], intended: Sequence[str]) -> None:
    for name in ("To", "Cc", INTENDED_TO):
        del message[name]
    message["To"] = ", ".join(redirect_to)
    message[INTENDED_TO] = ", ".join(intended)


def _supplied(email_message: EmailMessage) -> Iterator[int]:
    """Yield the ids of the message objects that came from the user."""
    for attachment in email_message.attachments or ():
        if isinstance(attachment, email.message.Message):
            yield id(attachment)
        else:
            yield from map(id, _messages(attachment))


def _messages(attachment: Sequence[Any]) -> list[Tree]:
    return [one for one in attachment if isinstance(one, email.message.Message)]


def _flat(message: Tree) -> bytes:
    buffer = BytesIO()
    BytesGenerator(buffer, mangle_from_=False, policy=headers.WIRE).flatten(message)
    content = buffer.getvalue()
    if b"\0" in content:
        raise ValueError("A part of the message holds a NUL. Encode it.")
    # What the user supplied as it is may hold bare CR or LF (a multipart that is none, for one);
    # they become line ends, as smtplib makes them.
    return normalise(content)
