"""Transfer encodings undone, in blocks of any size."""

from __future__ import annotations

import base64
import quopri

import pytest

from django_smtpx.reading.transfer import from_base64, undone

DATA = bytes(range(256)) * 3 + b"a=b = c\n"


def blocks(data, size):
    """Return data in blocks."""
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 76, 5000])
@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("base64", base64.encodebytes(DATA).replace(b"\n", b"\r\n")),
        ("quoted-printable", quopri.encodestring(DATA)),
        ("8bit", DATA),
        ("", DATA),
        ("x-unknown", DATA),
    ],
)
def test_in_blocks(name, encoded, size):
    """However the body is cut, it is the same; an encoding that is unknown leaves it as it is."""
    assert b"".join(undone(name, blocks(encoded, size))) == DATA


@pytest.mark.parametrize(
    ("data", "decoded"),
    [
        (b"QUJD", b"ABC"),
        (b"QU JD\r\n", b"ABC"),
        (b"!Q?U*J-D", b"ABC"),
        (b"QUI", b"AB"),
        (b"QUI=", b"AB"),
        (b"QUJDQ", b"ABC"),
        (b"QUI=QUJD", b"AB"),
        (b"====", b""),
        (b"", b""),
    ],
)
def test_broken_base64(data, decoded):
    """As much as is whole is decoded; padding is the end."""
    assert from_base64(data) == decoded


def test_endless_line():
    """A line of quoted-printable without an end is decoded as it comes."""
    made = (b"=41=4" + b"2" for _ in range(30_000))
    assert b"".join(undone("quoted-printable", made)) == b"AB" * 30_000
