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


TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJl-_x"
XOAUTH2 = base64.b64encode(f"user=u@example.com\1auth=Bearer {TOKEN}\1\1".encode()).decode()
BEARER = base64.b64encode(f"n,a=u,\1host=h\1port=587\1auth=Bearer {TOKEN}\1\1".encode()).decode()


@pytest.mark.parametrize(
    "echo",
    [
        TOKEN,
        TOKEN[:20] + "...",
        f"({TOKEN[15:40]})",
        f"auth=Bearer {TOKEN}",
        quote(TOKEN, safe=""),
        base64.b64encode(TOKEN.encode()).decode(),
        XOAUTH2,
        BEARER,
        TOKEN.encode().hex(),
        TOKEN.encode().hex()[30:60].upper(),
    ],
)
def test_learned(echo):
    """What a login makes or fetches is learned as it comes, and found whole or in part."""
    redactor = Redactor(Credential("u@example.com", token=str))
    assert redactor.text(echo) == echo
    redactor.learn([TOKEN, TOKEN, ""])
    text = redactor.text(f"535 no {echo} here")
    assert text.startswith("535 no ")
    assert text.endswith(" here")
    assert REDACTED in text
    for at in range(len(echo) * 2 // 3, len(echo) - 12):
        assert echo[at : at + 12] not in text


@pytest.mark.parametrize("message", [XOAUTH2, BEARER])
def test_wrapped(message):
    """An echo that is wrapped over lines is found in each of them."""
    redactor = Redactor(None)
    redactor.learn([TOKEN])
    lines = tuple(message[at : at + 30] for at in range(0, len(message), 30))
    shown = redactor.reply(Reply(535, lines)).lines
    for line, left in zip(lines[3:-1], shown[3:-1], strict=True):
        assert line not in left


@pytest.mark.parametrize("size", [7, 13, 20, 30])
@pytest.mark.parametrize("message", [XOAUTH2, BEARER, TOKEN])
def test_wrapped_to_its_end(message, size):
    """The last line of an echo may hold a few characters, which are those of the secret all the same."""
    redactor = Redactor(None)
    redactor.learn([TOKEN])
    lines = tuple(f"5.7.8 {message[at : at + size]} " for at in range(0, len(message), size))
    *_, last = redactor.reply(Reply(535, ("no", *lines))).lines
    assert last in (f"5.7.8 {REDACTED} ", f"5.7.8 {REDACTED}== ")
    innocent = Reply(250, ("2.0.0 Ok", "2.0.0 and more"))
    assert redactor.reply(innocent) is innocent


def test_what_is_no_secret_stays():
    """Words of a reply that have nothing to do with a secret are left alone."""
    redactor = Redactor(Credential("u", SECRET))
    redactor.learn([TOKEN])
    for text in ("2.0.0 Ok: queued as 4QWERTY12345678", "Message-ID <abcdefghijkl@mx.example>"):
        assert redactor.text(text) == text
