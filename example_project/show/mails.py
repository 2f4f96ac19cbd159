"""The 200 mails: as varied as those of a real site, to recipients whose names say their fate."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail
from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNT = 200
SENDER = "Boutique Ætherisch <shop@example.com>"

# What happens to every so many-th mail; the first that fits decides. See server.py.
_FATES = (
    (17, "hangup"),
    (41, "busy"),
    (37, "cut"),
    (23, "spam"),
    (11, "gone"),
    (9, "full"),
    (5, "grey"),
)


def send_all() -> Iterator[int]:
    """Send the mails through Django's own functions; yields how many were sent so far."""
    for number in range(1, COUNT + 1):
        _KINDS[number % len(_KINDS)](number, _recipient(number))
        yield number


def _recipient(number: int) -> str:
    fate = next((fate for every, fate in _FATES if number % every == 0), "customer")
    return f"{fate}-{number:03}@example.com"


def _plain(number: int, to: str) -> None:
    send_mail(f"Order {number} received", f"Thank you!\n\nYour order: {number}\n", SENDER, [to])


def _html(number: int, to: str) -> None:
    send_mail(
        f"Rechnung Nr. {number} über 12 €",
        "Grüße aus Köln",
        SENDER,
        [f"Frau Müller <{to}>"],
        html_message="<p>Grüße aus <b>Köln</b></p>",
    )


def _attachment(number: int, to: str) -> None:
    mail = EmailMessage(f"Your ticket {number}", "See the attachment.\n", SENDER, [to])
    mail.attach(f"ticket-{number}.pdf", b"%PDF-1.4\n" + bytes(range(256)) * 20, "application/pdf")
    mail.attach("приглашение.txt", "До встречи!\n", "text/plain")
    mail.tags = ["ticket"]
    mail.send()


def _alternatives(number: int, to: str) -> None:
    mail = EmailMultiAlternatives(
        f"今週のお知らせ {number}",
        "お知らせです。\n",
        SENDER,
        [to],
        bcc=[f"archive-{number:03}@example.com"],
    )
    mail.attach_alternative("<h1>お知らせ</h1>" + "<p>…</p>" * 300, "text/html")
    mail.priority = -1
    mail.metadata = {"newsletter": number}
    mail.send()


def _dots_and_long_lines(number: int, to: str) -> None:
    body = f".\n..\n.dot at the start\n{'long ' * 400}\nFrom here on\n"
    EmailMessage(f"Odd text {number}", body, SENDER, [to], reply_to=["help@example.com"]).send()


def _to_many(number: int, to: str) -> None:
    others = [f"team-{number:03}-{member}@example.com" for member in "abc"]
    EmailMessage(f"Minutes {number}", "Attached.\n", SENDER, [to, *others], cc=others[:1]).send()


def _international(number: int, to: str) -> None:
    mail = EmailMessage(
        f"Πρόσκληση {number}", "Γειά σου\n", SENDER, [to, f"info-{number}@bücher.example"]
    )
    mail.envelope_sender = "bounces@example.com"
    mail.send()


def _later(number: int, to: str) -> None:
    mail = EmailMessage(f"Reminder {number}", "In a second.\n", SENDER, [to])
    mail.send_at = timezone.now() + timedelta(seconds=1)
    mail.send()


def _careful(number: int, to: str) -> None:
    mail = EmailMessage(f"Contract {number}", "Never twice.\n", SENDER, [to])
    mail.mailer = "careful"
    mail.idempotency_key = f"contract-{number}"
    mail.send()


_KINDS: tuple[Callable[[int, str], None], ...] = (
    _plain,
    _html,
    _attachment,
    _alternatives,
    _dots_and_long_lines,
    _to_many,
    _international,
    _later,
    _careful,
)
