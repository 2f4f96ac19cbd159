"""The bytes of a mail: Django composes, and this makes them fit for any server."""

from __future__ import annotations

import email.message
import email.policy
from dataclasses import dataclass, field
from email.errors import MessageError
from email.generator import BytesGenerator
from email.headerregistry import AddressHeader
from email.utils import formatdate, make_msgid
from functools import lru_cache
from inspect import Parameter, signature
from io import BytesIO
from typing import TYPE_CHECKING, Any

import django
from django.core.mail.utils import DNS_NAME

from django_smtpx.addresses import is_plain, refuse_controls
from django_smtpx.compose import headers, parts
from django_smtpx.smtp.content import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.core.mail import EmailMessage

    Tree = email.message.Message[Any, Any]

INTENDED_TO = "X-Smtpx-Intended-To"

_COMPOSING = email.policy.SMTP.clone(cte_type="7bit")


@dataclass(frozen=True, slots=True)
class Written:
    """A mail's bytes, and what its headers say to a reader."""

    content: bytes = field(repr=False)
    message_id: str
    from_header: str
    subject: str


def write(
    email_message: EmailMessage, redirect_to: Sequence[str], intended: Sequence[str]
) -> Written:
    """Return the bytes of ``email_message``, addressed to ``redirect_to`` where that is not empty.

    CRLF line ends, no Bcc, header lines in ASCII (but for addresses that need
    SMTPUTF8), 7-bit transfer encodings except in what the user supplied in 8
    bits. Raises ``ValueError``.
    """
    _refuse_bad_texts(email_message)
    tree = _composed(email_message)
    _complete(tree)
    if redirect_to:
        _redirect(tree, redirect_to, intended)
    written = {
        "message_id": headers.decoded(tree, "Message-ID").strip(),
        "from_header": headers.decoded(tree, "From"),
        "subject": headers.decoded(tree, "Subject"),
    }
    tree = parts.mend(tree, frozenset(_supplied(email_message)))
    headers.settle(tree)
    return Written(content=_flat(tree), **written)


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
    if is_plain(text):
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
            tree: Tree = email_message.message(policy=_COMPOSING)
        else:
            tree = email_message.message()
        return tree
    except MessageError as error:
        raise ValueError(f"The message cannot be composed: {error}") from error


@lru_cache(maxsize=128)
def _takes_policy(cls: Any) -> bool:
    """Whether message() takes a policy: since Django 6.0, but for overrides of older make."""
    if django.VERSION < (6, 0):
        return False
    parameters = signature(cls.message).parameters.values()
    return any(one.name == "policy" or one.kind is Parameter.VAR_KEYWORD for one in parameters)


def _complete(tree: Tree) -> None:
    """Fix what makes every try the same mail, and take out what is nobody's business."""
    for name in ("Bcc", "Resent-Bcc"):
        del tree[name]
    if tree["MIME-Version"] is None:
        # Django 6 leaves it out where there is no body, but attachments or alternatives.
        tree["MIME-Version"] = "1.0"
    if not str(tree["Message-ID"] or "").strip():
        del tree["Message-ID"]
        tree["Message-ID"] = make_msgid(domain=str(DNS_NAME))
    if not str(tree["Date"] or "").strip():
        del tree["Date"]
        tree["Date"] = formatdate()


def _redirect(tree: Tree, redirect_to: Sequence[str], intended: Sequence[str]) -> None:
    for name in ("To", "Cc", INTENDED_TO):
        del tree[name]
    tree["To"] = ", ".join(redirect_to)
    tree[INTENDED_TO] = ", ".join(intended)


def _supplied(email_message: EmailMessage) -> Iterator[int]:
    """Yield the ids of the message objects that came from the user."""
    for attachment in email_message.attachments or ():
        if isinstance(attachment, email.message.Message):
            yield id(attachment)
        else:
            yield from map(id, _messages(attachment))


def _messages(attachment: Sequence[Any]) -> list[Tree]:
    return [one for one in attachment if isinstance(one, email.message.Message)]


def _flat(tree: Tree) -> bytes:
    buffer = BytesIO()
    BytesGenerator(buffer, mangle_from_=False, policy=headers.WIRE).flatten(tree)
    content = buffer.getvalue()
    if b"\0" in content:
        raise ValueError("A part of the message holds a NUL. Encode it.")
    # What the user supplied as it is may hold bare CR or LF (a multipart that is none, for one);
    # they become line ends, as smtplib makes them.
    return normalise(content)
