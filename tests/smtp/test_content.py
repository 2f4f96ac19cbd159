from __future__ import annotations

import io

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


# -- streams -------------------------------------------------------------------------------------


STREAMED = st.lists(st.sampled_from([b"a", b".", b"\r", b"\n", b"\r\n", b"\xc3\xbc"]), max_size=24)


@given(STREAMED.map(b"".join), st.integers(1, 5))
def test_streamed_as_whole(data, block):
    """Whatever the blocks, a file leaves as the same bytes would in one piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "BLOCK", block)
        whole = content.inspect(data)
        assert whole.whole is not None
        body = content.inspect(io.BytesIO(b"before" + data), 6)
        assert body.whole is None
        assert body[:3] == whole[:3]
        assert b"".join(content.stuffed(body)) == content.stuff(whole.whole)
        pieces = list(content.chunks(body))
        assert b"".join(piece for piece, _ in pieces) == whole.whole
        assert [last for _, last in pieces] == [False] * (len(pieces) - 1) + [True]
        assert all(len(piece) <= block * 2 + 2 for piece, _ in pieces)


def test_large_bytes_are_streamed(monkeypatch):
    """A large content in memory is cut into blocks as well, and not copied as a whole."""
    data = b"S: x\r\n\r\n" + b".\n" * 10
    monkeypatch.setattr(content, "WHOLE_MAX", len(data) - 1)
    body = content.inspect(data)
    assert body.whole is None
    assert body.size == len(data) + 10
    assert b"".join(content.stuffed(body)).endswith(b"\r\n..\r\n.\r\n")


def test_inspected_header():
    """A header of more than ASCII is found wherever the blank line is cut."""
    for text, in_header in [("S: \u00fc\r\n\r\nx", True), ("S: u\r\n\r\n\u00fc", False)]:
        for block in range(1, 12):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(content, "BLOCK", block)
                body = content.inspect(io.BytesIO(text.encode()))
            assert (body.eight_bit, body.eight_bit_header) == (True, in_header), block


@pytest.mark.parametrize("change", [b"", b"longer than before\r\n", b"S: shrt\r\n"])
def test_a_file_that_changes(change):
    """A file that is not what its size said does not get its end, and so is not delivered."""
    file = io.BytesIO(b"S: shorter\r\n")
    body = content.inspect(file)
    file.seek(0)
    file.truncate()
    file.write(change)
    sent = []
    with pytest.raises(content.ContentChanged, match="must not change"):
        sent.extend(content.stuffed(body))
    assert content.END not in sent
    ends = []
    with pytest.raises(content.ContentChanged):
        ends.extend(last for _, last in content.chunks(body))
    assert True not in ends


def test_a_file_that_is_read_by_others():
    """Somebody else's reading of the same file disturbs nothing."""
    file = io.BytesIO(b"S: x\r\n\r\n" + b"abc\r\n" * 5)
    body = content.inspect(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "BLOCK", 4)
        sent = []
        for piece, _ in content.chunks(body):
            sent.append(piece)
            file.seek(0, io.SEEK_END)
    assert b"".join(sent) == file.getvalue()
