"""The whole way: send(), the outbox, a Celery worker, a real server, a maildir."""

from __future__ import annotations

import base64
import smtplib
import ssl
from collections import Counter
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.postfix import Delivered, Postfix
    from tests.integration.sites import Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

MESSAGES = 1000


def message_id(content: bytes) -> str:
    """Return a mail's Message-ID."""
    return str(BytesHeaderParser().parsebytes(content)["Message-ID"]).strip()


def test_the_server_itself_keeps_every_byte(postfix: Postfix) -> None:
    """What arrives is what was sent, so that a difference in the other tests is our own."""
    content = (
        b"Received: from elsewhere\r\n by here\r\nReturn-Path: <x@example.com>\r\n"
        b"Content-Length: 5\r\nSubject: x\r\nFrom: root\r\nTo: foo\r\nMessage-ID: <1@x>\r\n"
        b"X-Long: " + b"u" * 3000 + b"\r\n\r\n.dot\r\n..\r\n" + b"x" * 9000 + b"\r\nFrom \xff  \r\n"
    )
    trust = ssl.create_default_context(cafile=str(postfix.ca_file))
    plain = base64.b64encode(f"\0{postfix.username}\0{postfix.password}".encode()).decode()
    with smtplib.SMTP_SSL(postfix.host, postfix.smtps, context=trust) as client:
        assert client.docmd("AUTH", f"PLAIN {plain}")[0] == 235
        client.sendmail("a@example.com", ["b@example.net", '"b c"@example.net'], content)
    postfix.settle()
    arrived = {each.recipient: each.content for each in postfix.delivered()}
    assert arrived == {"b@example.net": content, '"b c"@example.net': content}


def test_the_server_takes_no_mail_from_who_has_not_logged_in(postfix: Postfix) -> None:
    """A mail that arrives has been sent with the credential."""
    trust = ssl.create_default_context(cafile=str(postfix.ca_file))
    with (
        smtplib.SMTP_SSL(postfix.host, postfix.smtps, context=trust) as client,
        pytest.raises(smtplib.SMTPRecipientsRefused),
    ):
        client.sendmail("a@example.com", ["b@example.net"], b"Subject: x\r\n\r\nx\r\n")


@pytest.mark.parametrize(
    ("database", "broker"),
    [
        ("sqlite", "filesystem"),
        ("postgres", "redis"),
        ("postgres", "rabbitmq"),
        ("mariadb", "redis"),
    ],
)
def test_every_mail_arrives_once_and_whole(
    postfix: Postfix, make_site: Callable[..., Site], database: str, broker: str
) -> None:
    """A thousand varied mails arrive, each once for each recipient, with the stored bytes."""
    site = make_site(database, broker, postfix.options(implicit=broker == "rabbitmq"))
    with site.worker("prefork", 2):
        sent = site.call("send_corpus", count=MESSAGES)
        statuses = site.call("wait_settled", seconds=240)
    assert sent["messages"] == MESSAGES
    assert statuses == {"sent": sent["recipients"]}
    postfix.settle()
    _check_arrived(site, postfix.delivered())


def _check_arrived(site: Site, arrived: list[Delivered]) -> None:
    """Check that what lies in the maildir is what the rows say was sent."""
    expected = Counter(
        (row["message__message_id"], row["recipient"]) for row in site.call("deliveries")
    )
    contents = {row["message_id"]: base64.b64decode(row["content"]) for row in site.call("stored")}
    assert len(contents) == MESSAGES
    assert Counter((message_id(each.content), each.recipient) for each in arrived) == expected
    different = [each for each in arrived if each.content != contents[message_id(each.content)]]
    assert not different, (
        f"{len(different)} differ; the first: {different[0].content!r}"
        f" instead of {contents[message_id(different[0].content)]!r}"
    )
