from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx.smtp import parser
from django_smtpx.smtp.errors import ProtocolError
from django_smtpx.smtp.parser import ReplyReader
from django_smtpx.smtp.reply import Reply
from tests.smtp.talk import pieces

GOOD = [
    (b"250 ok\r\n", Reply(250, ("ok",))),
    (b"250\r\n", Reply(250, ("",))),
    (b"250 \r\n", Reply(250, ("",))),
    (b"250 ok\n", Reply(250, ("ok",))),
    (b"\r\n\n250 ok\r\n", Reply(250, ("ok",))),
    (b"250-a\r\n250-\r\n250 c\r\n", Reply(250, ("a", "", "c"))),
    (b"250-a\n250-b\n250\n", Reply(250, ("a", "b", ""))),
    (b"550 caf\xc3\xa9 \xff\r\n", Reply(550, ("caf\N{LATIN SMALL LETTER E WITH ACUTE} \\xff",))),
    (b"550 a\x00b\x1b[2Jc\rd\r\n", Reply(550, ("a\ufffdb\ufffd[2Jc\ufffdd",))),
    (b"550 " + b"x" * 5000 + b"\r\n", Reply(550, ("x" * 5000,))),
]
BAD = [
    b"hello\r\n",
    b"25 ok\r\n",
    b"2500 ok\r\n",
    b"150 ok\r\n",
    b"650 ok\r\n",
    b"250:ok\r\n",
    b"250-a\r\n550 b\r\n",
    b"250-a\r\n\r\n250 b\r\n",
    b"\r\n" * 20,
    b"250 " + b"x" * 65536 + b"\r\n",
    b"x" * 65536,
    b"250-x\r\n" * 600,
    (b"250-" + b"x" * 8000 + b"\r\n") * 9,
]


@pytest.mark.parametrize("behind", [b"", b"250-more", b"junk"])
@pytest.mark.parametrize("split", ["whole", "bytes"])
@pytest.mark.parametrize(("data", "expected"), GOOD)
def test_reply(data, expected, split, behind):
    """A reply is the same in any split, and what stands behind it stays visible."""
    reader = ReplyReader()
    found = []
    for piece in pieces(data + behind, split):
        reader.feed(piece)
        reply = reader.next_reply() if not found else None
        if reply is not None:
            found.append(reply)
    assert found == [expected]
    assert reader.trailing == behind


@pytest.mark.parametrize("split", ["whole", "bytes"])
@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_no_reply(data, split):
    """What is no reply, or too large a one, raises, in any split."""
    reader = ReplyReader()

    def read():
        for piece in pieces(data, split):
            reader.feed(piece)
            while reader.next_reply() is not None:
                pass

    with pytest.raises(ProtocolError):
        read()


def test_several_replies():
    """Replies that come in one piece are given one by one."""
    reader = ReplyReader()
    reader.feed(b"250 a\r\n550-b\r\n550 c\r\n354")
    assert reader.next_reply() == Reply(250, ("a",))
    assert reader.next_reply() == Reply(550, ("b", "c"))
    assert reader.next_reply() is None
    assert reader.trailing == b"354"


def test_trailing_shows_half_a_reply():
    """Lines of a reply that has no end yet are not forgotten."""
    reader = ReplyReader()
    reader.feed(b"250-a\r\n")
    assert reader.next_reply() is None
    assert reader.trailing == b"250-..."


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes(chunks):
    """Whatever comes, nothing but ProtocolError is raised and memory stays bounded."""
    reader = ReplyReader()
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while reader.next_reply() is not None:
                pass
    except ProtocolError:
        return
    assert len(reader.trailing) <= parser.LINE_LIMIT


def test_the_replies_to_one_message_are_bounded():
    """Many recipients do not multiply what a server may make us hold."""
    reader = ReplyReader()
    long = (b"550-" + b"x" * 996 + b"\r\n") * 64 + b"550 end\r\n"
    taken = 0
    with pytest.raises(ProtocolError, match="one message"):
        while True:
            reader.feed(long)
            reader.next_reply()
            taken += len(long)
    assert parser.GROUP_LIMIT - 2 * len(long) < taken <= parser.GROUP_LIMIT
    reader = ReplyReader()
    for _ in range(100):
        reader.begin_group()
        reader.feed(long)
        assert reader.next_reply().code == 550


def test_two_codes_in_one_reply():
    """What a server says with another code in the middle is shown: it may be the reason."""
    reader = ReplyReader()
    reader.feed(b"220-mx.example\r\n521 5.7.1 Blocked by a list\r\n")
    with pytest.raises(ProtocolError, match=r"220 and 521: '521 5.7.1 Blocked by a list'"):
        reader.next_reply()
