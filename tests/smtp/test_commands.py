from __future__ import annotations

import pytest

from django_smtpx.smtp import commands


def test_lines():
    """Each command is one line, with its parameters in order."""
    assert commands.ehlo("me.example") == b"EHLO me.example\r\n"
    assert commands.helo("[127.0.0.1]") == b"HELO [127.0.0.1]\r\n"
    assert commands.mail("") == b"MAIL FROM:<>\r\n"
    assert commands.mail("a@b", size=7, body="8BITMIME", smtputf8=True) == (
        b"MAIL FROM:<a@b> SIZE=7 BODY=8BITMIME SMTPUTF8\r\n"
    )
    assert commands.rcpts(["a@b", "c"]) == [b"RCPT TO:<a@b>\r\n", b"RCPT TO:<c>\r\n"]
    assert commands.auth("PLAIN", b"\0u\0p") == b"AUTH PLAIN AHUAcA==\r\n"
    assert commands.auth("EXTERNAL", b"") == b"AUTH EXTERNAL =\r\n"
    assert commands.auth("LOGIN") == b"AUTH LOGIN\r\n"
    assert commands.auth_response(b"u") == b"dQ==\r\n"


@pytest.mark.parametrize(
    "address",
    [
        '"john doe"@example.com',
        '"a\\"b"@c',
        "a+b=c/d!e@xn--bcher-kva.example",
        "x@[192.0.2.1]",
        "x@[IPv6:2001:db8::1]",
        "postmaster",
    ],
)
def test_good_path(address):
    """Real addresses pass, quoted strings and literals among them."""
    assert commands.rcpt(address) == f"RCPT TO:<{address}>\r\n".encode()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a@b\r\nDATA",
        "a@b\n",
        "a\0@b",
        "a@b\x85",
        "a b@c",
        "a@b> SIZE=1",
        "<a@b>",
        "a@b c",
        '"a\r\n"@b',
        '"a@b',
        "a@@b",
        "@x:a@b",
        "a@[1\r\n]",
        "a@b\x7f",
        "a\u00a0b@c",
    ],
)
@pytest.mark.parametrize("smtputf8", [False, True])
def test_bad_path(address, smtputf8):
    """Nothing that could end the line or leave the brackets passes."""
    with pytest.raises(ValueError):
        commands.rcpt(address, smtputf8=smtputf8)
    if address:
        with pytest.raises(ValueError):
            commands.mail(address, smtputf8=smtputf8)


def test_not_ascii():
    """More than ASCII needs SMTPUTF8, and without it the error says what to do."""
    assert commands.rcpt("j\u00f6@b\u00fccher.example", smtputf8=True) == (
        "RCPT TO:<j\u00f6@b\u00fccher.example>\r\n".encode()
    )
    with pytest.raises(ValueError, match="A-labels"):
        commands.rcpt("joe@b\u00fccher.example")


@pytest.mark.parametrize("name", ["", "a b", "a\r\nb", "b\u00fccher"])
def test_bad_helo(name):
    """A name that could end the line is refused."""
    with pytest.raises(ValueError):
        commands.ehlo(name)
    with pytest.raises(ValueError):
        commands.helo(name)


def test_bad_mechanism():
    """A mechanism's name comes from outside, too."""
    with pytest.raises(ValueError):
        commands.auth("PLAIN\r\nX")
