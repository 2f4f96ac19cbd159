"""The mechanisms of a scripted server, as a client's lines see them."""

from __future__ import annotations

import base64
import smtplib

import pytest
from scramp import ScramClient

from django_smtpx.testing import ScriptedServer

EVERY = (
    "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2",
    "EXTERNAL",
)  # fmt: skip


def b64(text: str) -> str:
    """Return a text as it stands in a line."""
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def server():
    """A server that knows every mechanism, and one user."""
    with ScriptedServer(users={"u": "secret"}, auth=EVERY) as running:
        yield running


@pytest.fixture
def say(server):
    """Say a line and return code and text, the text of a challenge decoded."""
    with smtplib.SMTP(server.host, server.port) as client:
        client.ehlo()
        assert client.esmtp_features["auth"].split() == list(EVERY)

        def say(line: str) -> tuple[int, str]:
            code, text = client.docmd(line)
            return code, (base64.b64decode(text) if code == 334 else text).decode()

        yield say


def test_offered_only_as_told():
    """What is not offered is not known, and by default that is all but PLAIN and LOGIN."""
    with (
        ScriptedServer(users={"u": "p"}) as server,
        smtplib.SMTP(server.host, server.port) as client,
    ):
        client.ehlo()
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
        for name in ("CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "EXTERNAL", "NTLM"):
            assert client.docmd("AUTH", name)[0] == 504


@pytest.mark.parametrize(("password", "code"), [("secret", 235), ("wrong", 535)])
def test_cram_md5(server, password, code):
    """The standard library's own CRAM-MD5 gets in with the right password alone."""
    with smtplib.SMTP(server.host, server.port) as client:
        client.ehlo()
        client.user, client.password = "u", password
        try:
            got = client.auth("CRAM-MD5", client.auth_cram_md5)[0]
        except smtplib.SMTPAuthenticationError as error:
            got = error.smtp_code
    assert got == code
    assert server.sessions[0].user == ("u" if code == 235 else "")


@pytest.mark.parametrize(("password", "code"), [("secret", 235), ("wrong", 535)])
def test_scram(server, say, password, code):
    """The server proves that it knows the password, once the client has."""
    client = ScramClient(["SCRAM-SHA-256"], "u", password)
    _, first = say(f"AUTH SCRAM-SHA-256 {b64(client.get_client_first())}")
    client.set_server_first(first)
    got, final = say(b64(client.get_client_final()))
    if code == 235:
        client.set_server_final(final)
        got, _ = say("")
    assert got == code


def test_scram_by_an_unknown_user(say):
    """A user that nobody knows is refused before any proof."""
    assert say(f"AUTH SCRAM-SHA-256 {b64('n,,n=x,r=abc')}")[0] == 535
    assert say("AUTH SCRAM-SHA-256") == (334, "")
    assert say(b64("nonsense"))[0] == 535


def test_scram_binding_is_not_known(say):
    """Without TLS, or by a binding that it does not know, the server names the error."""
    assert say(f"AUTH SCRAM-SHA-256-PLUS {b64('p=tls-exporter,,n=u,r=abc')}") == (
        334,
        "e=unsupported-channel-binding-type",
    )
    assert say("*")[0] == 501
    assert say(f"AUTH SCRAM-SHA-256-PLUS {b64('n,,n=u,r=abc')}")[0] == 535


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("OAUTHBEARER", "n,a={},\1host=h\1port=1\1auth=Bearer {}\1\1"),
        ("XOAUTH2", "user={}\1auth=Bearer {}\1\1"),
    ],
)
def test_bearer(say, server, name, message):
    """A token gets in where it is the user's; else the error comes before the code."""
    for user, token in (("u", "wrong"), ("x", "secret"), ("u", "")):
        code, error = say(f"AUTH {name} {b64(message.format(user, token))}")
        assert (code, '"status": "401"' in error) == (334, True)
        assert say("AQ==")[0] == 535
    assert say(f"AUTH {name} {b64('nonsense')}")[0] == 334
    assert say("AQ==")[0] == 535
    assert say(f"AUTH {name} {b64(message.format('u', 'secret'))}")[0] == 235
    assert server.sessions[0].user == "u"


@pytest.mark.parametrize(
    "lines",
    [
        ["AUTH EXTERNAL ="],
        ["AUTH EXTERNAL", "dQ=="],
        ["AUTH PLAIN /w=="],
        ["AUTH LOGIN dQ==", "/w=="],
    ],
)
def test_refused(say, lines):
    """Nobody gets in without a certificate, or with what is no text."""
    assert [say(line)[0] for line in lines][-1] == 535
