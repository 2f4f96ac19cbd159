from __future__ import annotations

import pytest

from django_smtpx.smtp import commands
from django_smtpx.smtp.envelope import DSN


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


def test_extensions():
    """Parameters of extensions stand behind the path."""
    dsn = DSN(ret="FULL", envid="a b+c=\u007e", notify=("SUCCESS", "DELAY"))
    assert commands.mail("a@b", requiretls=True, dsn=dsn, body="BINARYMIME") == (
        b"MAIL FROM:<a@b> BODY=BINARYMIME REQUIRETLS RET=FULL ENVID=a+20b+2Bc+3D~\r\n"
    )
    assert commands.rcpt("a+b=c@d", dsn=dsn) == (
        b"RCPT TO:<a+b=c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb+3Dc@d\r\n"
    )
    assert commands.rcpt("a@b", dsn=DSN(orcpt=False)) == b"RCPT TO:<a@b>\r\n"
    assert commands.mail("a@b", dsn=DSN()) == b"MAIL FROM:<a@b>\r\n"


def test_original_recipient_in_unicode():
    """An address that is not ASCII goes as it is, with what would be taken for syntax escaped."""
    line = commands.rcpt("\u00fc+x=y@d", smtputf8=True, dsn=DSN()).decode()
    assert line == "RCPT TO:<\u00fc+x=y@d> ORCPT=utf-8;\u00fc\\x{2B}x\\x{3D}y@d\r\n"


def test_bdat():
    """A chunk is announced with its size, and the last one as such."""
    assert commands.bdat(0, last=True) == b"BDAT 0 LAST\r\n"
    assert commands.bdat(86, last=False) == b"BDAT 86\r\n"
