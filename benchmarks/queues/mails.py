"""The messages that each queue is given: 3 KB of text and HTML to one recipient, no two alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.core.mail import EmailMultiAlternatives, get_connection, send_mail

if TYPE_CHECKING:
    from collections.abc import Iterator

SENDER = "Ein Händler <sender@example.com>"
LINES = 14
LINE = "Order {number}, item {line}: the quick brown fox, once more, for 12.50 €."
TEXT = "Dear customer {number},\n\n{lines}\n\nYours,\nExample & Co.\n"
HTML = (
    "<html><body><p>Dear customer {number},</p><ul>{lines}</ul>"
    "<p>Yours,<br>Example &amp; Co.</p></body></html>\n"
)


class Mail(NamedTuple):
    """What an application has in its hands before it calls Django."""

    subject: str
    text: str
    html: str
    recipient: str

    def send(self) -> None:
        """Send it on its own, as most mail of most sites is sent."""
        send_mail(self.subject, self.text, SENDER, [self.recipient], html_message=self.html)

    def message(self) -> EmailMultiAlternatives:
        """Return it as one of many."""
        message = EmailMultiAlternatives(self.subject, self.text, SENDER, [self.recipient])
        message.attach_alternative(self.html, "text/html")
        return message


def mails(first: int, count: int) -> Iterator[Mail]:
    """Make ``count`` mails, numbered from ``first``."""
    for number in range(first, first + count):
        lines = [LINE.format(number=number, line=line) for line in range(LINES)]
        items = "\n".join(f"<li>{line}</li>" for line in lines)
        yield Mail(
            f"Your order {number} is on its way",
            TEXT.format(number=number, lines="\n".join(lines)),
            HTML.format(number=number, lines=items),
            f"customer{number}@example.net",
        )


def send_one_by_one(many: list[Mail]) -> None:
    """Call ``send_mail()`` for each."""
    for mail in many:
        mail.send()


def send_together(many: list[Mail]) -> None:
    """Call ``send_messages()`` once."""
    get_connection().send_messages([mail.message() for mail in many])
