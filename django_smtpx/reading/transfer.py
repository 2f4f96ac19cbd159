"""Transfer encodings undone (RFC 2045 section 6), block by block and without complaint."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64 + b"="))
_LONGEST_LINE = 64 * 1024

KNOWN = frozenset({"", "7bit", "8bit", "binary", "base64", "quoted-printable"})
"""Any other is left as it is."""


def undone(encoding: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what ``blocks`` stand for."""
    undo = _UNDO.get(encoding)
    return iter(blocks) if undo is None else undo(blocks)


def from_base64(data: bytes) -> bytes:
    """Return what ``data`` stands for, as far as it is whole; other characters do not count."""
    return b"".join(_base64([data]))


def _base64(blocks: Iterable[bytes]) -> Iterator[bytes]:
    left = b""
    for block in blocks:
        data, padding, _ = (left + block.translate(None, _NOT_BASE64)).partition(b"=")
        whole = len(data) & ~3
        yield binascii.a2b_base64(data[:whole])
        left = data[whole:]
        if padding:  # It ends here, whatever comes.
            break
    if len(left) > 1:
        yield binascii.a2b_base64(left + b"=" * (4 - len(left)))


def _quoted_printable(blocks: Iterable[bytes]) -> Iterator[bytes]:
    left = b""
    for block in blocks:
        data = left + block
        end = data.rfind(b"\n") + 1
        if not end and len(data) > _LONGEST_LINE:
            last = data.find(b"=", len(data) - 2)  # the beginning of "=3D"
            end = last if last >= 0 else len(data)
        yield binascii.a2b_qp(data[:end])
        left = data[end:]
    yield binascii.a2b_qp(left)


_UNDO: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    "base64": _base64,
    "quoted-printable": _quoted_printable,
}
