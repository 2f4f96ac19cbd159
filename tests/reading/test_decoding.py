"""Bodies as text that ends where it is too much."""

from __future__ import annotations

import io

import pytest

from django_smtpx.reading import Part, Text, legible, read_text


def part_of(data, **values):
    """Return a file with a part, and the part."""
    return io.BytesIO(b"before" + data + b"behind"), Part(
        number=1, content_type="text/plain", start=6, end=6 + len(data), **values
    )


@pytest.mark.parametrize(
    ("data", "values", "most", "text"),
    [
        (b"a\r\nb", {}, 10, Text("a\nb", is_cut=False, is_known=True)),
        (b"abc", {}, 2, Text("ab", is_cut=True, is_known=True)),
        (b"abc", {}, 3, Text("abc", is_cut=False, is_known=True)),
        ("aé".encode(), {}, 2, Text("a", is_cut=True, is_known=True)),
        (b"=41=42", {"encoding": "quoted-printable"}, 9, Text("AB", is_cut=False, is_known=True)),
        (b"\xe9", {"charset": "latin-1"}, 9, Text("é", is_cut=False, is_known=True)),
        (b"a", {"charset": "no-such"}, 9, Text("a", is_cut=False, is_known=False)),
    ],
)
def test_text(data, values, most, text):
    """A text is decoded, up to a size, and not in the middle of a character."""
    assert read_text(*part_of(data, **values), most) == text


def test_text_that_is_too_long_is_not_read():
    """No more is read of a body than is shown."""
    file, part = part_of(b"x" * 10_000_000)
    read_text(file, part, 1000)
    assert file.tell() < 200_000


def test_legible():
    """What has no sign gets one, and nothing turns the text around."""
    assert legible("a\tb\r\n\0\x1b[31m\x7f\u202eabc\u2066é") == (
        "a\tb\n␀␛[31m␡[U+202E]abc[U+2066]é"
    )
