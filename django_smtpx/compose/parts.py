"""Transfer encodings: what we compose is 7-bit, and what users supply stays as it is if it can."""

from __future__ import annotations

import base64
import copy
import re
from email import quoprimime
from email.message import Message, MIMEPart
from typing import TYPE_CHECKING, Any, cast

import django

from django_smtpx.compose.headers import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Part = Message[Any, Any]

_CTE = "Content-Transfer-Encoding"
_SEALED = frozenset({"multipart/signed", "multipart/encrypted"})
_ENCODED = frozenset({"base64", "quoted-printable"})
_UNENCODED = frozenset({"", "7bit", "8bit", "binary"})
_LINE_END = re.compile(rb"\r\n|\r|\n")


def _composed_by_django() -> Callable[[Part], bool]:
    """Return what tells the text parts that Django made: its own class before 6.0, then any."""
    if django.VERSION >= (6, 0):
        return lambda part: isinstance(part, MIMEPart)
    from django.core.mail.message import SafeMIMEMultipart, SafeMIMEText

    return lambda part: isinstance(part, (SafeMIMEText, SafeMIMEMultipart))


_is_ours = _composed_by_django()


def mend(part: Part, theirs: Collection[int], *, ours: bool = True) -> Part:
    """Return ``part`` fit for 998-octet lines without NUL (RFC 5321 section 4.5.3.1.6), 7-bit
    where it is ours; the same object where nothing had to be done, and never changed itself.

    ``theirs`` are the ids of the objects that the user supplied. What is
    signed or encrypted is not touched.
    """
    ours = ours and id(part) not in theirs
    if part.get_content_type() in _SEALED:
        return part
    if not part.is_multipart():
        return _mend_leaf(part, ours=ours and _is_ours(part))
    if part.get_content_maintype() == "message" and part.get_content_subtype() != "rfc822":
        return part
    enclosed = part.get_content_type() == "message/rfc822"
    children: Any = part.get_payload()
    mended = [
        mend(child, theirs, ours=ours and (not enclosed or _is_nested_by_django(child)))
        for child in children
    ]
    if any(new is not old for new, old in zip(mended, children, strict=True)):
        part = _copy(part)
        part.set_payload(cast("Any", mended))
    return _labelled(part) if ours else part


def _is_nested_by_django(part: Part) -> bool:
    """Since 6.0 Django composes what it nests in 7 bits, and what else is there was given."""
    return django.VERSION < (6, 0) and _is_ours(part)


def _labelled(part: Part) -> Part:
    """Return a container of ours with the label that its contents ask for (RFC 2045 6.4)."""
    label = str(part.get(_CTE, "7bit")).strip().lower()
    wanted = "8bit" if _holds_8bit(part) else "7bit"
    return part if label == wanted else _with_encoding(part, wanted)


def _holds_8bit(part: Part) -> bool:
    if part.is_multipart():
        children: Any = part.get_payload()
        return any(map(_holds_8bit, children))
    payload = _raw_payload(part)
    return isinstance(payload, str) and not payload.isascii()


def _mend_leaf(part: Part, *, ours: bool) -> Part:
    payload = _raw_payload(part)
    if not isinstance(payload, str):
        return part
    encoding = str(part.get(_CTE, "")).strip().lower()
    if encoding in _ENCODED:
        if _fits(payload):
            return part
        return _encoded(part, cast("bytes", part.get_payload(decode=True)), encoding)
    if encoding not in _UNENCODED:
        return part
    data = _bytes(payload)
    foreign = ours and not payload.isascii()
    if not foreign and encoding != "binary" and "\0" not in payload and _fits(payload):
        return part
    return _encoded(part, data, _better(part, data))


def _fits(payload: str) -> bool:
    if len(payload) <= MAX_LINE:
        return True
    lines = re.split(r"[\r\n]", payload) if "\r" in payload else payload.split("\n")
    return max(map(len, lines)) <= MAX_LINE


def _bytes(payload: str) -> bytes:
    try:
        return payload.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError(
            "A part holds characters without a charset. Give its payload as bytes, "
            "or with set_payload(text, charset='utf-8')."
        ) from None


def _better(part: Part, data: bytes) -> str:
    """Return the encoding to use: for text the one a person can read, unless it is much longer."""
    if part.get_content_maintype() != "text" or b"\0" in data:
        return "base64"
    sample = data[:100_000]
    readable = quoprimime.body_length(sample)
    return "quoted-printable" if readable * 3 <= len(sample) * 4 else "base64"


def _encoded(part: Part, data: bytes, encoding: str) -> Part:
    text = part.get_content_maintype() == "text" and b"\0" not in data
    if text:
        data = _LINE_END.sub(b"\r\n", data)
    if encoding == "quoted-printable":
        payload = quoprimime.body_encode(data.decode("latin-1"), eol="\r\n")
    else:
        payload = base64.encodebytes(data).decode("ascii")
    new = _with_encoding(part, encoding)
    new.set_payload(payload)
    return new


def _with_encoding(part: Part, encoding: str) -> Part:
    new = _copy(part)
    if _CTE in new:
        new.replace_header(_CTE, encoding)
    else:
        new[_CTE] = encoding
    return new


def _copy(part: Part) -> Part:
    """Return a copy with headers of its own; the payload is shared until it is set."""
    new: Any = copy.copy(part)
    new._headers = list(new._headers)
    return cast("Part", new)


def _raw_payload(part: Any) -> Any:
    """Return the payload as it is kept: get_payload() would decode bytes above 127."""
    return part._payload
