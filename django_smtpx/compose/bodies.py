"""What stands below a header: texts and bytes in seven bits, in lines that any server takes."""

from __future__ import annotations

import binascii
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import django

if TYPE_CHECKING:
    from collections.abc import Iterator

# What Django and the standard library do: since 6.0 a long line is reason enough to encode a
# text, and its first lines show how; before, only a line that no server takes was one.
SINCE_6 = django.VERSION >= (6, 0)
_MAX_7BIT_LINE = 78 if SINCE_6 else 998
_SAMPLED_LINES = 10 if SINCE_6 else 1000

_LINE = 76
"""Characters of a line of base64 (RFC 2045 section 6.8)."""
_OF_A_LINE = _LINE // 4 * 3
_BLOCK = _OF_A_LINE * 4096
"""Bytes that are encoded at once; they make whole lines."""
_AS_THEY_ARE = bytes({*range(32, 127), 9, 10} - {ord("=")})
"""Octets that quoted-printable leaves as they are, but for a blank at the end of a line, and a
dot that is all of one."""


class Body(NamedTuple):
    """The ``data`` of a leaf, a text with LF, and the ``encoding`` in which they are written.

    They are encoded on their way, so that a large attachment is there only
    once more. ``ended`` says whether the last line of a text has an end.
    """

    encoding: str
    data: bytes
    text: bool
    ended: bool = True


def of_text(text: str) -> Body:
    """Return a text in UTF-8, with the transfer encoding that suits it.

    Raises ``UnicodeEncodeError`` for a lone surrogate. A NUL is not looked for.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    data = text.encode()
    ended = data.endswith(b"\n")
    if not ended:
        data += b"\n"
    encoding = "7bit"
    if not data.isascii() or _longest_line(data) > _MAX_7BIT_LINE:
        encoding = "quoted-printable" if _is_readable(data) else "base64"
    # Since 6.0 Django ends the last line of a text.
    return Body(encoding, data, text=True, ended=ended or SINCE_6)


def of_bytes(data: bytes) -> Body:
    """Return what is not text: base64."""
    return Body("base64", data, text=False)


def write(body: Body, out: BytesIO) -> None:
    """Write the lines of a body, with CRLF at the end of each but perhaps the last."""
    if not body.text:
        _write_base64(memoryview(body.data), out)
    elif body.encoding == "base64":
        left = b""
        for block in _blocks(body):
            left += block
            whole = len(left) // _OF_A_LINE * _OF_A_LINE
            _write_base64(memoryview(left)[:whole], out)
            left = left[whole:]
        _write_base64(memoryview(left), out)
    else:
        for block in _blocks(body):
            out.write(block)


def _blocks(body: Body) -> Iterator[bytes]:
    """Yield a text's lines, some at once, in quoted-printable where it is to be that."""
    start = 0
    while start < len(body.data):
        end = body.data.find(b"\n", start + _BLOCK) + 1 or len(body.data)
        lines = body.data[start:end]
        if body.encoding == "quoted-printable":
            lines = binascii.b2a_qp(lines)
        lines = lines.replace(b"\n", b"\r\n")
        start = end
        yield lines if body.ended or end < len(body.data) else lines[:-2]


def _write_base64(data: memoryview, out: BytesIO) -> None:
    for start in range(0, len(data), _BLOCK):
        line = binascii.b2a_base64(data[start : start + _BLOCK], newline=False)
        out.write(b"\r\n".join([line[at : at + _LINE] for at in range(0, len(line), _LINE)]))
        out.write(b"\r\n")


def _longest_line(data: bytes) -> int:
    return max(map(len, BytesIO(data))) - 1


def _is_readable(data: bytes) -> bool:
    """Whether a person shall be able to read it (quoted-printable), unless it were longer."""
    sample = b"".join(islice(BytesIO(data), _SAMPLED_LINES))
    if SINCE_6:
        most = -(-(len(sample) + sample.count(b"\n")) // 3) * 4 + 1
        # It takes most of the time, and most texts are far from the border.
        return _longest_readable(sample) <= most or len(binascii.b2a_qp(sample)) <= most
    readable = binascii.b2a_qp(sample)
    unbroken = len(readable) - 2 * readable.count(b"=\n")
    return _longest_line(data) > _MAX_7BIT_LINE or unbroken * 3 <= len(sample) * 4


def _longest_readable(data: bytes) -> int:
    """Return how long quoted-printable of ``data`` can be, at most.

    Three characters for what is escaped, among it perhaps a blank or dot of each line; and a line
    is not broken before it has as many as leave no room for one more that is escaped.
    """
    escaped = len(data.translate(None, _AS_THEY_ARE)) + data.count(b"\n") + 1
    unbroken = len(data) + 2 * escaped
    return unbroken + 2 * (unbroken // (_LINE - 3))
