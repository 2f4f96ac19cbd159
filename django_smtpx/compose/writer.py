"""Common mail, written straight from the message object: a small part of the time Django takes.

What is written here reads as Django's own would: the same headers in the same
order, the same parts, transfer encodings of the same kinds. Wherever that is
not plain at first sight :class:`Doubt` is raised, and Django composes.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from email.utils import formatdate, make_msgid
from functools import lru_cache
from inspect import isfunction
from typing import TYPE_CHECKING, NamedTuple

from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail import message as djangos
from django.core.mail.utils import DNS_NAME
from django.utils.functional import Promise

from django_smtpx.addresses import simple_mailbox
from django_smtpx.compose import headers, tree
from django_smtpx.compose.bodies import SINCE_6
from django_smtpx.compose.tree import Doubt
from django_smtpx.config.composing import in_utf8_and_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LISTS = (("To", "to"), ("Cc", "cc"), ("Reply-To", "reply_to"))
_IN_DJANGOS_PLACE = frozenset({"From", *(name for name, _ in _LISTS)})
# Headers that a parser reads, rather than takes as they are.
_READ = headers.ADDRESS_NAMES | {"bcc", "date", "orig-date", "subject"}
_READ_PREFIXES = (*headers.OF_PARTS, "resent-")
_USUAL_SUBTYPES = {"mixed_subtype": "mixed", "alternative_subtype": "alternative"}
_LONGEST_ID = 900

_NAME = re.compile(r"[A-Za-z0-9-]+")
_SPECIAL = re.compile(r"[()<>@,:;.\[\]]")
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=^_`{|}~.-]+@[A-Za-z0-9_.-]+>")


@dataclass(frozen=True, slots=True)
class Written:
    """A mail's bytes, and what its headers say to a reader."""

    content: bytes = field(repr=False)
    message_id: str
    from_header: str
    subject: str


def write(email: EmailMessage) -> Written:
    """Return what Django would compose, but without a Bcc. Raises :class:`Doubt`.

    Nothing is refused here: what may have to be is in doubt.
    """
    _doubt_unless_djangos_own(email)
    header = _header(email)
    content = tree.flat(tree.of(email), "".join(header.lines).encode("ascii"))
    return Written(content, header.message_id, header.sender, header.subject)


def parts(email: EmailMessage) -> tree.Leaf | tree.Branch:
    """Return the parts of a mail, whatever its header is; :class:`Doubt` where it is about them."""
    _doubt_unless_djangos_own(email)
    if any(str(name).lower().startswith(headers.OF_PARTS) for name in email.extra_headers):
        raise Doubt
    return tree.of(email)


# -- whether Django itself would compose it ------------------------------------


def _hooks(cls: type[EmailMessage]) -> dict[str, Callable[..., object] | None]:
    """Return the methods that compose; None for one that somebody has put in Django's place."""
    made = {name: getattr(cls, name) for name in dir(cls)}
    return {
        name: hook if hook.__globals__ is vars(djangos) else None
        for name, hook in made.items()
        if isfunction(hook) and name.startswith(("message", "_add", "_create", "_idna", "_set"))
    }


_OF_ONE, _OF_SEVERAL = _hooks(EmailMessage), _hooks(EmailMultiAlternatives)


def _doubt_unless_djangos_own(email: EmailMessage) -> None:
    """Go on where nothing but Django's own methods would compose this message, and as usual."""
    cls = type(email)
    hooks = _OF_SEVERAL if issubclass(cls, EmailMultiAlternatives) else _OF_ONE
    own = (
        email.encoding in (None, "utf-8")
        and all(getattr(cls, name, None) is hook for name, hook in hooks.items())
        and hooks.keys().isdisjoint(vars(email))
        and all(
            # Django 6 refuses a message that has them.
            not hasattr(email, name) if SINCE_6 else getattr(email, name, usual) == usual
            for name, usual in _USUAL_SUBTYPES.items()
        )
    )
    if not own or not in_utf8_and_utc():
        raise Doubt


# -- its header ----------------------------------------------------------------


class _Header(NamedTuple):
    lines: list[str]
    message_id: str
    sender: str
    subject: str


def _header(email: EmailMessage) -> _Header:
    extra = email.extra_headers
    if type(extra) is not dict:
        raise Doubt
    more, message_id = _more(extra)
    subject = _plain(email.subject)
    sender, from_line = _mailbox(extra.get("From", email.from_email))
    lines = [_line("Subject", subject), _line("From", from_line)]
    for name, attribute in _LISTS:
        values = (extra[name],) if name in extra else getattr(email, attribute)
        if values:
            lines.append(_line(name, ", ".join([_mailbox(one)[1] for one in values])))
    lines.append(_line("Date", _date(int(time.time()))))
    if message_id is None:
        message_id = _checked_id(make_msgid(domain=str(DNS_NAME)))
        lines.append(_line("Message-ID", message_id))
    return _Header(lines + more, message_id, sender, subject)


def _more(extra: Mapping[str, object]) -> tuple[list[str], str | None]:
    """Return the lines of what stands behind Django's headers, and the Message-ID among it."""
    lines = []
    message_id = None
    for name, value in extra.items():
        if name in _IN_DJANGOS_PLACE:
            continue
        if type(name) is not str or not _NAME.fullmatch(name):
            raise Doubt
        lowered = name.lower()
        if lowered in _READ or lowered.startswith(_READ_PREFIXES):
            raise Doubt
        text = _plain(value)
        if lowered == "message-id":
            if message_id is not None:
                raise Doubt
            message_id = _checked_id(text)
        lines.append(_line(name, text))
    return lines, message_id


def _checked_id(message_id: str) -> str:
    if len(message_id) > _LONGEST_ID or not _MESSAGE_ID.fullmatch(message_id):
        raise Doubt
    return message_id


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Return a time as Django says that it is in UTC (RFC 5322 section 3.3 knows two ways)."""
    text = formatdate(second)
    return text.replace("-0000", "+0000") if SINCE_6 else text


def _plain(value: object) -> str:
    """Return a text that every reader of a header takes as it is."""
    text = str(value) if isinstance(value, Promise) else tree.plain_str(value)
    if tree.ODD.search(text) or "=?" in text or text != text.strip():
        raise Doubt
    return text


def _mailbox(value: object) -> tuple[str, str]:
    """Return a mailbox as a reader sees it, and as it is written."""
    found = simple_mailbox(str(value))
    if found is None:
        raise Doubt
    name, address = found
    if not name:
        return address, address
    read = f'"{name}" <{address}>' if _SPECIAL.search(name) else f"{name} <{address}>"
    if name.isascii():
        return read, read
    return read, f"{headers.encoded_phrase(name)} <{address}>"


def _line(name: str, text: str) -> str:
    lines = headers.fold_plain(name, text)
    if len(lines) > headers.MAX_LINE and max(map(len, lines.split("\r\n"))) > headers.MAX_LINE:
        raise Doubt
    return lines + "\r\n"
