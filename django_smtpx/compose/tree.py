"""The parts of a mail, as Django arranges them: a text, alternatives to it, attachments."""

from __future__ import annotations

import re
import secrets
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from django.core.mail import EmailMultiAlternatives
from django.core.mail.message import EmailAlternative, EmailAttachment
from django.utils.safestring import SafeString

from django_smtpx.compose import bodies
from django_smtpx.compose.bodies import SINCE_6, Body

if TYPE_CHECKING:
    from django.core.mail import EmailMessage

_ATTACHED = "Content-Disposition: attachment"
_VERSION = b"MIME-Version: 1.0\r\n"
_COMFORTABLE_LINE = 78
_PIECE = 50
"""Characters of a long filename on a line of its own (RFC 2231 section 3)."""

_SUBTYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,126}")
_MAIN_TYPES = frozenset({"application", "audio", "font", "image", "model", "text", "video"})
_FILENAME = re.compile(r"(?=.{1,900}\Z)[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_ESCAPES = re.compile(rf"(?:%..|[^%]){{1,{_PIECE // 3}}}")

ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that end lines, or that are none: Django refuses some of them."""


class Doubt(Exception):
    """It is not plain how Django would compose this one."""


def plain_str(value: object) -> str:
    """Return a string that is one and nothing more, as it is."""
    if type(value) is str:
        return value
    if type(value) is SafeString:
        return value
    raise Doubt


class Leaf(NamedTuple):
    """A part with its own lines; ``versioned`` says whether it has a MIME-Version."""

    kind: str
    body: Body
    disposition: str = ""
    versioned: bool = True


class Branch(NamedTuple):
    """A multipart."""

    kind: bytes
    children: list[Leaf | Branch]


def of(email: EmailMessage) -> Leaf | Branch:
    """Return the parts of ``email``. Raises :class:`Doubt` for what is not plain."""
    attachments = list(map(_attachment, email.attachments))
    alternatives = (
        list(map(_alternative, email.alternatives))
        if isinstance(email, EmailMultiAlternatives)
        else []
    )
    body: list[Leaf | Branch] = []
    if email.body or not (attachments or alternatives):
        alone = not (attachments or alternatives)
        body = [_text(email.body, email.content_subtype, versioned=alone or not SINCE_6)]
    if alternatives:
        body = [Branch(b"alternative", [*body, *alternatives])]
    if attachments:
        body = [Branch(b"mixed", [*body, *attachments])]
    return body[0]


def flat(root: Leaf | Branch, header: bytes) -> bytes:
    """Return the mail of these parts; ``header`` is of whole lines, and the rest is ours."""
    out = BytesIO()
    _write(root, out, header)
    content = out.getvalue()
    # Before Django 6.0 a text ends as it was given, which a mail must not.
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def _write(part: Leaf | Branch, out: BytesIO, header: bytes | None = None) -> None:
    """Write a part; the root has a ``header`` among its own lines."""
    if isinstance(part, Leaf):
        out.write(_lines_of_leaf(part).encode("ascii") + (header or b"") + b"\r\n")
        bodies.write(part.body, out)
        return
    # Nobody can know it beforehand, so no part holds it.
    boundary = f"==============={secrets.token_hex(16)}==".encode("ascii")
    lines = b'Content-Type: multipart/%b;\r\n boundary="%b"\r\n' % (part.kind, boundary)
    if not SINCE_6:
        lines += _VERSION
    elif header is not None:
        lines = _VERSION + lines
    out.write(lines + (header or b"") + b"\r\n")
    for child in part.children:
        out.write(b"--%b\r\n" % boundary)
        _write(child, out)
        out.write(b"\r\n")
    out.write(b"--%b--\r\n" % boundary)


def _lines_of_leaf(leaf: Leaf) -> str:
    encoding = f"Content-Transfer-Encoding: {leaf.body.encoding}\r\n"
    lines = [f"Content-Type: {leaf.kind}\r\n", encoding, leaf.disposition]
    if leaf.versioned:
        lines.insert(3 if SINCE_6 else 1, _VERSION.decode("ascii"))
    return "".join(lines)


def _alternative(given: object) -> Leaf:
    if not isinstance(given, EmailAlternative):
        raise Doubt
    return _leaf(given.content, given.mimetype)


def _attachment(given: object) -> Leaf:
    if not isinstance(given, tuple) or len(given) != len(EmailAttachment._fields):
        raise Doubt
    filename, content, kind = given
    return _leaf(content, kind, _disposition(filename))


def _leaf(content: object, kind: object, disposition: str = "") -> Leaf:
    if not isinstance(kind, str):
        raise Doubt
    main, _, subtype = kind.partition("/")
    if main == "text":
        return _text(content, subtype, disposition)
    if main not in _MAIN_TYPES or not _SUBTYPE.fullmatch(subtype):
        raise Doubt
    data = content if isinstance(content, bytes) else _octets(plain_str(content))
    return Leaf(kind, bodies.of_bytes(data), disposition)


def _octets(text: str) -> bytes:
    if not SINCE_6 and not text.isascii():
        raise Doubt
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Doubt from None


def _text(content: object, subtype: str, disposition: str = "", *, versioned: bool = True) -> Leaf:
    text = plain_str(content)
    if "\0" in text or not _SUBTYPE.fullmatch(subtype):
        raise Doubt
    try:
        body = bodies.of_text(text)
    except UnicodeEncodeError:
        raise Doubt from None
    return Leaf(f'text/{subtype}; charset="utf-8"', body, disposition, versioned)


def _disposition(filename: object) -> str:
    """Return the lines of an attachment's Content-Disposition."""
    if filename is None:
        return f"{_ATTACHED}\r\n" if SINCE_6 else ""
    name = plain_str(filename)
    if not name.isascii():
        parameters = _extended(name)
    elif _FILENAME.fullmatch(name) and "=?" not in name:
        parameters = [f'filename="{name}"']
    else:
        raise Doubt
    line = "; ".join([_ATTACHED, *parameters])
    if len(line) > _COMFORTABLE_LINE:
        line = ";\r\n ".join([_ATTACHED, *parameters])
    return line + "\r\n"


def _extended(name: str) -> list[str]:
    """Return the parameters for a name that is not ASCII, as many as it needs (RFC 2231)."""
    if ODD.search(name):
        raise Doubt
    escaped = quote(name, safe="")
    if len(escaped) <= _PIECE:
        return [f"filename*=utf-8''{escaped}"]
    first, *others = _ESCAPES.findall(escaped)
    return [
        f"filename*0*=utf-8''{first}",
        *(f"filename*{number}*={piece}" for number, piece in enumerate(others, start=1)),
    ]
