"""A thousand mails, no two alike: what sites send, and what the standard library's tests found strange.

Message ``n`` is the same at each run. The strange ones come from ``test/test_email/data`` of the
running Python, where that is installed; each goes out as a forwarded mail (its parts taken apart
and put together anew), as a ``message/rfc822`` attachment and as a text.
"""

from __future__ import annotations

import email
import email.policy
import random
import re
from email.errors import MessageError
from email.mime.image import MIMEImage
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.core.mail import EmailMessage, EmailMultiAlternatives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage as ParsedMessage

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\x85]+|[\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")

NAMES = (
    "",
    "Anna",
    "Jürgen Müller",
    "O'Hara, Maureen",
    'The "Boss"',
    "小林 太郎",
    "Łukasz Żółć",
    "مريم",
    "Ωmega (the last)",
    "🦉 Night Desk",
    "A very long display name that has to be folded over more than one line of the header " * 2,
)
LOCAL_PARTS = ("a", "anna.o'hara", "user+tag", "x" * 64, "_", "0", "do-not-reply", '"two words"')
DOMAINS = (
    "example.com",
    "example.net",
    "bücher.example",
    "例え.テスト",
    "sub.domain.with.many.labels.example.org",
    "xn--bcher-kva.example",
)
SUBJECTS = (
    "Hello",
    "",
    " ",
    "Grüße aus Köln",
    "ご注文の確認",
    "Re: Re: Fwd: [list] =?utf-8?q?not_encoded?=",
    "🦉" * 40,
    "word " * 60,
    "x" * 400,
    "a: b; c, <d> (e)",
    "=?",
)
LINES = (
    "",
    ".",
    "..",
    ".hidden",
    "...",
    ". .",
    "From here on",
    ">From there",
    "trailing spaces   ",
    "a tab\tinside\t",
    "--boundary",
    "--",
    "-- ",
    "=3D=20=",
    "Grüße, Ελλάδα, привет, こんにちは, שלום, 🦉",
    "\u2028 line separator and \x85 next line and \x0c form feed",
    "x" * 75,
    "x" * 76,
    "x" * 77,
    "y" * 997,
    "y" * 998,
    "y" * 999,
    "z" * 5000,
    "ü" * 600,
    "word " * 500,
    "<p>Dear customer,</p>",
    "e\u0301 is not é",
    "\ufeffa byte order mark",
    "QUIT",
    "RSET\r",
    "250 ok",
)


def messages(count: int) -> Iterator[EmailMessage]:
    """Yield ``count`` messages, none of them sent yet."""
    strange = _strange()
    for number in range(count):
        rand = random.Random(number)
        message = _from_stranger(number, strange) if number < 3 * len(strange) else _generated(rand)
        _address(message, rand, number)
        yield message


@cache
def _strange() -> tuple[bytes, ...]:
    """Return the standard library's own test mails, or nothing."""
    try:
        package = import_module("test.test_email")
    except ImportError:
        return ()
    data = Path(str(package.__file__)).parent / "data"
    return tuple(path.read_bytes() for path in sorted(data.glob("msg_*.txt")))


def _from_stranger(number: int, strange: tuple[bytes, ...]) -> EmailMessage:
    source = strange[number // 3]
    parsed: Any = email.message_from_bytes(source, policy=email.policy.default)
    subject = _header(parsed, "subject")
    if number % 3 == 0:
        return _forwarded(parsed, subject)
    if number % 3 == 1:
        message = EmailMessage(subject, "The mail is attached.\n")
        message.attach("strange.eml", source, "application/octet-stream")
        message.attach(None, email.message_from_bytes(source), "message/rfc822")
        return message
    return EmailMessage(subject, source.decode("utf-8", "replace"))


def _header(parsed: ParsedMessage, name: str) -> str:
    """Return one header as a person could have typed it: on one line, without control characters."""
    try:
        value = str(parsed.get(name, ""))
    except (MessageError, ValueError, IndexError, TypeError, AttributeError):
        return ""
    return _CONTROL.sub(" ", value)


def _forwarded(parsed: ParsedMessage, subject: str) -> EmailMessage:
    """Put a mail together from the parts of another one."""
    message = EmailMultiAlternatives(subject, "")
    for name in ("X-Mailer", "Mime-Version-Was", "References", "Organization", "Received"):
        if value := _header(parsed, name):
            message.extra_headers[name] = value
    for part in parsed.walk():
        if part.is_multipart():
            continue
        data = part.get_payload(decode=True) or b""
        text = data.decode("utf-8", "replace")
        kind = part.get_content_type()
        if kind == "text/plain" and not message.body:
            message.body = text
        elif kind == "text/html":
            message.attach_alternative(text, "text/html")
        else:
            name = _CONTROL.sub("", _SURROGATE.sub("", part.get_filename() or "")) or None
            message.attach(name, data, "application/octet-stream")
    return message


def _text(rand: random.Random, most: int = 30) -> str:
    lines = rand.choices(LINES, k=rand.randint(0, most))
    return rand.choice(("\n", "\n", "\n", "\r\n")).join(lines) + rand.choice(("", "\n", "\n\n"))


def _generated(rand: random.Random) -> EmailMessage:
    make: Callable[[random.Random], EmailMessage] = rand.choice(
        (_plain, _plain, _charset, _html, _html_only, _attachments, _inline, _forward)
    )
    message = make(rand)
    message.subject = rand.choice([text for text in SUBJECTS if _fits(text, message.encoding)])
    for name, value in (
        ("X-Long", "word " * 300),
        ("X-Unbroken", "u" * 900),
        ("X-Text", "Grüße 🦉"),
        ("List-Unsubscribe", "<https://example.com/unsubscribe?a=b>, <mailto:u@example.com>"),
        ("Received", "from there by here; Mon, 1 Jan 2024 00:00:00 +0000"),
        ("Return-Path", "<elsewhere@example.com>"),
        ("Delivered-To", "somebody@example.com"),
        ("Content-Length", "3"),
        ("Precedence", "bulk"),
        ("Date", "Fri, 09 Nov 2001 01:08:47 -0000"),
    ):
        if rand.random() < 0.12 and _fits(value, message.encoding):
            message.extra_headers[name] = value
    return message


def _plain(rand: random.Random) -> EmailMessage:
    return EmailMessage("", _text(rand))


def _charset(rand: random.Random) -> EmailMessage:
    message = EmailMessage("", "Grüße aus Köln, à bientôt\n.\n" * rand.randint(1, 50))
    message.encoding = rand.choice(("iso-8859-1", "utf-8", "windows-1252"))
    return message


def _html(rand: random.Random) -> EmailMessage:
    message = EmailMultiAlternatives("", _text(rand))
    message.attach_alternative(f"<html><body>{_text(rand)}</body></html>", "text/html")
    if rand.random() < 0.3:
        message.attach_alternative("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "text/calendar")
    return message


def _html_only(rand: random.Random) -> EmailMessage:
    message = EmailMessage("", f"<p>{_text(rand)}</p>")
    message.content_subtype = "html"
    return message


def _attachments(rand: random.Random) -> EmailMessage:
    message = EmailMultiAlternatives("", _text(rand, 5))
    for _ in range(rand.randint(1, 4)):
        kind = rand.randrange(6)
        if kind == 0:
            message.attach("empty.bin", b"", "application/octet-stream")
        elif kind == 1:
            message.attach("data.bin", rand.randbytes(rand.randint(1, 100_000)))
        elif kind == 2:
            message.attach("été — résumé.txt", _text(rand), "text/plain")
        elif kind == 3:
            message.attach("latin.txt", "Grüße\r\n.\r\n".encode("latin-1"), "text/plain")
        elif kind == 4:
            message.attach("report.csv", "a;b\n1;2\n" * 500, "text/csv")
        else:
            message.attach(None, b"%PDF-1.4 not really\n.\n", "application/pdf")
    return message


def _inline(rand: random.Random) -> EmailMessage:
    message = EmailMultiAlternatives("", _text(rand, 5))
    message.attach_alternative('<img src="cid:owl">', "text/html")
    data = b"\x89PNG\r\n\x1a\n" + rand.randbytes(3000)
    if django.VERSION >= (6, 0):
        from email.message import MIMEPart

        part = MIMEPart()
        part.set_content(data, maintype="image", subtype="png", disposition="inline", cid="<owl>")
        message.attach(part)
    else:
        image = MIMEImage(data, _subtype="png")
        image.add_header("Content-ID", "<owl>")
        image.add_header("Content-Disposition", "inline", filename="owl.png")
        message.attach(image)
    return message


def _forward(rand: random.Random) -> EmailMessage:
    message = EmailMessage("", _text(rand, 3))
    inner = EmailMessage(
        rand.choice(SUBJECTS), _text(rand), "inner@example.com", ["other@example.com"]
    )
    message.attach("forwarded.eml", inner.message(), "message/rfc822")
    return message


def _address(message: EmailMessage, rand: random.Random, number: int) -> None:
    """Give a message its sender, its recipients, and now and then a Message-ID of its own."""
    message.from_email = _mailbox(rand, message.encoding)
    message.to = [_mailbox(rand, message.encoding) for _ in range(rand.randint(1, 3))]
    if rand.random() < 0.2:
        message.cc = [_mailbox(rand, message.encoding)]
    if rand.random() < 0.2:
        message.bcc = [f"hidden-{number}@example.com"]
    if rand.random() < 0.1:
        message.reply_to = [_mailbox(rand, message.encoding), _mailbox(rand, message.encoding)]
    if rand.random() < 0.02:
        message.to = [f"list-{each}@example.org" for each in range(150)]
    if rand.random() < 0.1:
        message.extra_headers["Message-ID"] = f"<number.{number}@ids.example.com>"


def _fits(text: str, encoding: str | None) -> bool:
    """Tell whether a message in ``encoding`` can say ``text``: Django refuses it otherwise."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _mailbox(rand: random.Random, encoding: str | None = None) -> str:
    address = f"{rand.choice(LOCAL_PARTS)}@{rand.choice(DOMAINS)}"
    name = rand.choice([name for name in NAMES if _fits(name, encoding)])
    if not name:
        return address
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>'
