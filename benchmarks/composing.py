"""A process that composes a large mail, and says how its memory grew.

It is ``python -m benchmarks.composing``. What is composed, and how, is here for
``benchmarks.compose`` as well.
"""

from __future__ import annotations

import argparse
import email.policy
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import django
from django.conf import settings

from benchmarks.large import peak, start_anew

if not settings.configured:
    settings.configure()

from django.core.mail import EmailMessage, EmailMultiAlternatives

from django_smtpx.compose import compose
from django_smtpx.mailer import Mailer

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTE = 1_000_000
SENDER = "Shop <shop@example.com>"
TEXT = "Hello Jane,\n\nyour order is on its way.\n\n-- \nThe shop\n"
HTML = "<p>Hello Jane, your order is on its way, and will soon arrive.</p>\n" * 46
MAILER = Mailer(name="default", hosts=())


def text() -> EmailMessage:
    """Return a short text."""
    return EmailMultiAlternatives("Your order", TEXT, SENDER, ["Jane Doe <jane@example.com>"])


def html() -> EmailMessage:
    """Return a text with 3 KB of HTML beside it."""
    mail = EmailMultiAlternatives("Your order", TEXT, SENDER, ["Jane Doe <jane@example.com>"])
    mail.attach_alternative(HTML, "text/html")
    return mail


def attachment(data: bytes = bytes(range(256)) * 20) -> EmailMessage:
    """Return a text with a file, of 5 KB if nothing else is said."""
    mail = text()
    mail.attach("invoice.pdf", data, "application/pdf")
    return mail


def more_headers() -> EmailMessage:
    """Return a text with headers of its own."""
    mail = text()
    mail.reply_to = ["help@example.com"]
    mail.extra_headers = {
        "List-Unsubscribe": "<https://example.com/unsubscribe/0123456789abcdef0123456789abcdef>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Auto-Submitted": "auto-generated",
        "X-Campaign": "winter",
    }
    return mail


def not_ascii() -> EmailMessage:
    """Return a text with HTML, a subject, and names that are not ASCII."""
    mail = EmailMultiAlternatives(
        "Ihre Bestellung ist unterwegs: schöne Grüße aus München",
        TEXT.replace("order", "Bestellung für Jürgen Groß"),
        "Müller & Söhne <shop@example.com>",
        ["Jürgen Groß <jane@example.com>"],
    )
    mail.attach_alternative(HTML.replace("soon", "früh"), "text/html")
    return mail


MAILS: dict[str, Callable[[], EmailMessage]] = {
    "text": text,
    "text and HTML": html,
    "text and a file": attachment,
    "text, more headers": more_headers,
    "text and HTML, not ASCII": not_ascii,
}


def ours(mail: EmailMessage) -> bytes:
    """Return what is stored: addresses, wishes and all."""
    composed = compose(mail, MAILER, datetime.now(UTC))
    assert composed is not None
    return composed.content


def djangos(mail: EmailMessage) -> bytes:
    """Return what Django's own backend would send."""
    if django.VERSION >= (6, 0):
        return mail.message(policy=email.policy.SMTP).as_bytes()
    return mail.message().as_bytes()


COMPOSERS = {"django_smtpx": ours, "Django": djangos}


def seconds_each(compose_one: Callable[[EmailMessage], bytes], mails: list[EmailMessage]) -> float:
    """Return the CPU time that a mail takes."""
    started = time.process_time()
    for mail in mails:
        compose_one(mail)
    return (time.process_time() - started) / len(mails)


def main() -> None:
    """Compose a mail with a large file, after one with a small file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("composer", choices=COMPOSERS)
    parser.add_argument("--megabytes", type=int, required=True)
    options = parser.parse_args()
    compose_one = COMPOSERS[options.composer]
    compose_one(attachment())
    mail = attachment(os.urandom(options.megabytes * MEGABYTE))
    start_anew()
    before = peak()
    octets = len(compose_one(mail))
    print(json.dumps({"growth": peak() - before, "octets": octets}))


if __name__ == "__main__":
    main()
