"""Where the parts of a mail begin and end."""

from __future__ import annotations

import io
import tracemalloc
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from django_smtpx.reading import (
    MOST_DEPTH,
    MOST_HEADER,
    MOST_PARTS,
    Oddity,
    decoded,
    scan,
    structure,
)

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def scanned(*lines):
    """Scan a mail of lines; return it, and the bodies of its parts."""
    data = b"\r\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    mail = scan(io.BytesIO(data))
    return mail, [data[part.start : part.end] for part in mail.parts]


def test_plain():
    """A mail without MIME is one plain text."""
    mail, bodies = scanned("Subject: x", "", "hello", "world", "")
    assert (mail.parts[0].content_type, bodies) == ("text/plain", [b"hello\r\nworld\r\n"])
    assert mail.texts == mail.parts
    assert not mail.oddities


def test_as_python_composes_it():
    """A mail with alternatives, a picture and attachments comes apart as it was put together."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = "Grüße"
    mail.set_content("text\n")
    mail.add_alternative('<img src="cid:a@b">', subtype="html")
    mail.get_payload()[1].add_related(b"pixels", "image", "png", cid="<a@b>")
    mail.add_attachment(b"\0\1", "application", "pdf", filename="Ü 1.pdf")
    mail.add_attachment("notes\n", filename="notes.txt")
    data = mail.as_bytes()
    found = scan(io.BytesIO(data))
    assert [(part.content_type, part.name) for part in found.parts] == [
        ("text/plain", ""),
        ("text/html", ""),
        ("image/png", ""),
        ("application/pdf", "Ü 1.pdf"),
        ("text/plain", "notes.txt"),
    ]
    bodies = [b"".join(decoded(io.BytesIO(data), part)) for part in found.parts]
    assert bodies[2:] == [b"pixels", b"\0\1", b"notes\r\n"]
    assert bodies[0] == b"text\r\n"
    assert [part.number for part in found.texts] == [1]
    assert found.html.number == 2
    assert [part.number for part in found.attachments] == [3, 4, 5]
    assert found.parts[2].content_id == "a@b"
    assert found.parts[3].disposition == "attachment"
    assert found.headers[0].value == "Grüße"
    assert not found.oddities


def test_nested():
    """Inner multiparts end with their own delimiters, and what is behind them belongs to nobody."""
    mail, bodies = scanned(
        MIXED[:-2] + b"\r\npreamble", "--b", "Content-Type: multipart/alternative; boundary=bb", "",
        "--bb", "", "one", "--bb \t", "Content-Type: text/html", "", "two", "--bb--", "lost", "--b",
        "", "three", "--b--", "epilogue", "--b", "", "not this",
    )  # fmt: skip
    assert bodies == [b"one", b"two", b"three"]
    assert not mail.oddities


def test_line_ends():
    """A mail whose lines end in LF is read like any other."""
    data = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n\n--b--\n"
    mail = scan(io.BytesIO(data))
    assert [data[part.start : part.end] for part in mail.parts] == [b"one", b"two\n"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 64])
def test_blocks(size, monkeypatch):
    """Wherever a block ends, the delimiters are found."""
    lines = ("--b", "", "-", "--", "--bc", "--b c", "x--b", "--b", "", "--b", "", "two", "--b--")
    monkeypatch.setattr(structure, "_BLOCK", 4096)
    expected = scanned(MIXED[:-2], *lines)
    monkeypatch.setattr(structure, "_BLOCK", size)
    monkeypatch.setattr(structure, "_LONGEST_DELIMITER", 20)
    place = len(MIXED)
    data = MIXED + b"\r\n".join(line.encode() for line in lines)
    found = list(structure._lines(io.BytesIO(data), place, [b"--b"]))
    assert [line.rstrip() for _, line in found] == [
        b"--b",
        b"--bc",
        b"--b c",
        b"--b",
        b"--b",
        b"--b--",
    ]
    assert all(data[offset:].startswith(line) for offset, line in found)
    assert expected[1] == [b"-\r\n--\r\n--bc\r\n--b c\r\nx--b", b"", b"two"]


@pytest.mark.parametrize(
    ("lines", "oddity", "bodies"),
    [
        (["hello", "world"], Oddity.HEADLESS, [b"hello\r\nworld"]),
        (["Subject: x", "hello"], Oddity.HEADLESS, [b"hello"]),
        (["Content-Type: multipart/mixed", "", "hello"], Oddity.NO_BOUNDARY, [b"hello"]),
        ([MIXED, "--b", "", "one"], Oddity.UNCLOSED, [b"one"]),
        ([MIXED, "no delimiter"], Oddity.UNCLOSED, []),
        (["Content-Transfer-Encoding: x-uu", "", "a"], Oddity.ENCODING, [b"a"]),
    ],
)
def test_damaged(lines, oddity, bodies):
    """What is damaged is shown as far as it goes, and said to be damaged."""
    mail, found = scanned(*lines)
    assert mail.oddities == {oddity}
    assert found == bodies


def test_inner_multipart_without_an_end():
    """The outer delimiter ends what is within, too."""
    mail, bodies = scanned(
        MIXED[:-2], "--b", "Content-Type: multipart/mixed; boundary=i", "", "--i", "", "one", "--b",
        "", "two", "--b--",
    )  # fmt: skip
    assert bodies == [b"one", b"two"]
    assert mail.oddities == {Oddity.UNCLOSED}


def test_part_without_an_empty_line():
    """A part may be a header and nothing else."""
    mail, bodies = scanned(MIXED[:-2], "--b", "Content-Type: text/html", "--b", "--b--")
    assert [part.content_type for part in mail.parts] == ["text/html", "text/plain"]
    assert bodies == [b"", b""]


def test_digest():
    """The parts of a digest are mails unless they say something else."""
    mail, _ = scanned("Content-Type: multipart/digest; boundary=b", "", "--b", "", "x", "--b--")
    assert mail.parts[0].content_type == "message/rfc822"


def test_attached_mail():
    """A mail within a mail is a file, and is not gone into."""
    mail, _ = scanned(
        MIXED[:-2], "--b", "Content-Type: message/rfc822", "", "Content-Type: multipart/mixed; "
        "boundary=i", "", "--i", "", "inner", "--i--", "--b--",
    )  # fmt: skip
    assert [part.content_type for part in mail.attachments] == ["message/rfc822"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("Text/HTML; charset=x", "text/html"),
        ("", "text/plain"),
        ("nonsense", "application/octet-stream"),
        ("a/b/c", "a/b"),
        (f"a/{'b' * 500}", "application/octet-stream"),
    ],
)
def test_content_type(given, taken):
    """A type that is none is that of any bytes."""
    mail, _ = scanned(f"Content-Type: {given}", "", "x")
    assert mail.parts[0].content_type == taken


def test_many_parts():
    """The first thousand parts are told apart."""
    mail = scan(io.BytesIO(MIXED + b"--b\r\n\r\nx\r\n" * 10_000))
    assert mail.oddities == {Oddity.TOO_MANY}
    assert len(mail.parts) == MOST_PARTS - 1
    assert mail.parts[-1].end - mail.parts[-1].start == 1


@pytest.mark.parametrize("boundary", ["b%d", "b"])
def test_endless_nesting(boundary):
    """Multiparts are gone into to a depth, and are files below that."""
    data = b"".join(
        f"Content-Type: multipart/mixed; boundary={name}\r\n\r\n--{name}\r\n".encode()
        for name in (boundary.replace("%d", str(number)) for number in range(5000))
    )
    mail = scan(io.BytesIO(data))
    assert Oddity.TOO_DEEP in mail.oddities
    assert mail.parts[0].content_type == "multipart/mixed"
    assert data[: mail.parts[0].start].count(b"Content-Type") == MOST_DEPTH + 1


def test_lines_that_look_like_delimiters():
    """Lines that begin like a delimiter, and are none, are looked at up to a number."""
    mail = scan(io.BytesIO(MIXED + b"--b\r\n\r\n" + b"--bb\n" * 200_000))
    assert Oddity.TOO_MANY in mail.oddities


def test_long_header():
    """A header is read up to a size, and what follows is text."""
    mail = scan(io.BytesIO(b"X: y\r\n" * 100_000))
    assert mail.oddities == {Oddity.HEADER_CUT}
    assert MOST_HEADER <= len(mail.raw_header) < MOST_HEADER + 10
    assert mail.parts[0].end == 600_000


def test_memory():
    """A large mail is scanned, and a part of it read, without being held."""
    line = b"QUJD" * 19 + b"\r\n"
    data = (
        MIXED + b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + line * 150_000 + b"--b--\r\n"
    )
    file = io.BytesIO(data)
    tracemalloc.start()
    try:
        mail = scan(file)
        size = sum(map(len, decoded(file, mail.parts[0])))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 57 * 150_000
    assert mail.parts[0].size == pytest.approx(size, abs=2)
    assert most < 1024 * 1024
