"""AUTH in memory: what is said, what is believed, and what is left on record."""

from __future__ import annotations

import base64
import hmac
import json
import sys

import pytest

from django_smtpx.smtp import sasl
from django_smtpx.smtp.errors import AuthenticationError, ProtocolError, ServerDisconnected
from django_smtpx.smtp.events import Ended, Opened, TokenWanted
from django_smtpx.smtp.options import Credential, Security
from django_smtpx.smtp.protocol import Protocol
from tests.smtp.talk import LOGIN, events, feed, flush, options

SPLITS = pytest.mark.parametrize("split", ["whole", "bytes"])
AUTH = b"250-mx\r\n250 AUTH LOGIN PLAIN\r\n"
BEARER = Credential("user", token=lambda: "never called here")


def begun(**changes) -> Protocol:
    """Return a protocol that has said EHLO, and may log in."""
    changes = {"credential": LOGIN, "allow_plaintext_auth": True, **changes}
    protocol = Protocol(options(**changes))
    assert feed(protocol, b"220 mx\r\n") == b"EHLO me.example\r\n"
    return protocol


def failure(protocol, cls):
    """Return what the protocol ended with, and check its class and event."""
    assert type(protocol.failure) is cls
    assert events(protocol) == [Ended(protocol.failure)]
    assert not protocol.authenticated
    return protocol.failure


def challenge(text: str | bytes) -> bytes:
    """Return a reply that carries a challenge."""
    data = text.encode() if isinstance(text, str) else text
    return b"334 " + base64.b64encode(data) + b"\r\n"


def said(line: bytes) -> bytes:
    """Return what a client's line carries."""
    return base64.b64decode(line.split()[-1] if line.strip() else b"", validate=True)


@SPLITS
def test_plain(split):
    """PLAIN is preferred, goes with its initial response, and is not in the record."""
    protocol = begun()
    blob = base64.b64encode(b"\0user\0pa55-word!")
    assert feed(protocol, AUTH, split) == b"AUTH PLAIN " + blob + b"\r\n"
    feed(protocol, b"235 welcome\r\n", split)
    assert events(protocol) == [Opened()]
    assert protocol.authenticated
    assert blob.decode() not in str(protocol.entries)


def test_login():
    """LOGIN answers two prompts, whatever they say."""
    protocol = begun(auth=("LOGIN",))
    assert feed(protocol, AUTH) == b"AUTH LOGIN\r\n"
    assert feed(protocol, b"334 Your name?\r\n") == base64.b64encode(b"user") + b"\r\n"
    assert feed(protocol, b"334\r\n") == base64.b64encode(b"pa55-word!") + b"\r\n"
    feed(protocol, b"235 welcome\r\n")
    assert events(protocol) == [Opened()]
    assert "pa55" not in str(protocol.entries)


def test_refused():
    """A refused credential is final: no other mechanism is tried, and echoes are redacted."""
    protocol = begun()
    feed(protocol, AUTH)
    assert feed(protocol, b"535 5.7.8 pa55-word! is wrong\r\n") == b""
    error = failure(protocol, AuthenticationError)
    assert (error.phase, error.command, error.code) == ("auth", "AUTH", 535)
    assert (error.enhanced_code, error.reply) == ("5.7.8", "[redacted] is wrong")
    assert (error.category, error.action, error.temporary) == ("auth_failed", "hold", False)
    assert protocol.can_quit


def test_cancelled():
    """A server that asks for more than there is gets a star; that holds no mailer."""
    protocol = begun()
    feed(protocol, AUTH)
    assert feed(protocol, b"334 \r\n").endswith(b"\r\n")
    assert feed(protocol, b"334 \r\n") == b"*\r\n"
    feed(protocol, b"501 cancelled\r\n")
    error = failure(protocol, AuthenticationError)
    assert (error.code, error.category, error.action) == (501, "auth_failed", "pause")


def test_endless():
    """A server that goes on asking behind the star is out of step."""
    protocol = begun()
    feed(protocol, AUTH)
    for _ in range(3):
        feed(protocol, b"334 \r\n")
    assert failure(protocol, ProtocolError).phase == "auth"


def test_long_initial_response():
    """An initial response that makes the line too long goes on a line of its own."""
    long = type(LOGIN)("user", "p" * 600)
    protocol = begun(credential=long)
    assert feed(protocol, AUTH) == b"AUTH PLAIN\r\n"
    assert len(feed(protocol, b"334 \r\n")) > 800


@pytest.mark.parametrize(
    ("hello", "text"),
    [
        (b"250 mx\r\n", "does not offer AUTH (usable here: SCRAM-SHA-512-PLUS "),
        (b"250-mx\r\n250 AUTH GSSAPI NTLM\r\n", "offers only GSSAPI NTLM"),
    ],
)
def test_not_offered(hello, text):
    """Credentials without a usable offer are an error, never a session without them."""
    protocol = begun()
    assert feed(protocol, hello) == b""
    error = failure(protocol, AuthenticationError)
    assert text in str(error)
    assert (error.phase, error.code, error.category) == ("auth", None, "auth_failed")


def test_in_clear():
    """Credentials are not sent in clear unless that is allowed."""
    protocol = begun(allow_plaintext_auth=False, security=Security.OPPORTUNISTIC)
    assert feed(protocol, AUTH) == b""
    assert "not encrypted" in str(failure(protocol, AuthenticationError))


def test_welcome_behind_the_star():
    """A server that lets us in where we have cancelled is out of step, and not believed."""
    protocol = begun()
    feed(protocol, AUTH)
    for _ in range(2):
        feed(protocol, b"334 \r\n")
    feed(protocol, b"235 welcome\r\n")
    assert failure(protocol, ProtocolError).code == 235


def test_old_spelling():
    """``AUTH=``, an old draft's spelling, is an offer, too."""
    protocol = begun()
    assert feed(protocol, b"250-mx\r\n250 AUTH=LOGIN\r\n") == b"AUTH LOGIN\r\n"


def test_without_a_password():
    """A name alone is no credential, and the error says what is missing."""
    protocol = begun(credential=Credential("user"))
    feed(protocol, AUTH)
    assert "there is no password" in str(failure(protocol, AuthenticationError))


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"])
def test_no_unicode(name):
    """What cannot be written in UTF-8 is an error, and no exception of another kind."""
    protocol = begun(credential=Credential("u", "pa55\udcff"))
    feed(protocol, b"250-mx\r\n250 AUTH %s\r\n" % name.encode())
    assert "cannot carry this username and password" in str(failure(protocol, AuthenticationError))


@SPLITS
def test_cram_md5(split):
    """The example of RFC 2195 section 2; the digest is not on record, even where it is echoed."""
    protocol = begun(credential=Credential("tim", "tanstaaftanstaaf"))
    assert feed(protocol, b"250-mx\r\n250 AUTH CRAM-MD5\r\n", split) == b"AUTH CRAM-MD5\r\n"
    asked = challenge("<1896.697170952@postoffice.reston.mci.net>")
    answer = feed(protocol, asked, split)
    assert said(answer) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    feed(protocol, b"535 5.7.8 " + answer.strip() + b" b913a602c7eda7a495b4e6e7334d3890\r\n", split)
    error = failure(protocol, AuthenticationError)
    assert "b913a6" not in str(protocol.entries) + error.reply
    assert answer.decode().strip()[12:30] not in str(protocol.entries) + error.reply


@pytest.mark.parametrize("reply", [b"334 \r\n", b"334\r\n", b"334 %%%\r\n", "334 ä\r\n".encode()])
def test_cram_md5_needs_a_challenge(reply):
    """Where there is nothing to digest the exchange is cancelled, and the error says why."""
    protocol = begun()
    feed(protocol, b"250-mx\r\n250 AUTH CRAM-MD5\r\n")
    assert feed(protocol, reply) == b"*\r\n"
    feed(protocol, b"501 5.7.0 cancelled\r\n")
    error = failure(protocol, AuthenticationError)
    assert "empty or not base64" in str(error)
    assert (error.code, error.action) == (501, "pause")


def test_cram_md5_once():
    """There is one challenge."""
    protocol = begun()
    feed(protocol, b"250-mx\r\n250 AUTH CRAM-MD5\r\n")
    feed(protocol, challenge("<1@x>"))
    assert feed(protocol, challenge("<2@x>")) == b"*\r\n"


@pytest.mark.parametrize(
    ("username", "line"), [("", b"AUTH EXTERNAL =\r\n"), ("u", b"AUTH EXTERNAL dQ==\r\n")]
)
def test_external(username, line):
    """EXTERNAL names whom to act as, or nobody."""
    protocol = begun(credential=Credential(username), auth=("EXTERNAL",))
    assert feed(protocol, b"250-mx\r\n250 AUTH EXTERNAL PLAIN\r\n") == line
    assert feed(protocol, b"334 \r\n") == base64.b64encode(username.encode()) + b"\r\n"
    feed(protocol, b"235 in\r\n")
    assert protocol.authenticated


def test_a_secret_in_a_challenge():
    """What is kept off the record is what the mechanism has to see all the same."""
    protocol = begun(credential=Credential("u", "s3cr3t-key"))
    feed(protocol, b"250-mx\r\n250 AUTH CRAM-MD5\r\n")
    answer = feed(protocol, challenge("<s3cr3t-key@mx>"))
    assert (
        said(answer)
        == b"u " + hmac.new(b"s3cr3t-key", b"<s3cr3t-key@mx>", "md5").hexdigest().encode()
    )
    shown = next(what for *_, what in protocol.entries if getattr(what, "code", 0) == 334)
    assert shown.text.endswith("[redacted]")


# -- bearer tokens -------------------------------------------------------------------------------

TOKEN = "t0ken.of/the+user"


def wanting(name, hello=b"250-mx\r\n250 AUTH %s\r\n", **changes):
    """Return a protocol that has been given its token, and what it said then."""
    protocol = begun(
        credential=Credential("u=s,r", token=str), host="mx.example", port=587, **changes
    )
    assert feed(protocol, hello % name.encode()) == b""
    assert events(protocol) == [TokenWanted()]
    protocol.use_token(TOKEN)
    return protocol, flush(protocol)


def test_bearer_messages():
    """The messages are those of RFC 7628 section 3.1 and of XOAUTH2's documentation."""
    assert said(wanting("OAUTHBEARER")[1]) == (
        b"n,a=u=3Ds=2Cr,\x01host=mx.example\x01port=587\x01auth=Bearer t0ken.of/the+user\x01\x01"
    )
    assert said(wanting("XOAUTH2")[1]) == b"user=u=s,r\x01auth=Bearer t0ken.of/the+user\x01\x01"
    assert wanting("XOAUTH2 OAUTHBEARER")[1].startswith(b"AUTH OAUTHBEARER ")


@SPLITS
@pytest.mark.parametrize(("name", "answer"), [("OAUTHBEARER", b"AQ==\r\n"), ("XOAUTH2", b"\r\n")])
def test_bearer_refused(name, answer, split):
    """The error is acknowledged as each mechanism has it, told, and a fresh token may help."""
    protocol, line = wanting(name)
    echo = json.dumps({"status": f"401 {TOKEN}", "scope": "x"})
    assert feed(protocol, challenge(echo), split) == answer
    feed(protocol, b"535 5.7.8 " + line.split()[-1] + b"\r\n", split)
    error = failure(protocol, AuthenticationError)
    assert "refused the bearer token: 401 [redacted])" in str(error)
    assert protocol.remedy is sasl.Remedy.FRESH_TOKEN
    for text in (str(protocol.entries), str(error), error.reply):
        assert TOKEN not in text
        assert line.decode().split()[-1][-24:-4] not in text


@pytest.mark.parametrize("name", ["OAUTHBEARER", "XOAUTH2"])
def test_bearer_not_listened_to(name):
    """The message is said again, once, to a server that passed over it; then only errors come."""
    protocol, line = wanting(name)
    assert feed(protocol, b"334 \r\n").strip() == line.split()[-1]
    assert feed(protocol, b"334 \r\n") in (b"AQ==\r\n", b"\r\n")
    assert feed(protocol, b"334 \r\n") == b"*\r\n"
    feed(protocol, b"501 no\r\n")
    failure(protocol, AuthenticationError)


@pytest.mark.parametrize(
    "said_then", ["[1]", "x" * 999, '{"status": null}', "[" * 5000, b"\xff\x00"]
)
def test_bearer_odd_errors(said_then):
    """Whatever the error looks like, it is an error, and not a long one."""
    protocol, _ = wanting("XOAUTH2")
    assert feed(protocol, challenge(said_then)) == b"\r\n"
    feed(protocol, b"535 no\r\n")
    assert len(str(failure(protocol, AuthenticationError))) < 400


def test_bearer_not_base64():
    """A challenge that is no error cannot be acknowledged."""
    protocol, _ = wanting("XOAUTH2")
    assert feed(protocol, b"334 go on\r\n") == b"*\r\n"
    feed(protocol, b"501 no\r\n")
    assert "not base64" in str(failure(protocol, AuthenticationError))


def test_bearer_temporary_refusal():
    """A "later" is no refusal of the token."""
    protocol, _ = wanting("XOAUTH2")
    feed(protocol, b"454 4.7.0 later\r\n")
    assert failure(protocol, AuthenticationError).action == "pause"
    assert protocol.remedy is None


def test_bearer_control_character():
    """A name that would end its field is not sent."""
    protocol = begun(credential=Credential("u\x01auth=x", token=str))
    feed(protocol, b"250-mx\r\n250 AUTH XOAUTH2\r\n")
    assert events(protocol) == [TokenWanted()]
    protocol.use_token(TOKEN)
    assert flush(protocol) == b""
    assert "control character" in str(failure(protocol, AuthenticationError))


def test_lost_while_the_token_was_fetched():
    """A connection that ends while its user looks for a token has ended within AUTH."""
    protocol, _ = wanting("XOAUTH2")
    protocol.receive_eof()
    assert failure(protocol, ServerDisconnected).phase == "auth"


def test_scramp_would_do(monkeypatch):
    """A server that has SCRAM alone is beyond us without scramp, and the error says what to do."""
    monkeypatch.setitem(sys.modules, "scramp", None)
    protocol = begun()
    feed(protocol, b"250-mx\r\n250 AUTH SCRAM-SHA-256\r\n")
    error = failure(protocol, AuthenticationError)
    assert str(error).endswith("; for SCRAM: pip install 'django-smtpx[scram]'")


def test_cram_md5_with_a_name_that_is_no_text():
    """A name that cannot be encoded is an error of the login, before the server asks anything."""
    credential = Credential("user\ud800", "pa55-word!")
    protocol = begun(credential=credential)
    feed(protocol, b"250-mx\r\n250 AUTH CRAM-MD5\r\n")
    assert isinstance(protocol.failure, AuthenticationError)
    assert "no Unicode text" in str(protocol.failure)


def test_a_reason_with_control_characters():
    """What a server says inside of a challenge acts on no terminal."""
    protocol = begun()
    feed(protocol, b"250-mx\r\n250 AUTH SCRAM-SHA-256\r\n")
    feed(protocol, b"334 " + base64.b64encode(b"e=\x1b[2Jgone") + b"\r\n")
    feed(protocol, b"535 no\r\n")
    assert "gone" in str(protocol.failure)
    assert str(protocol.failure).isprintable()
