"""Header fields and their parameters as people read them (RFC 2047, RFC 2231)."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from django_smtpx.reading.charsets import as_text
from django_smtpx.reading.transfer import from_base64

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_PARAMETERS = 100
_LONGEST_VALUE = 8000

_FOLD = re.compile(r"\r?\n(?=[ \t])")
_WORD = re.compile(r"=\?([^?*\s]{1,40})(?:\*[^?\s]{0,40})?\?([BbQq])\?([^?\s]*)\?=")
# A quoted value ends at its quote; one whose quote is missing ends like any other.
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NAME_OF_PART = re.compile(r"(.+?)(?:\*(\d{1,3}))?(\*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Header:
    """One header field: its name as it stands, and its value, unfolded and decoded."""

    name: str
    value: str


def fields(block: bytes) -> list[tuple[str, str]]:
    """Return name and value of each field of a header block, unfolded and not decoded."""
    text = _FOLD.sub("", block.decode("utf-8", "replace"))
    lines = (line.rstrip("\r").partition(":") for line in text.split("\n"))
    return [(name.strip(" \t"), value.strip(" \t")) for name, colon, value in lines if colon]


def decoded_words(text: str) -> str:
    """Return ``text`` with its encoded words decoded (RFC 2047); those that cannot be stay.

    Neighbours of one charset are joined first: some senders cut a character in two.
    """
    return "".join(as_text(data, charset)[0] for charset, data in _joined(_runs(text)))


def _runs(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield charset and bytes of each encoded word, and of the text between as UTF-8."""
    end, after_word = 0, False
    for word in _WORD.finditer(text):
        between = text[end : word.start()]
        if between and not (after_word and between.isspace()):
            yield "", between.encode("utf-8", "replace")
        charset, encoding, payload = word.groups()
        data = payload.encode("utf-8", "replace")
        coded = from_base64(data) if encoding in "Bb" else binascii.a2b_qp(data, header=True)
        yield charset.lower(), coded
        end, after_word = word.end(), True
    yield "", text[end:].encode("utf-8", "replace")


def _joined(runs: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    last, pieces = "", list[bytes]()
    for charset, data in runs:
        if charset != last:
            yield last, b"".join(pieces)
            last, pieces = charset, []
        pieces.append(data)
    yield last, b"".join(pieces)


def parameters(value: str) -> dict[str, str]:
    """Return the parameters of a structured field ("text/plain; charset=x"), names in lower case.

    Parameters in pieces and those with a charset of their own are put together (RFC 2231 sections 3
    and 4); encoded words in a quoted value are decoded, as common senders have them there.
    """
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    found = _PARAMETER.finditer(value[:_LONGEST_VALUE])
    for one, _ in zip(found, range(_MOST_PARAMETERS), strict=False):
        name, text = one.group(1).lower(), _unquoted(one.group(2))
        part = _NAME_OF_PART.fullmatch(name)
        if part is None or part.group(2) is part.group(3) is None:
            plain.setdefault(name, decoded_words(text))
        else:
            numbered = pieces.setdefault(part.group(1), {})
            numbered.setdefault(int(part.group(2) or 0), (text, part.group(3) is not None))
    return plain | {name: _assembled(numbered) for name, numbered in pieces.items()}


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text.strip('"')


def _assembled(numbered: dict[int, tuple[str, bool]]) -> str:
    """Return the value of a parameter's pieces; the first says in which charset they are."""
    first, extended = numbered[min(numbered)]
    charset = ""
    if extended and first.count("'") >= 2:
        charset, _, first = first.split("'", 2)
        numbered = numbered | {min(numbered): (first, True)}
    data = (
        unquote_to_bytes(text) if coded else text.encode("utf-8", "replace")
        for _, (text, coded) in sorted(numbered.items())
    )
    return as_text(b"".join(data), charset)[0]
