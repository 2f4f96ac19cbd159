"""Bytes as text, whatever charset they claim to be in."""

from __future__ import annotations

import encodings
import pkgutil

import pytest

from django_smtpx.reading.charsets import as_text, is_known

EVERY = sorted(module.name for module in pkgutil.iter_modules(encodings.__path__))
BYTES = bytes(range(256)) + b"\\x\\N{} xn--a-\xff=?+2AA- \x1b$B \r\n"


@pytest.mark.parametrize(
    ("data", "charset", "text", "known"),
    [
        (b"caf\xc3\xa9", "", "café", True),
        (b"caf\xc3\xa9", "US-ASCII", "café", True),
        (b"caf\xe9", "iso-8859-1", "café", True),
        (b"caf\xe9", "utf-8", "caf\N{REPLACEMENT CHARACTER}", True),
        (b"\xa4\xa2", "EUC-JP", "あ", True),
        (b"a", "no-such", "a", False),
        (b"a", "utf-8\0", "a", False),
        (b"a", "x" * 100, "a", False),
        (b"+2AA-", "utf-7", "?", True),
    ],
)
def test_as_text(data, charset, text, known):
    """A known charset is used; what does not fit is marked, and the rest is taken for UTF-8."""
    assert as_text(data, charset) == (text, known)


@pytest.mark.parametrize(
    "name", ["idna", "punycode", "undefined", "unicode_escape", "raw-unicode-escape", "bz2", "hex"]
)
def test_not_a_charset(name):
    """What Python can decode besides charsets is none: it expands, warns or raises."""
    assert not is_known(name)


def test_every_encoding_of_python():
    """No name that Python knows makes bytes raise, or text that cannot be written again."""
    for name in EVERY:
        as_text(BYTES, name)[0].encode()
