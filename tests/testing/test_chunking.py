"""What ScriptedServer does with BDAT (RFC 3030)."""

from __future__ import annotations

import smtplib

import pytest

from django_smtpx.testing import (
    KEYWORDS,
    Close,
    Delay,
    MidContent,
    NoReply,
    Reply,
    ScriptedServer,
    Silence,
)
from tests.testing.peers import CONTENT, HELLO, Peer, talking

OPEN = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n"


def chunking(script=None, **options) -> ScriptedServer:
    """Return a server that takes BDAT."""
    return ScriptedServer(script, chunking=True, **options)


def bdat(*chunks: bytes) -> bytes:
    """Return the commands for these chunks, the last of which ends the content."""
    ends = [b""] * (len(chunks) - 1) + [b" LAST"]
    return b"".join(
        b"BDAT %d%s\r\n%s" % (len(chunk), end, chunk)
        for chunk, end in zip(chunks, ends, strict=True)
    )


def said(peer: Peer, data: bytes, codes: str) -> None:
    """Say ``data``, and hear exactly these codes before the reply to a NOOP behind them."""
    peer.send(data + b"NOOP\r\n")
    assert b" ".join(peer.replies(len(codes.split()) + 1)).decode() == f"{codes} 250"


def test_chunks_make_a_message():
    """The bytes of all chunks are the content as they are: dots, NULs and bare line ends."""
    chunks = (b".\r\n..a\n", b"", b"\0\xff\r", b"\nQUIT\r\n.\r\n")
    with talking(server := chunking()) as peer:
        said(peer.hello(), OPEN + bdat(*chunks), "250 250 250 250 250 250")
        (message,) = server.messages
        assert message.content == b"".join(chunks)
        assert (message.verb, message.chunks) == ("BDAT", (7, 0, 3, 10))
        assert message.recipients == ("d@e.f",)
        bdats = [c for c in server.sessions[0].commands if c.verb == "BDAT"]
        assert [(c.arg, c.code) for c in bdats] == [
            ("7", 250),
            ("0", 250),
            ("3", 250),
            ("10 LAST", 250),
        ]


def test_data_has_no_chunks():
    """A message that came with DATA says so, on a server with CHUNKING too."""
    with chunking() as server, smtplib.SMTP(server.host, server.port) as client:
        client.sendmail("a@b.c", ["d@e.f"], CONTENT)
        assert (server.messages[0].verb, server.messages[0].chunks) == ("DATA", ())


def test_transactions_in_one_segment():
    """Whole transactions in one write are taken, and answered one by one."""
    with talking(server := chunking()) as peer:
        group = OPEN + bdat(b"one ", CONTENT)
        said(peer.hello(), group * 3, " ".join(["250 250 250 250"] * 3))
        assert [message.content for message in server.messages] == [b"one " + CONTENT] * 3


def test_byte_by_byte():
    """The same, each byte in a segment of its own, is the same message."""
    with talking(server := chunking()) as peer:
        peer.hello()
        for byte in OPEN + bdat(b"a\r\n", b".\r\n"):
            peer.send(bytes([byte]))
        assert peer.replies(4) == [b"250"] * 4
        assert server.messages[0].content == b"a\r\n.\r\n"


def test_an_empty_last_chunk():
    """``BDAT 0 LAST`` ends the content, and lower case will do."""
    with talking(server := chunking()) as peer:
        said(peer.hello(), OPEN + b"bdat 2\r\nhibdat 0 last\r\n", "250 250 250 250")
        assert server.messages[0].chunks == (2, 0)


def test_a_large_chunk():
    """A chunk of megabytes comes whole, and so does the next command."""
    content = b"x" * 3_000_000 + b"\r\n"
    with talking(server := chunking()) as peer:
        said(peer.hello(), OPEN + bdat(content), "250 250 250")
        assert server.messages[0].content == content


@pytest.mark.parametrize(
    ("said_before", "codes"),
    [
        (b"", "503"),
        (b"MAIL FROM:<a@b.c>\r\n", "250 554"),
        (b"RCPT TO:<d@e.f>\r\n", "503 503"),
        (OPEN + b"RSET\r\n", "250 250 250 503"),
    ],
)
def test_a_chunk_out_of_order_is_swallowed(said_before: bytes, codes: str):
    """What is in a refused chunk is no command, and no message."""
    with talking(server := chunking()) as peer:
        said(peer.hello(), said_before + bdat(b"QUIT\r\n" * 100_000), codes)
        assert server.messages == server.rejected == ()


def test_after_a_refused_chunk():
    """The chunks behind it get 503 and are thrown away, up to the last, which ends it all."""
    with talking(server := chunking({"BDAT": [None, "451 4.3.0 disk"]})) as peer:
        said(peer.hello(), OPEN + bdat(b"a", b"QUIT\r\n", b"c", b"d"), "250 250 250 451 503 503")
        assert server.messages == ()
        said(peer, OPEN + bdat(b"again"), "250 250 250")
        assert server.messages[0].chunks == (5,)


def test_rset_ends_the_refusal():
    """RSET forgets the chunks, those refused as well as those taken."""
    with talking(server := chunking({"BDAT": ["451 4.3.0 disk"]})) as peer:
        refused = OPEN + b"BDAT 1\r\nxRCPT TO:<d@e.f>\r\nDATA\r\nMAIL FROM:<>\r\nRSET\r\n"
        said(peer.hello(), refused, "250 250 451 503 503 503 250")
        said(peer, OPEN + b"BDAT 1\r\nyRSET\r\n", "250 250 250 250")
        said(peer, OPEN + bdat(b"z"), "250 250 250")
        assert server.messages[0].content == b"z"


def test_data_and_chunks_do_not_mix():
    """Within the chunks DATA, RCPT and MAIL are out of order, and harm nothing."""
    with talking(server := chunking()) as peer:
        within = OPEN + b"BDAT 1\r\nxDATA\r\nRCPT TO:<g@h.i>\r\nMAIL FROM:<>\r\n"
        said(peer.hello(), within + bdat(b"y"), "250 250 250 503 503 503 250")
        assert server.messages[0].content == b"xy"
        said(peer, bdat(b"late"), "503")


@pytest.mark.parametrize("arg", ["", "x", "-1", "1 FIRST", "1  LAST", "+1", "1_0", "LAST"])
def test_what_is_no_chunk(arg: str):
    """A command without a size that makes sense gets 501, and nothing is swallowed."""
    with talking(chunking()) as peer:
        said(peer.hello(), OPEN + f"BDAT {arg}\r\n".encode(), "250 250 501")


def test_size_limit():
    """A chunk that goes beyond SIZE is refused, the last one as any content is."""
    with talking(server := chunking(keywords=["SIZE 10"])) as peer:
        said(peer.hello(), OPEN + bdat(b"x" * 6, b"x" * 5, b""), "250 250 250 552 503")
        assert server.rejected == ()
        said(peer, OPEN + bdat(b"x" * 6, b"x" * 5), "250 250 250 552")
        assert server.rejected[0].chunks == (6, 5)
        said(peer, OPEN + bdat(b"x" * 6, b"x" * 4), "250 250 250 250")


# -- announcing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        ({}, set()),
        ({"chunking": True}, {"chunking"}),
        ({"binarymime": True}, {"chunking", "binarymime"}),
        ({"keywords": [*KEYWORDS, "CHUNKING"]}, {"chunking"}),
    ],
)
def test_what_is_announced(options: dict, keywords: set[str]):
    """CHUNKING and BINARYMIME are announced where they are asked for, and then obeyed."""
    with ScriptedServer(**options) as server, smtplib.SMTP(server.host, server.port) as client:
        client.ehlo()
        assert {"chunking", "binarymime"} & client.esmtp_features.keys() == keywords
        client.mail("a@b.c")
        assert client.docmd("BDAT", "0")[0] == (554 if keywords else 500)


def test_without_chunking_content_is_commands():
    """A client that was not offered BDAT sees its content taken for commands."""
    with talking(ScriptedServer()) as peer:
        said(peer.hello(), OPEN + bdat(b"VRFY a\r\n"), "250 250 500 252")


def test_binarymime_needs_bdat():
    """BODY=BINARYMIME is taken where it was announced, and then DATA is out of order."""
    opened = b"MAIL FROM:<a@b.c> BODY=BINARYMIME\r\nRCPT TO:<d@e.f>\r\nDATA\r\n"
    with talking(server := ScriptedServer(binarymime=True)) as peer:
        said(peer.hello(), opened + bdat(b"\0"), "250 250 503 250")
        assert server.messages[0].mail_params == ("BODY=BINARYMIME",)


# -- scripts -----------------------------------------------------------------------------------


def test_the_reply_to_the_last_chunk_is_that_of_the_content():
    """A script for EOD fits DATA and BDAT alike, by recipient and by message."""
    with talking(server := chunking({"EOD": {"d@e.f": ["550 5.7.1 spam"]}})) as peer:
        said(peer.hello(), OPEN + bdat(b"a", b"b"), "250 250 250 550")
        assert server.rejected[0].content == b"ab"
        said(peer, OPEN + bdat(b"c"), "250 250 250")
        assert server.sessions[0].commands[4].code == 550


def test_scripted_chunks():
    """BDAT in a script is asked at each chunk, and leaves the last one that it takes to EOD."""
    script = {"BDAT": ["250 one", "251 two", "252 three"], "EOD": "250 taken"}
    with talking(server := chunking(script)) as peer:
        peer.hello().send(OPEN + bdat(b"a", b"b", b"c"))
        replies = [peer.reply() for _ in range(5)][2:]
        assert replies == [b"250 one\r\n", b"251 two\r\n", b"250 taken\r\n"]
        assert server.messages[0].content == b"abc"


def test_callable_sees_the_chunks_so_far():
    """A callable is asked before the chunk is read, and EOD has the whole content."""
    seen = []
    script = {
        "BDAT": lambda session, arg: seen.append((arg, list(session.chunks))),
        "EOD": lambda session, arg: seen.append((session.content, list(session.chunks))),
    }
    with talking(chunking(script)) as peer:
        said(peer.hello(), OPEN + bdat(b"a", b"bc"), "250 250 250 250")
    assert seen == [("1", []), ("2 LAST", [1]), (b"abc", [1, 2])]


def test_refusal_of_the_last_chunk_leaves_eod_out():
    """Where BDAT is refused there is no message, and a new transaction may begin."""
    script = {"BDAT": {"d@e.f": ["552 5.3.4 too big"]}, "EOD": "250 taken"}
    with talking(server := chunking(script)) as peer:
        said(peer.hello(), OPEN + bdat(b"a") + OPEN + bdat(b"b"), "250 250 552 250 250 250")
        assert [message.content for message in server.messages] == [b"b"]


def test_delays_go_before_the_reply():
    """A chunk can be late, the last as well as the first."""
    script = {"BDAT": Delay(0.001, then=Delay(0.001)), "EOD": [Delay(0.001), "451 no"]}
    with talking(server := chunking(script)) as peer:
        said(peer.hello(), OPEN + bdat(b"a", b"b") + OPEN + bdat(b"c"), "250 " * 6 + "451")
        assert [message.code for message in server.messages] == [250]


@pytest.mark.parametrize("action", [Close(), Reply("421 4.3.2 bye", then=Close())])
def test_close_behind_a_chunk(action):
    """The connection ends between two chunks, and there is no message."""
    with talking(server := chunking({"BDAT": action})) as peer:
        peer.hello().send(OPEN + b"BDAT 1\r\nx")
        assert peer.replies(2) == [b"250", b"250"]
        assert peer.file.read() in {b"", b"421 4.3.2 bye\r\n"}
        assert server.messages == ()
        assert server.sessions[0].verbs == ("EHLO", "MAIL", "RCPT", "BDAT")


@pytest.mark.parametrize("delay", [False, True])
@pytest.mark.parametrize("end", [b"", b" LAST"])
@pytest.mark.parametrize("then", [Close(), Reply("552 5.3.4 too big", then=Close())])
def test_close_in_mid_chunk(then, end: bytes, delay: bool):
    """The connection ends after some bytes of the chunk, whose rest nobody waits for."""
    action = Delay(0.001, then=MidContent(10, then)) if delay else MidContent(10, then)
    with talking(server := chunking({"BDAT": action})) as peer:
        peer.hello().send(OPEN + b"BDAT 100%s\r\n123456789" % end)
        assert peer.replies(2) == [b"250", b"250"]
        peer.send(b"0")
        assert peer.file.read() in {b"", b"552 5.3.4 too big\r\n"}
        assert server.messages == ()
        assert server.sessions[0].verbs[-1] == "BDAT"


def test_early_refusal_of_a_chunk_leaves_the_connection_open():
    """A reply in mid-chunk is the only one; the rest is thrown away, as are later chunks."""
    with talking(server := chunking({"BDAT": [MidContent(1, Reply("552 5.3.4 no"))]})) as peer:
        peer.hello().send(OPEN + b"BDAT 6\r\nQ")
        assert peer.replies(3) == [b"250", b"250", b"552"]
        said(peer, b"UIT\r\n" + bdat(b"more"), "503")
        said(peer, OPEN + bdat(b"again"), "250 250 250")
        assert [message.content for message in server.messages] == [b"again"]
        assert server.sessions[0].commands[3].code == 552


def test_short_chunk_reaches_the_middle_too():
    """A chunk shorter than the limit is acted upon at its end."""
    with talking(chunking({"BDAT": [MidContent(10_000, Reply("552 5.3.4 no"))]})) as peer:
        said(peer.hello(), OPEN + bdat(b"short"), "250 250 552")


def test_a_connection_lost_in_mid_chunk():
    """A chunk that did not come whole is no message; its command is on record, unanswered."""
    with talking(server := chunking()) as peer:
        peer.hello().send(OPEN + b"BDAT 100 LAST\r\nhalf")
        assert peer.replies(2) == [b"250", b"250"]
        peer.close()
        server.wait_until(lambda server: server.sessions[0].ended == "client")
        assert server.messages == ()
        assert server.sessions[0].commands[-1][:4] == ("BDAT", "100 LAST", False, None)


@pytest.mark.parametrize("action", [Close(), Silence(), NoReply()])
def test_message_without_a_reply_is_on_record(action):
    """The content came whole, and the client cannot know: as behind the lone dot."""
    with talking(server := chunking({"EOD": action})) as peer:
        peer.hello().send(OPEN + bdat(CONTENT))
        (message,) = server.wait_for(1)
        assert (message.code, message.verb) == (None, "BDAT")


def test_stop_in_mid_chunk():
    """A chunk that never comes keeps nobody."""
    with talking(server := chunking()) as peer:
        peer.send(HELLO + OPEN + b"BDAT 999999999999 LAST\r\nx")
        peer.replies(4)
        server.stop()
        assert server.sessions[0].ended == "stopped"
