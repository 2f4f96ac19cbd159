"""What the transcript of an attempt begins with, and that no secret gets into it."""

from __future__ import annotations

import base64

import pytest
from django.core.mail import EmailMessage

from django_smtpx import delivery, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import course
from django_smtpx.models import Attempt
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import Close, ScriptedServer, deliver, make_certificate, real_queue

pytestmark = pytest.mark.django_db

USER, PASSWORD, TOKEN = "u@example.com", "pa55-w\u00f6rd-of-hers", "ya29.t0ken-of-the-user"
BY_PASSWORD = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"]
BY_TOKEN = ["XOAUTH2", "OAUTHBEARER"]


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


def token():
    """Return what the mailers of these tests log in with."""
    return TOKEN


def send(*to):
    """Queue a mail."""
    EmailMessage("Subject", "Body", "from@example.com", list(to)).send()


def transcripts():
    """Return the transcripts of all attempts."""
    return list(Attempt.objects.values_list("transcript", flat=True))


def as_they_came(server):
    """Return the transcript of each mail with one recipient, in the order that ``server`` had."""
    rows = Attempt.objects.values_list("delivery__recipient", "transcript")
    by_recipient = dict(rows)
    assert len(by_recipient) == len(rows) == len(server.messages)
    return [by_recipient[message.recipients[0]] for message in server.messages]


def said(transcript):
    """Return what the client said, each line up to its first colon."""
    lines = [line.partition("C: ")[2] for line in transcript.splitlines() if "C: " in line]
    return [line.partition(":")[0] for line in lines]


@pytest.mark.parametrize(
    ("policy", "script"),
    [
        ("always", {}),
        ("always", {"RCPT": "550 5.1.1 no"}),
        ("failures", {"RCPT": "550 5.1.1 no"}),
        ("failures", {"EOD": "554 5.6.0 no"}),
        ("failures", {"EOD": Close()}),
    ],
)
def test_the_first_mail_has_the_opening(policy, script):
    """The mail that a connection was made for shows the greeting, and what was said before it."""
    with ScriptedServer(script) as server, real_queue(server, helo="me.example", transcript=policy):
        send("a@example.com", "b@example.com")
        deliver()
    first, second = transcripts()
    assert first == second
    connected, greeting, *_ = first.splitlines()
    assert connected.endswith(f"- connected to 127.0.0.1 [127.0.0.1] port {server.port}")
    assert greeting.endswith("S: 220 scripted.example ESMTP ready")
    assert said(first)[:2] == ["EHLO me.example", "MAIL FROM"]
    assert first.count("EHLO") == 1
    times = [float(line.split()[0]) for line in first.splitlines()]
    assert times == sorted(times)


def test_with_tls_and_a_login(tmp_path):
    """All of an opening is shown: both EHLOs, the handshake between them, and the login."""
    certificate = make_certificate(tmp_path)
    serving = ScriptedServer(ssl_context=certificate.ssl_context, users={USER: PASSWORD})
    login = {"username": USER, "password": PASSWORD, "ca_file": certificate.ca_file}
    with (
        serving as server,
        real_queue(server, helo="me.example", transcript="always", auth=["PLAIN"], **login),
    ):
        send("a@example.com")
        deliver()
    (transcript,) = transcripts()
    assert said(transcript) == [
        "EHLO me.example",
        "STARTTLS",
        "EHLO me.example",
        "AUTH PLAIN [redacted]",
        "MAIL FROM",
        "RCPT TO",
        "DATA",
        f"[{len(server.messages[0].content)} bytes of content]",
    ]
    assert ", verified by pkix" in transcript
    assert "235 2.7.0 Authentication successful" in transcript


def test_what_was_sent_behind_it_has_its_own_words_alone():
    """The next mails over the same connection do not repeat how that was opened."""
    with ScriptedServer() as server, real_queue(server, helo="me.example", transcript="always"):
        for number in range(3):
            send(f"{number}@example.com")
        deliver()
        # Over the connection that was kept.
        send("later@example.com")
        deliver()
        assert len(server.sessions) == 1
    first, *others = as_they_came(server)
    assert said(first)[:2] == ["EHLO me.example", "MAIL FROM"]
    assert len(others) == 3
    assert {said(other)[0] for other in others} == {"MAIL FROM"}
    assert not any("220 " in other for other in others)


def test_each_connection_has_a_first_mail():
    """Each connection's opening is kept, with the mail that it was made for."""
    options = {"helo": "me.example", "transcript": "always", "messages_per_connection": 2}
    with ScriptedServer() as server, real_queue(server, **options):
        for number in range(4):
            send(f"{number}@example.com")
        deliver()
        assert len(server.sessions) == 2
    assert ["EHLO" in each for each in as_they_came(server)] == [True, False, True, False]


def test_nothing_is_rendered_that_is_not_kept(monkeypatch):
    """Where no transcript is kept, none is made, opening or not."""
    monkeypatch.setattr("django_smtpx.smtp.session.render", None)
    for policy in ("failures", "never"):
        with ScriptedServer() as server, real_queue(server, helo="me.example", transcript=policy):
            send("a@example.com")
            send("b@example.com")
            deliver()
            assert len(server.messages) == 2
    assert transcripts() == [""] * 4


def test_a_first_mail_whose_reply_met_a_stop(monkeypatch):
    """The opening is on record, too, where the outcome is asked for once more after a stop."""

    class Stop(Exception):
        pass

    def take(self, outcome):
        monkeypatch.undo()
        raise Stop

    with ScriptedServer() as server, real_queue(server, helo="me.example", transcript="always"):
        send("a@example.com")
        monkeypatch.setattr(course.Chunk, "_take", take)
        with pytest.raises(Stop):
            delivery.drain(get_mailer("default"), stops=(Stop,))
    (transcript,) = transcripts()
    assert said(transcript)[:2] == ["EHLO me.example", "MAIL FROM"]


def serve(mechanism, **more):
    """Return a server that lets nobody send without a login, and the options of one."""
    by_token = mechanism in BY_TOKEN
    secret = TOKEN if by_token else PASSWORD
    server = ScriptedServer(users={USER: secret}, auth=[mechanism], require_auth=True, **more)
    given = {"oauth_token": f"{__name__}.token"} if by_token else {"password": PASSWORD}
    return server, {"username": USER, "auth": [mechanism], "allow_plaintext_auth": True, **given}


def encoded(server):
    """Return what a server was told in its logins, and the secrets, as they may be written."""
    found = {PASSWORD, TOKEN}
    for session in server.sessions:
        for command in session.commands:
            words = command.arg.split()[1:] if command.verb == "AUTH" else [command.arg]
            if "AUTH" in command.verb:
                found.update(words)
                found.update(base64.b64decode(word).decode() for word in words if word != "=")
    found.update(base64.b64encode(each.encode()).decode().rstrip("=") for each in list(found))
    return {each for each in found if len(each) > 3}


@pytest.mark.parametrize("script", [{}, {"RCPT": "550 5.1.1 no"}])
@pytest.mark.parametrize("mechanism", [*BY_PASSWORD, *BY_TOKEN])
def test_no_login_is_on_record(mechanism, script):
    """A mail shows with which mechanism was logged in, and nothing that the client said of it."""
    server, login = serve(mechanism, script=script)
    with server, real_queue(server, helo="me.example", transcript="always", **login):
        send("a@example.com")
        deliver()
    (transcript,) = transcripts()
    assert f"C: AUTH {mechanism}" in transcript
    assert "235 2.7.0 Authentication successful" in transcript
    assert "C: MAIL FROM" in transcript
    assert "[redacted]" in transcript
    secrets = encoded(server)
    assert len(secrets) > 3
    assert [secret for secret in secrets if secret in transcript] == []


@pytest.mark.parametrize("mechanism", [*BY_PASSWORD, *BY_TOKEN])
def test_no_echo_of_a_login_is_on_record(mechanism):
    """A server that welcomes with what it was told puts nothing of it into a transcript."""
    secret = TOKEN if mechanism in BY_TOKEN else PASSWORD
    blob = base64.b64encode(secret.encode()).decode()
    script = {
        "MAIL": f"250 2.1.0 you said {secret} and {blob}",
        "EOD": f"250 2.0.0 {secret} has {blob}",
    }
    server, login = serve(mechanism, script=script)
    with server, real_queue(server, helo="me.example", transcript="always", **login):
        send("a@example.com")
        send("b@example.com")
        deliver()
        assert len(server.messages) == 2
    for transcript in transcripts():
        assert "you said [redacted] and [redacted]" in transcript
        assert [each for each in encoded(server) if each in transcript] == []
