"""Content on its way to the wire: line ends, dot-stuffing and the final dot (RFC 5321 4.5.2)."""

from __future__ import annotations

import re

END = b".\r\n"
"""The line that ends the content."""

_LINE_END = re.compile(rb"\r\n|\r|\n")


def normalise(content: bytes) -> bytes:
    """Return ``content`` with CRLF at the end of every line, the last one included.

    A bare CR or LF becomes CRLF: receivers differ in what they take one for, and that difference
    has been used to smuggle mail (RFC 5321 section 2.3.8). Proper content is returned as it is.
    """
    pairs = content.count(b"\r\n")
    if pairs != content.count(b"\n") or pairs != content.count(b"\r"):
        content = _LINE_END.sub(b"\r\n", content)
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    return content


def stuff(content: bytes) -> bytes:
    """Return normalised ``content`` with its leading dots doubled, and the final dot behind it."""
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content + END


def has_8bit_header(content: bytes) -> bool:
    """Whether the message header holds bytes above 127, which only SMTPUTF8 can carry."""
    header, _, _ = content.partition(b"\r\n\r\n")
    return not header.isascii()
