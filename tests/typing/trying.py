"""A site's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from django.core.mail import send_mail

from django_smtpx.models import Delivery
from django_smtpx.testing import (
    Certificate,
    Close,
    Conversation,
    ReceivedMessage,
    ReceivedSession,
    Reply,
    ScriptedServer,
    deliver,
    make_certificate,
    real_queue,
)

if TYPE_CHECKING:
    from pathlib import Path

    from django_smtpx.testing.fixtures import MailOutbox


def greylisted(conversation: Conversation, argument: str) -> Reply:
    """Put off whoever asks."""
    return Reply("450 4.7.1 Greylisted", then=Close())


def check_receipt(mail_outbox: MailOutbox, tmp_path: Path) -> None:
    """Send through the real queue to a real server."""
    certificate = make_certificate(tmp_path)
    assert_type(certificate, Certificate)
    with (
        ScriptedServer(
            {"RCPT": {"nobody@*": "550 5.1.1 No such user", "*": [greylisted, None]}},
            ssl_context=certificate.ssl_context,
        ) as server,
        real_queue(server, mode="queue", mailers={"bulk": {"priority": 1}}),
    ):
        send_mail("S", "B", "me@example.com", ["you@example.com"])
        assert_type(deliver("default"), int)
        assert_type(server, ScriptedServer)
        assert_type(server.messages, tuple[ReceivedMessage, ...])
        assert_type(server.sessions, tuple[ReceivedSession, ...])
        assert_type(server.messages[0].content, bytes)
        assert_type(server.port, int)
    assert_type(mail_outbox.by_recipient("you@example.com"), list[Delivery])
    assert_type(mail_outbox.server, ScriptedServer)


@real_queue(host="127.0.0.1")
def check_decorated(number: int) -> str:
    """Keep one's own type as a decorated function."""
    return str(number)
