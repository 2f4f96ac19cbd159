from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx.smtp import content


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b"a", b"a\r\n"),
        (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n"),
        (b"a\r", b"a\r\n"),
        (b"a\r\r\nb", b"a\r\n\r\nb\r\n"),
        (b"a\n\r\n", b"a\r\n\r\n"),
    ],
)
def test_normalise(given_, expected):
    """Every line ends with CRLF, the last one, too."""
    assert content.normalise(given_) == expected


def test_normalise_copies_nothing():
    """Proper content is not copied."""
    good = b"a\r\nb\r\n"
    assert content.normalise(good) is good


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\n..b\r\n", b"a\r\n..\r\n...b\r\n.\r\n"),
    ],
)
def test_stuff(given_, expected):
    """Leading dots are doubled, and the final dot stands alone."""
    assert content.stuff(given_) == expected


@given(st.text("a.\r\n", max_size=30).map(str.encode))
def test_nothing_ends_early(data):
    """A server reads back what was meant, with no bare CR or LF and one end."""
    normal = content.normalise(data)
    wire = content.stuff(normal)
    assert wire.endswith(b".\r\n")
    lines = wire.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert lines.index(b".") == len(lines) - 2
    read = [line.removeprefix(b".") for line in lines[:-2]]
    assert b"".join(line + b"\r\n" for line in read) == normal


def test_header():
    """Only the header counts."""
    assert content.has_8bit_header("S: \u00fc\r\n\r\nx".encode())
    assert not content.has_8bit_header("S: u\r\n\r\n\u00fc".encode())
