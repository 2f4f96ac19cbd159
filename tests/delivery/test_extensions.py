"""Extensions that a mailer or a message asks for, from the message's attributes to the wire."""

from __future__ import annotations

import pytest
from django.core import mail

from django_smtpx.models import Attempt, Delivery
from django_smtpx.testing import (
    KEYWORDS,
    Close,
    ScriptedServer,
    deliver,
    make_certificate,
    real_queue,
)

pytestmark = pytest.mark.django_db

MODES = ["queue", "now"]


def send(mode: str, **attributes):
    """Send a mail with attributes; return its row."""
    message = mail.EmailMessage("Subject", "Text", "me@example.com", ["you+tag@example.net"])
    for name, value in attributes.items():
        setattr(message, name, value)
    message.send()
    if mode == "queue":
        deliver()
    return message.smtpx


@pytest.mark.parametrize("mode", MODES)
def test_status_notifications(mode):
    """With dsn the server is asked to report, under the message's UUID."""
    with (
        ScriptedServer(keywords=[*KEYWORDS, "DSN"]) as server,
        real_queue(server, mode=mode, dsn=True),
    ):
        row = send(mode)
        (taken,) = server.messages
    assert {"RET=HDRS", f"ENVID={row.uuid}"} <= set(taken.mail_params)
    assert taken.rcpt_params == (
        ("NOTIFY=SUCCESS,FAILURE,DELAY", "ORCPT=rfc822;you+2Btag@example.net"),
    )


@pytest.mark.parametrize("mode", MODES)
def test_status_notifications_that_the_server_does_not_know(mode):
    """A server without DSN gets the mail all the same."""
    with ScriptedServer() as server, real_queue(server, mode=mode, dsn=True):
        send(mode)
        (taken,) = server.messages
    assert taken.rcpt_params == ((),)
    assert not [param for param in taken.mail_params if param.startswith(("RET", "ENVID"))]


@pytest.mark.parametrize("mode", MODES)
def test_required_tls(mode, tmp_path):
    """A message that requires TLS says so to a server that promises it."""
    certificate = make_certificate(tmp_path)
    server = ScriptedServer(keywords=[*KEYWORDS, "REQUIRETLS"], ssl_context=certificate.ssl_context)
    with (
        server,
        real_queue(server, mode=mode, security="starttls", ca_file=certificate.ca_file),
    ):
        send(mode, require_tls=True)
        send(mode)
        first, second = server.messages
    assert "REQUIRETLS" in first.mail_params
    assert "REQUIRETLS" not in second.mail_params


def test_required_tls_that_the_server_does_not_promise(tmp_path):
    """Without the promise nothing is sent, and the row says what is missing."""
    certificate = make_certificate(tmp_path)
    server = ScriptedServer(ssl_context=certificate.ssl_context)
    with (
        server,
        real_queue(server, security="starttls", ca_file=certificate.ca_file),
    ):
        send("queue", require_tls=True)
        assert not server.messages
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.category, attempt.phase) == ("failed", "unsupported", "mail")
    assert attempt.command == "MAIL"
    assert attempt.code is None
    assert Delivery.objects.get().status == "failed"


@pytest.mark.parametrize("mode", MODES)
def test_chunks(mode):
    """Where the server takes BDAT the content goes by it, and the attempt says so."""
    with ScriptedServer(chunking=True) as server, real_queue(server, mode=mode):
        row = send(mode)
        (taken,) = server.messages
    assert (taken.verb, taken.content) == ("BDAT", row.content)
    assert Attempt.objects.get().command == "BDAT"


def test_chunks_switched_off():
    """With chunking=False it goes by DATA."""
    with ScriptedServer(chunking=True) as server, real_queue(server, chunking=False):
        send("queue")
        assert [taken.verb for taken in server.messages] == ["DATA"]


def test_window():
    """With a window, many mails arrive, each once, and each attempt is booked on its own."""
    with ScriptedServer(chunking=True) as server, real_queue(server, chunking_window=5):
        for number in range(45):
            mail.EmailMessage(f"{number}", "x", "me@example.com", [f"{number}@example.net"]).send()
        deliver()
        taken = [message.recipients for message in server.messages]
    assert sorted(taken) == sorted((f"{number}@example.net",) for number in range(45))
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}
    assert Attempt.objects.count() == 45


def test_window_lost():
    """Contents that had left and got no answer are unknown, each of them; the others are sent."""
    script = {"EOD": [None, None, Close()]}
    with (
        ScriptedServer(script, chunking=True) as server,
        real_queue(server, chunking_window=5, on_unknown="hold"),
    ):
        for number in range(12):
            mail.EmailMessage(f"{number}", "x", "me@example.com", [f"{number}@example.net"]).send()
        deliver()
        taken = {message.recipients[0] for message in server.messages}
    status = dict(Delivery.objects.values_list("recipient", "status"))
    unknown = {recipient for recipient, value in status.items() if value == "unknown"}
    assert 1 <= len(unknown) <= 5
    assert set(status.values()) == {"sent", "unknown"}
    assert set(status) - unknown <= taken


@pytest.mark.parametrize("mode", MODES)
def test_tls_not_required(mode, tmp_path):
    """A message that says TLS-Required: No goes over TLS that does not verify, and it alone."""
    certificate = make_certificate(tmp_path, expired=True)
    with (
        ScriptedServer(ssl_context=certificate.ssl_context) as server,
        real_queue(server, mode="queue", security="starttls", ca_file=certificate.ca_file),
    ):
        headers = {"TLS-Required": "No"}
        for to, extra in [("first", headers), ("second", {})]:
            mail.EmailMessage(
                to, "x", "me@example.com", [f"{to}@example.net"], headers=extra
            ).send()
        deliver()
        (taken,) = server.messages
    assert taken.recipients == ("first@example.net",)
    assert taken.tls
    status = dict(Delivery.objects.values_list("recipient", "status"))
    assert status == {"first@example.net": "sent", "second@example.net": "deferred"}
    refused, sent = Attempt.objects.filter(delivery__recipient="first@example.net").order_by(
        "number"
    )
    assert (refused.category, refused.phase, refused.tls_verified_by) == (
        "tls_error",
        "starttls",
        "",
    )
    assert (sent.outcome, sent.tls_verified_by) == ("sent", "")
    assert sent.tls.startswith("TLSv1")


def test_tls_not_required_with_a_login(tmp_path):
    """A credential is not shown to a server that is not verified, whatever the message says."""
    certificate = make_certificate(tmp_path, expired=True)
    login = {"username": "u", "password": "p"}
    with (
        ScriptedServer(ssl_context=certificate.ssl_context, users={"u": "p"}) as server,
        real_queue(server, security="starttls", ca_file=certificate.ca_file, **login),
    ):
        message = mail.EmailMessage("s", "x", "me@example.com", ["you@example.net"])
        message.extra_headers["TLS-Required"] = "No"
        message.send()
        deliver()
        assert not server.messages
        (session,) = server.sessions
        assert [command.verb for command in session.commands] == ["EHLO", "STARTTLS"]
    assert Delivery.objects.get().status == "deferred"


@pytest.mark.parametrize("mode", MODES)
def test_limits_of_the_server(mode):
    """More recipients than the server announced to take go in further transactions, untried."""
    to = [f"{number}@example.net" for number in range(25)]
    with (
        ScriptedServer(limits={"RCPTMAX": 10}, rcpt_limit=10) as server,
        real_queue(server, mode=mode),
    ):
        mail.EmailMessage("s", "x", "me@example.com", to).send()
        deliver()
        taken = [message.recipients for message in server.messages]
    assert [len(recipients) for recipients in taken] == [10, 10, 5]
    assert sorted(sum(taken, ())) == sorted(to)
    assert set(Delivery.objects.values_list("status", "attempt_count")) == {("sent", 1)}


@pytest.mark.parametrize("mode", MODES)
def test_transactions_of_a_connection(mode):
    """A connection carries no more mails than the server announced to take over it."""
    with ScriptedServer(limits={"MAILMAX": 2}) as server, real_queue(server, mode=mode):
        for number in range(5):
            mail.EmailMessage("s", "x", "me@example.com", [f"{number}@example.net"]).send()
        deliver()
        assert [len(session.messages) for session in server.sessions] == [2, 2, 1]
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}
