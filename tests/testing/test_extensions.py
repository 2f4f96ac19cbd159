"""What ScriptedServer announces, and what it makes of parameters and of many recipients."""

from __future__ import annotations

import smtplib
import threading

import pytest

from django_smtpx.testing import KEYWORDS, Raw, Reply, ScriptedServer
from tests.testing.peers import CONTENT, talking

ALL = [*KEYWORDS, "DSN", "REQUIRETLS", "BINARYMIME", "AUTH=PLAIN"]
MAIL = b"MAIL FROM:<a@b.c>"
RCPT = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>"
OF_EXTENSIONS = [
    (MAIL, b"SIZE=1", "SIZE 10"),
    (MAIL, b"size=1", "size"),
    (MAIL, b"BODY=8BITMIME", "8BITMIME"),
    (MAIL, b"BODY=BINARYMIME", "BINARYMIME"),
    (MAIL, b"SMTPUTF8", "SMTPUTF8"),
    (MAIL, b"RET=HDRS ENVID=x", "DSN"),
    (MAIL, b"REQUIRETLS", "REQUIRETLS"),
    (MAIL, b"AUTH=<>", "AUTH PLAIN"),
    (RCPT, b"NOTIFY=NEVER ORCPT=rfc822;d@e.f", "DSN"),
]


@pytest.mark.parametrize(("command", "params", "keyword"), OF_EXTENSIONS)
def test_parameter_without_its_extension_is_refused(command: bytes, params: bytes, keyword: str):
    """A parameter that belongs to what was not announced gets 555 5.5.4 (RFC 5321 4.1.1.11)."""
    others = [word for word in ALL if word[:4].upper() != keyword[:4].upper()]
    others += ["BINARYMIME"] if keyword == "8BITMIME" else []
    server = ScriptedServer(keywords=others, strict_params=True)
    with talking(server) as peer:
        peer.hello().send(command + b" " + params + b"\r\n")
        peer.replies(command.count(b"\r\n"))
        assert peer.reply().startswith(b"555 5.5.4 ")


@pytest.mark.parametrize(("command", "params", "keyword"), OF_EXTENSIONS)
def test_parameter_with_its_extension_is_taken(command: bytes, params: bytes, keyword: str):
    """What was announced is taken, and is on record with the message."""
    with talking(server := ScriptedServer(keywords=[keyword], chunking=True)) as peer:
        said = command + b" " + params + b"\r\n"
        said += b"" if command is RCPT else b"RCPT TO:<d@e.f>\r\n"
        peer.hello().send(said + b"BDAT 2 LAST\r\nhi")
        assert peer.replies(3) == [b"250"] * 3
        (message,) = server.messages
        recorded = message.rcpt_params[0] if command is RCPT else message.mail_params
        assert recorded == tuple(params.decode().split())


def test_parameters_can_be_taken_unseen():
    """With strict_params=False anything goes, and so do parameters of no extension we know."""
    with talking(ScriptedServer(keywords=[], strict_params=False)) as peer:
        peer.reply()
        peer.send(b"MAIL FROM:<a@b.c> SIZE=1 RET=FULL X=1\r\n")
        assert peer.reply() == b"250 OK\r\n"
    with talking(ScriptedServer()) as peer:
        peer.hello().send(b"MAIL FROM:<a@b.c> XTHING=1\r\n")
        assert peer.replies(1) == [b"250"]


@pytest.mark.parametrize("ehlo", [Reply("250-me\ndsn"), Raw(b"250-[::1]\r\n250 DSN\r\n")])
def test_what_a_script_announces_counts(ehlo):
    """A scripted reply to EHLO decides about the parameters, whatever the keywords are."""
    with talking(ScriptedServer({"EHLO": ehlo})) as peer:
        peer.hello().send(b"MAIL FROM:<a@b.c> RET=FULL\r\nRSET\r\nMAIL FROM:<a@b.c> SIZE=1\r\n")
        assert peer.replies(3) == [b"250", b"250", b"555"]


def test_nothing_is_announced_to_helo():
    """After HELO, and before any greeting of the client's, there is no extension."""
    with talking(ScriptedServer()) as peer:
        said = b"MAIL FROM:<a@b.c> SIZE=1\r\n"
        peer.hello().send(b"HELO me\r\n" + said)
        assert peer.replies(2) == [b"250", b"555"]


def test_limits_are_said():
    """``limits`` adds one keyword (RFC 9422), and obeys none of it."""
    limits = {"RCPTMAX": 1, "MAILMAX": 20}
    with ScriptedServer(limits=limits) as server, smtplib.SMTP(server.host, server.port) as client:
        client.ehlo()
        assert client.esmtp_features["limits"] == "RCPTMAX=1 MAILMAX=20"
        client.sendmail("a@b.c", ["d@e.f", "g@h.i"], CONTENT)
        assert len(server.messages[0].recipients) == 2


def test_rcpt_limit():
    """The recipients beyond the limit are put off, those refused do not count, and none is said."""
    server = ScriptedServer({"RCPT": {"no@e.f": "550 5.1.1 no"}}, rcpt_limit=2)
    with server, smtplib.SMTP(server.host, server.port) as client:
        client.ehlo()
        assert not client.has_extn("limits")
        put_off = (452, b"4.5.3 Too many recipients")
        for first in "pq":
            to = ["no@e.f", f"{first}1@e.f", f"{first}2@e.f", f"{first}3@e.f", f"{first}4@e.f"]
            refused = client.sendmail("a@b.c", to, CONTENT)
            assert refused == {to[0]: (550, b"5.1.1 no"), to[3]: put_off, to[4]: put_off}
        assert [m.recipients for m in server.messages] == [
            ("p1@e.f", "p2@e.f"),
            ("q1@e.f", "q2@e.f"),
        ]


def test_ten_thousand_recipients_in_one_write():
    """A transaction of a mailing list's size is answered recipient by recipient."""
    number = 10_000
    rcpts = b"".join(b"RCPT TO:<r%d@e.f>\r\n" % n for n in range(number))
    with talking(server := ScriptedServer(rcpt_limit=number - 1, chunking=True)) as peer:
        peer.hello()
        sending = threading.Thread(
            target=peer.send, args=(MAIL + b"\r\n" + rcpts + b"BDAT 2 LAST\r\nhi",)
        )
        sending.start()
        assert peer.replies(number + 2) == [b"250"] * number + [b"452", b"250"]
        sending.join()
        assert len(server.messages[0].recipients) == number - 1
