"""Misconfigurations, each real on a loopback server: the step that fails, its cause and its mend."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
from contextlib import closing
from datetime import timedelta

import pytest

from django_smtpx.diagnosis import STEPS, diagnose
from django_smtpx.smtp import probe
from django_smtpx.smtp.diagnosis import running, siblings
from django_smtpx.smtp.diagnosis.bounds import Bounded
from django_smtpx.testing import Close, Reply, ScriptedServer, Silence, make_certificate, real_queue
from tests.i18n.saying import assert_diagnosis_said
from tests.smtp.certificates import DAY, authority, make, server_context

PASSWORD = "correct-horse-battery"
LOGIN = {"username": "me@example.com", "password": PASSWORD}
IN_CLEAR = {"security": "none", "allow_plaintext_auth": True}
TO = "you@example.net"


@pytest.fixture(autouse=True)
def ports(monkeypatch):
    """Which other ports are looked at: none, until a test says so."""

    def look_at(*numbers):
        monkeypatch.setattr(siblings, "PORTS", numbers)

    look_at()
    probe.findings.forget()
    yield look_at
    probe.findings.forget()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that holds for 127.0.0.1 and localhost."""
    return make_certificate(tmp_path_factory.mktemp("ca"))


def look(*, to="", **options):
    """Return the only diagnosis of a mailer with these options."""
    options = {"host": "127.0.0.1", **options}
    with real_queue(**options):
        (diagnosis,) = diagnose("default", to)
    said = json.dumps(diagnosis.as_dict())
    plain = b"\0me@example.com\0" + PASSWORD.encode()
    for secret in (PASSWORD.encode(), base64.b64encode(PASSWORD.encode()), base64.b64encode(plain)):
        assert secret.rstrip(b"=").decode() not in said
    assert_diagnosis_said(diagnosis)
    return diagnosis


def failure(diagnosis):
    """Return the only step that fails; those before it are done or needless, none is skipped."""
    (step,) = diagnosis.failed
    assert [one.name for one in diagnosis.steps] == list(STEPS)
    assert not diagnosis.ok
    assert step.cause
    assert step.mend.endswith(".")
    return step


def step(diagnosis, name):
    """Return a step by its name."""
    return next(one for one in diagnosis.steps if one.name == name)


def closed_port():
    """Return a port that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


# -- the way there -------------------------------------------------------------------------------


def test_a_connection_that_is_refused(ports, certificate):
    """Which other ports answer is said, and how to set them."""
    with ScriptedServer(ssl_context=certificate.ssl_context) as other:
        ports(other.port)
        found = failure(look(port=closed_port(), security="none"))
    assert found.name == "tcp"
    assert "the connection was refused" in found.cause
    assert found.evidence["address"] == "none"
    assert f"port {other.port} offers STARTTLS (security='starttls')" in found.mend
    assert "MAIL" not in [verb for session in other.sessions for verb in session.verbs]


@pytest.mark.parametrize("whole", [0.3, 1.2])
def test_a_port_behind_a_firewall(monkeypatch, whole):
    """Silence is told from a refusal: a queue of connections that nobody takes drops the next.

    So it is whether the time for connecting ends first, or that for the whole.
    """
    monkeypatch.setattr(running, "LIMIT", 0.6)
    monkeypatch.setattr(running, "Bounded", lambda limit: Bounded(whole))
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        found = failure(look(port=port, security="none"))
        for filler in fillers:
            filler.close()
    assert found.name == "tcp"
    assert "firewall" in found.cause
    assert "firewall" in found.mend


def test_a_name_without_an_address():
    """The name is suspected first; .invalid exists nowhere (RFC 6761)."""
    found = failure(look(host="smtp.invalid", port=587))
    assert found.name == "dns"
    assert "smtp.invalid" in found.cause
    assert "misspelt" in found.mend


def test_a_resolver_that_does_not_answer(monkeypatch):
    """It is not waited for, and the other steps are not reached."""
    released = []

    def never(options):
        while not released:
            time.sleep(0.01)
        return ()

    monkeypatch.setattr(running, "addresses_of", never)
    monkeypatch.setattr(running, "DNS_TIMEOUT", 0.05)
    found = failure(look(host="smtp.example", port=587))
    released.append(True)
    assert found.name == "dns"
    assert "did not answer" in found.cause


def test_an_address_that_does_not_answer_is_noted(monkeypatch):
    """The next one does: mail goes, and each connection loses time."""
    monkeypatch.setattr(running, "addresses_of", lambda options: ("::1", "127.0.0.1"))
    with ScriptedServer() as server:
        diagnosis = look(host="localhost", port=server.port, security="none")
    assert diagnosis.ok
    assert step(diagnosis, "tcp").evidence["address"] == "127.0.0.1"
    assert "No connection to ::1" in step(diagnosis, "tcp").cause
    assert "IPv6" in step(diagnosis, "tcp").cause


# -- the mode of TLS -----------------------------------------------------------------------------


def test_starttls_on_a_port_of_implicit_tls(certificate):
    """587's mode on 465's port."""
    with ScriptedServer(ssl_context=certificate.ssl_context, tls="implicit") as server:
        diagnosis = look(port=server.port, security="starttls", ca_file=certificate.ca_file)
    found = failure(diagnosis)
    assert found.name == "tls"
    assert "speaks TLS from the first byte" in found.cause
    assert "security='implicit'" in found.mend
    assert step(diagnosis, "tcp").ok is True
    assert step(diagnosis, "ehlo").ok is None


def test_implicit_tls_on_a_port_of_starttls(ports, certificate):
    """465's mode on 587's port; the port that speaks it is found."""
    context = certificate.ssl_context
    with (
        ScriptedServer(ssl_context=context) as server,
        ScriptedServer(ssl_context=context, tls="implicit") as other,
    ):
        ports(server.port, other.port)
        found = failure(look(port=server.port, security="implicit", ca_file=certificate.ca_file))
    assert found.name == "tls"
    assert "does not speak TLS from the first byte" in found.cause
    assert "Set security='starttls'" in found.mend
    assert f"port {other.port} speaks TLS from the first byte (security='implicit')" in found.mend


def test_starttls_that_is_not_offered(ports, certificate):
    """It may have been taken out on the way; another port that has TLS is named."""
    with (
        ScriptedServer() as server,
        ScriptedServer(ssl_context=certificate.ssl_context) as other,
    ):
        ports(other.port)
        diagnosis = look(port=server.port, security="starttls")
    found = failure(diagnosis)
    assert found.name == "tls"
    assert "does not offer STARTTLS" in found.cause
    assert f"Use another port: port {other.port} offers STARTTLS" in found.mend


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_tls_that_holds_says_whose_certificate_it_is(certificate, tls):
    """Version, cipher, names and dates are evidence, and EHLO before and behind STARTTLS."""
    with ScriptedServer(ssl_context=certificate.ssl_context, tls=tls) as server:
        diagnosis = look(port=server.port, security=tls, ca_file=certificate.ca_file)
    assert diagnosis.ok
    assert step(diagnosis, "tls").evidence["tls"].startswith("TLSv1.")
    shown = step(diagnosis, "certificate").evidence
    assert shown["verified_by"] == "pkix"
    assert "localhost" in shown["shown"]
    assert "valid from" in shown["shown"]
    said = step(diagnosis, "ehlo").evidence
    assert ("before_tls" in said) == (tls == "starttls")
    assert "STARTTLS" not in said["answer"]


def test_a_file_that_is_no_certificate(tmp_path):
    """It is told before anybody is connected to, with the option."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("nothing")
    with ScriptedServer() as server:
        found = failure(look(port=server.port, security="starttls", ca_file=str(ca_file)))
        assert server.sessions == ()
    assert found.name == "tls"
    assert "ca_file" in found.cause
    assert "Correct the file" in found.mend


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_client_certificate_that_is_wanted(tmp_path, tls):
    """With TLS 1.3 the server says so only when the handshake is over for us."""
    certificate = make_certificate(tmp_path)
    certificate.ssl_context.verify_mode = ssl.CERT_REQUIRED
    certificate.ssl_context.minimum_version = ssl.TLSVersion.TLSv1_3
    with ScriptedServer(ssl_context=certificate.ssl_context, tls=tls) as server:
        found = failure(look(port=server.port, security=tls, ca_file=certificate.ca_file))
    assert "The server wants a client certificate" in found.cause
    assert "Set ssl_certfile and ssl_keyfile" in found.mend


# -- the certificate -----------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(
    ("changes", "cause", "mend"),
    [
        ({"end": -timedelta(hours=1)}, "expired on", "renewed"),
        ({"begin": DAY / 2}, "valid only from", "clock"),
        ({"ips": (), "dns": ("mail.example.net",)}, "mail.example.net", "Set host to a name"),
        ({"issuer": authority("Another")}, "authority", "ca_file"),
    ],
)
def test_a_certificate_that_does_not_hold(tmp_path, tls, changes, cause, mend):
    """TLS mode passes, the certificate fails, and what mends it is said."""
    trusted = authority()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(trusted.pem)
    leaf = make("mail", **{"issuer": trusted, "ips": ("127.0.0.1",), **changes})
    with ScriptedServer(ssl_context=server_context(leaf), tls=tls) as server:
        diagnosis = look(port=server.port, security=tls, ca_file=str(ca_file))
    found = failure(diagnosis)
    assert found.name == "certificate"
    assert cause in found.cause
    assert mend in found.mend
    assert step(diagnosis, "tls").ok is True


# -- what the server says ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "cause", "mend"),
    [
        ({"CONNECT": Reply("554 5.7.1 Not from you", then=Close())}, "554", "address"),
        (
            {"CONNECT": Reply("554 5.7.1 Blocked using zen.spamhaus.org", then=Close())},
            "on a block list",
            "taken off the list",
        ),
        (
            {"CONNECT": Reply("421 4.3.2 Too busy, try again later", then=Close())},
            "no room for this connection now",
            "lower max_connections",
        ),
        ({"EHLO": "550 5.7.1 Bad name", "HELO": "550 No"}, "out.example.com", "Set helo"),
        ({"CONNECT": Close()}, "closed the connection", "refuse this machine"),
        ({"CONNECT": Silence()}, "said nothing more in time", "is the one for mail"),
    ],
)
def test_a_server_that_does_not_let_us_in(monkeypatch, script, cause, mend):
    """The greeting and the answer to EHLO are one step."""
    monkeypatch.setattr(running, "LIMIT", 1.0)
    with ScriptedServer(script=script) as server:
        diagnosis = look(port=server.port, security="none", helo="out.example.com")
    found = failure(diagnosis)
    assert found.name == "ehlo"
    assert cause in found.cause
    assert mend in found.mend
    assert step(diagnosis, "tcp").ok is True


# -- the login -----------------------------------------------------------------------------------


def test_a_login_that_is_offered_only_behind_tls(certificate):
    """The port has STARTTLS, and the mailer does not use it."""
    script = {"EHLO": "250-scripted.example\n250 STARTTLS"}
    with ScriptedServer(script=script, ssl_context=certificate.ssl_context) as server:
        found = failure(look(port=server.port, **LOGIN, **IN_CLEAR))
    assert found.name == "auth"
    assert "offers AUTH only after TLS" in found.cause
    assert "security='starttls'" in found.mend


def test_a_login_without_a_mechanism_in_common():
    """Those that the server offers are named."""
    with ScriptedServer(users={"u": "p"}, auth=("XOAUTH2",)) as server:
        diagnosis = look(port=server.port, **LOGIN, **IN_CLEAR)
    found = failure(diagnosis)
    assert found.name == "auth"
    assert "no mechanism of login in common" in found.cause
    assert "XOAUTH2" in found.mend
    assert found.evidence["offered"] == ["XOAUTH2"]


def test_a_login_that_nobody_asks_for():
    """A relay without AUTH wants no password."""
    with ScriptedServer() as server:
        found = failure(look(port=server.port, **LOGIN, **IN_CLEAR))
    assert found.name == "auth"
    assert "does not offer AUTH" in found.cause
    assert "Take out username" in found.mend


@pytest.mark.parametrize(
    ("reply", "cause", "mend"),
    [
        ("535 5.7.8 Wrong", "refuses the login", "Check username and password"),
        (
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for "
                "the Tenant."
            ),
            "Microsoft has switched off",
            "oauth_token",
        ),
        ("534 5.7.9 Application-specific password required.", "app password", "app password"),
        (
            (
                "535 5.7.8 Username and Password not accepted. "
                "https://support.google.com/mail/?p=BadCredentials"
            ),
            "Google does not take",
            "app password",
        ),
        (f"535 5.7.8 Not {PASSWORD}", "[redacted]", "Check"),
        ("454 4.7.0 Temporary failure", "could not be done now", "later"),
    ],
)
def test_a_login_that_is_refused(reply, cause, mend):
    """What the provider means is told by its words; an echo shows no secret."""
    script = {"AUTH": reply}
    with ScriptedServer(script=script, users={"u": "p"}) as server:
        diagnosis = look(port=server.port, **LOGIN, **IN_CLEAR)
        assert [session.verbs.count("AUTH") for session in server.sessions] == [1]
    found = failure(diagnosis)
    assert found.name == "auth"
    assert cause in found.cause
    assert mend in found.mend
    assert step(diagnosis, "ehlo").ok is True


# -- sender and recipient ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "reply", "name", "cause", "mend"),
    [
        (
            "MAIL", "553 5.7.1 Sender address rejected: not owned by user", "sender",
            "may not be used as sender", "DEFAULT_FROM_EMAIL",
        ),
        (
            "MAIL", "530 5.7.0 Must issue a STARTTLS command first", "sender",
            "The server wants TLS first", "security='starttls'",
        ),
        (
            "RCPT", "553 5.7.1 Sender address rejected: not logged in", "recipient",
            "The server wants a login first", "Set username and password",
        ),
        ("MAIL", "530 5.7.0 Authentication required", "sender", "login first", "Set username"),
        ("RCPT", "554 5.7.1 Relay access denied", "recipient", "other domains", "Set username"),
        ("RCPT", "550 5.1.1 No such user", "recipient", "no such mailbox", "Correct the recipient"),
    ],
)  # fmt: skip
def test_an_address_that_is_refused(verb, reply, name, cause, mend):
    """The session is reset and left in good order all the same."""
    with ScriptedServer(script={verb: reply}) as server:
        found = failure(look(to=TO, port=server.port, security="none"))
        assert server.sessions[0].verbs[-2:] == ("RSET", "QUIT")
    assert found.name == name
    assert cause in found.cause
    assert mend in found.mend
    assert reply in found.evidence["reply"]


def test_greylisting_passes_with_a_note():
    """A delivery would be tried again by itself."""
    script = {"RCPT": "450 4.7.1 Greylisted, please try again in 5 minutes"}
    with ScriptedServer(script=script) as server:
        diagnosis = look(to=TO, port=server.port, security="none")
    assert diagnosis.ok
    assert "greylists" in step(diagnosis, "recipient").cause
    assert step(diagnosis, "recipient").mend == ""


def test_an_address_beyond_ascii():
    """A server without SMTPUTF8 has no words for it, and is not asked."""
    with ScriptedServer(keywords=("PIPELINING",)) as server:
        found = failure(look(to="jürgen@example.net", port=server.port, security="none"))
        assert "RCPT" not in server.sessions[0].verbs
    assert found.name == "recipient"
    assert "does not offer SMTPUTF8" in found.cause
    assert "ASCII" in found.mend


def test_a_server_that_hangs_up_at_the_recipient():
    """The connection is lost, which is told as such."""
    with ScriptedServer(script={"RCPT": Close()}) as server:
        found = failure(look(to=TO, port=server.port, security="none"))
    assert found.name == "recipient"
    assert "closed the connection" in found.cause


def test_the_whole_is_bounded(monkeypatch):
    """Whoever never comes to an end is left."""
    monkeypatch.setattr(running, "LIMIT", 1.0)
    with ScriptedServer(script={"RCPT": Silence()}) as server:
        begun = time.monotonic()
        found = failure(look(to=TO, port=server.port, security="none"))
    assert found.name == "recipient"
    assert "in time" in found.cause
    assert time.monotonic() - begun < 15


# -- the other ports -----------------------------------------------------------------------------


def test_what_other_ports_say_is_not_remembered_for_deliveries(ports, certificate):
    """Each is told by its own words, nobody logs in, and one that hangs up is left out."""
    context = certificate.ssl_context
    with (
        ScriptedServer() as plain,
        ScriptedServer(ssl_context=context, tls="implicit") as implicit,
        ScriptedServer(script={"CONNECT": Close()}) as useless,
    ):
        ports(plain.port, implicit.port, useless.port, closed_port())
        found = failure(look(port=closed_port(), **LOGIN, security="starttls"))
    assert found.evidence["other_ports"] == [
        f"port {plain.port} answers without TLS (security='none')",
        f"port {implicit.port} speaks TLS from the first byte (security='implicit')",
    ]
    assert probe.findings.known("127.0.0.1", implicit.port) is None
    verbs = {verb for server in (plain, implicit) for one in server.sessions for verb in one.verbs}
    assert verbs == {"EHLO", "QUIT"}


def test_a_silent_port_25_is_not_spoken_to(ports, monkeypatch):
    """Whoever speaks before the greeting there is held to be a spammer."""
    with ScriptedServer(script={"CONNECT": Silence()}) as server:
        monkeypatch.setattr(siblings, "SMTP_PORT", server.port)
        ports(server.port)
        found = failure(look(port=closed_port(), security="none"))
        assert len(server.sessions) == 1
        assert server.sessions[0].commands == ()
    assert "other_ports" not in found.evidence
