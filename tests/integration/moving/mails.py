"""What is queued on each of the other backends, and what of a mail has to arrive.

``python -m tests.integration.moving.mails ACTION`` calls one of these in a process of the site, and
prints what it returns as JSON.
"""

from __future__ import annotations

import base64
import json
import logging
import sys
from datetime import timedelta
from email import message_from_bytes, policy
from email.mime.image import MIMEImage
from typing import Any

PDF = bytes(range(256)) * 40
_HEADERS = ("From", "To", "Cc", "Reply-To", "Subject", "X-Order", "List-Unsubscribe", "Expires")


def essence(content: bytes) -> dict[str, Any]:
    """Return what a reader gets of a mail: headers, and each part with its bytes."""
    mail = message_from_bytes(content, policy=policy.default)
    headers = {name: str(mail[name]) for name in _HEADERS if mail[name] is not None}
    parts = [
        [
            part.get_content_type(),
            part.get_filename(),
            part["Content-ID"],
            _payload(part),
        ]
        for part in mail.walk()
        if not part.is_multipart()
    ]
    given = mail["Message-ID"] if "@site.example>" in str(mail["Message-ID"]) else None
    return {"headers": headers, "parts": parts, "message_id": given, "bcc": mail["Bcc"]}


def _payload(part: Any) -> str:
    data = part.get_payload(decode=True)
    if part.get_content_maintype() == "text":
        # Line ends on the wire are CRLF, and how a text ends is the transfer encoding's business.
        data = data.replace(b"\r\n", b"\n").rstrip(b"\n")
    return base64.b64encode(data).decode()


def corpus() -> list[Any]:
    """Return messages as a site sends them, each with a subject of its own."""
    from django.core.mail import EmailMessage, EmailMultiAlternatives

    plain = EmailMessage(
        "Order 17",
        "Thank you.\nIt is on its way.\n.\n",
        "Shop <shop@example.com>",
        ["Ann <ann@example.net>", "ben@example.org"],
        bcc=["books@example.com"],
        cc=["cy@example.net"],
        reply_to=["help@example.com"],
        headers={"X-Order": "17", "Message-ID": "<17@site.example>"},
    )
    html = EmailMultiAlternatives(
        "Grüße aus Köln", "Schöne Grüße\n", "Käthe <k@example.com>", ["dora@example.net"]
    )
    html.attach_alternative("<p>Schöne <b>Grüße</b></p>", "text/html")
    html.attach("invoice.pdf", PDF, "application/pdf")
    html.attach("notes.txt", "Äpfel und Birnen\n", "text/plain")
    inline = EmailMultiAlternatives(
        "A picture", "See below.", "shop@example.com", ["eve@example.net"]
    )
    inline.attach_alternative('<img src="cid:logo">', "text/html")
    image = MIMEImage(b"\x89PNG\r\n\x1a\n" + PDF, "png")
    image["Content-ID"] = "<logo>"
    image["Content-Disposition"] = 'inline; filename="logo.png"'
    inline.attach(image)
    hidden = EmailMessage("To nobody seen", "Hidden.", "a@example.com", bcc=["flo@example.net"])
    return [plain, html, inline, hidden]


def expected(email: Any, *, later: Any = None, priority: int = 0) -> dict[str, Any]:
    """Return what is to arrive of a message that the other backend would send as it is."""
    return {
        "recipients": sorted(_bare(one) for one in email.recipients()),
        "essence": essence(email.message().as_bytes()),
        "later": later.isoformat() if later else None,
        "priority": priority,
    }


def _bare(address: str) -> str:
    from email.utils import parseaddr

    return parseaddr(address)[1]


def send_corpus() -> list[dict[str, Any]]:
    """Send the corpus by whatever backend there is."""
    for email in corpus():
        email.send()
    return [expected(email) for email in corpus()]


def send_one(subject: str) -> list[dict[str, Any]]:
    """Send one more mail by whatever backend there is."""
    from django.core.mail import EmailMessage

    email = EmailMessage(subject, "One more.", "shop@example.com", ["new@example.net"])
    email.send()
    return [expected(email)]


def queue_post_office() -> list[dict[str, Any]]:
    """Queue the corpus, and what else its queue can hold; send one mail by its own command."""
    from django.core.management import call_command
    from django.utils import timezone
    from post_office import mail
    from post_office.models import STATUS, Email, EmailTemplate

    call_command("migrate", verbosity=0)
    now = timezone.now()
    sent = send_one("Sent by post_office")
    call_command("send_queued_mail", processes=1)
    send_corpus()
    soon = now + timedelta(hours=3)
    ends = now + timedelta(days=2)
    template = EmailTemplate.objects.create(
        name="hello",
        subject="Hello {{ name }}",
        content="Dear {{ name }}",
        html_content="<b>{{ name }}</b>",
    )
    some: dict[str, Any] = {"sender": "shop@example.com", "recipients": ["gus@example.net"]}
    mail.send(**some, subject="Later", message="In time.", scheduled_time=soon, priority="low")
    mail.send(**some, subject="Urgent", message="Now!", expires_at=ends, priority="high")
    mail.send(**some, template=template, context={"name": "Gus"}, render_on_delivery=True)
    again = mail.send(**some, subject="Tried once", message="Again.", headers={"X-Order": "18"})
    Email.objects.filter(pk=again.pk).update(
        status=STATUS.requeued, scheduled_time=now - timedelta(minutes=1), number_of_retries=1
    )
    due = Email.objects.filter(status__in=[STATUS.queued, STATUS.requeued]).order_by("pk")
    queued = [
        expected(
            row.email_message(),
            later=row.scheduled_time if row.scheduled_time and row.scheduled_time > now else None,
            priority=row.priority - 1,
        )
        for row in due
    ]
    # What it would not send, and what it cannot make.
    mail.send(**some, subject="Too late", message="Old.", expires_at=now - timedelta(days=1))
    failed = mail.send(**some, subject="Failed", message="Failed.")
    Email.objects.filter(pk=failed.pk).update(status=STATUS.failed)
    return sent + queued


def queue_many(count: str) -> None:
    """Queue so many mails, with django_smtpx beside, and send none."""
    from django.core.management import call_command
    from post_office.models import STATUS, Email

    call_command("migrate", verbosity=0)
    some: dict[str, Any] = {"from_email": "a@example.com", "to": ["b@example.net"], "priority": 1}
    Email.objects.bulk_create(
        Email(subject=f"Mail {number}", status=STATUS.queued, **some)
        for number in range(int(count))
    )


def left_in_post_office() -> dict[str, Any]:
    """Queue a mail whose backend is no mailer here; return its number, and what is said of it."""
    from io import StringIO

    from django.core.management import CommandError, call_command
    from post_office.models import STATUS, Email

    row = Email.objects.create(
        from_email="a@example.com", to=["b@example.net"], status=STATUS.queued, priority=1
    )
    Email.objects.filter(pk=row.pk).update(backend_alias="ses")
    out = StringIO()
    try:
        call_command("smtpx_import", "post_office", stdout=out, stderr=StringIO())
    except CommandError as error:
        return {"id": row.pk, "said": out.getvalue(), "error": str(error)}
    raise AssertionError(out.getvalue())


def send_after_post_office() -> list[dict[str, Any]]:
    """Send with Django's function and with post_office's own, after the settings changed."""
    from post_office import mail

    row = mail.send(
        "new@example.net", "shop@example.com", template="hello", context={"name": "You"}
    )
    return [*send_one("New"), expected(row.email_message())]


def queue_django_mailer() -> list[dict[str, Any]]:
    """Queue the corpus, and what else its queue can hold; send one mail by its own command."""
    import mailer
    from django.core.management import call_command
    from mailer.models import PRIORITY_DEFERRED, PRIORITY_HIGH, PRIORITY_LOW, Message

    call_command("migrate", verbosity=0)
    sent = send_one("Sent by mailer")
    call_command("send_mail")
    send_corpus()
    for subject, priority in (("High", PRIORITY_HIGH), ("Low", PRIORITY_LOW)):
        mailer.send_mail(subject, "Text.", "shop@example.com", ["hal@example.net"], priority)
    mailer.send_html_mail("HTML", "Text.", "<b>Text.</b>", "shop@example.com", ["ida@example.net"])
    send_one("Deferred")
    Message.objects.filter(pk=Message.objects.latest("pk").pk).update(priority=PRIORITY_DEFERRED)
    queued = [
        expected(row.email, priority=0 if row.priority == PRIORITY_DEFERRED else 2 - row.priority)
        for row in Message.objects.order_by("pk")
    ]
    send_one("Given up")
    last = Message.objects.latest("pk")
    Message.objects.filter(pk=last.pk).update(priority=PRIORITY_DEFERRED, retry_count=5)
    return sent + queued


def queue_celery_email() -> list[dict[str, Any]]:
    """Put the corpus into the broker."""
    from django.core.management import call_command
    from djcelery_email.utils import dict_to_email, email_to_dict

    call_command("migrate", verbosity=0)
    send_corpus()
    return [expected(dict_to_email(email_to_dict(email))) for email in corpus()]


def stored() -> list[dict[str, Any]]:
    """Return what is stored here, in the order in which it was."""
    from django_smtpx.models import Message

    return [
        {
            "subject": message.subject,
            "recipients": sorted(message.deliveries.values_list("recipient", flat=True)),
            "statuses": sorted(set(message.deliveries.values_list("status", flat=True))),
            "essence": essence(bytes(message.content or b"")),
            "later": message.send_at.isoformat() if message.send_at else None,
            "priority": message.priority,
            "metadata": message.metadata,
        }
        for message in Message.objects.order_by("pk")
    ]


def main(action: str, *arguments: str) -> None:
    """Call a function of this module."""
    import django

    django.setup()
    logging.disable()
    out = globals()[action](*arguments)
    sys.stdout.write("\n" + json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
