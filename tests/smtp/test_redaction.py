from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from django_smtpx.smtp.options import Credential
from django_smtpx.smtp.redaction import REDACTED, Redactor
from django_smtpx.smtp.reply import Reply

SECRET = "s3cr3t/pa55 w\u00f6rd"
RAW = SECRET.encode()
REDACTOR = Redactor(Credential("user", SECRET))


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        base64.b64encode(RAW).decode(),
        base64.b64encode(b"\0user\0" + RAW).decode(),
        RAW.hex(),
        RAW.hex().upper(),
        quote(SECRET, safe=""),
        *(base64.b64encode(b"x" * n + RAW + b"tail").decode() for n in range(6)),
    ],
)
def test_encodings(echo):
    """A secret is found in every encoding, at every place of a longer base64."""
    text = REDACTOR.text(f"535 bad login {echo} go away")
    assert REDACTED in text
    for trace in (SECRET, base64.b64encode(RAW).decode()[4:12], RAW.hex()[:12]):
        assert trace not in text


def test_reply():
    """A reply without secrets is the same object; one with them keeps its code."""
    innocent = Reply(250, ("ok",))
    assert REDACTOR.reply(innocent) is innocent
    assert REDACTOR.reply(Reply(535, ("a", SECRET))) == Reply(535, ("a", REDACTED))


def test_short_secret():
    """A short password is no reason to tear words apart."""
    redactor = Redactor(Credential("u", "p"))
    assert redactor.text("please p stop cA==") == f"please {REDACTED} stop {REDACTED}"


def test_nothing_to_hide():
    """Without a password nothing is touched."""
    for redactor in (Redactor(None), Redactor(Credential("user", ""))):
        assert redactor.text("user None") == "user None"
        assert redactor.reply(Reply(250)) == Reply(250)
