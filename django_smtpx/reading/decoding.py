"""Bodies of parts, decoded: as blocks of bytes, or as text that ends where it is too much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from django_smtpx.reading import transfer
from django_smtpx.reading.charsets import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_smtpx.reading.structure import Part

_BLOCK = 64 * 1024

# Signs for what has none, and would change how others are shown: control characters, as U+2400 ff.,
# and those that turn the direction of the text around, as their code in brackets.
_LEGIBLE = (
    {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"}
    | {0x7F: 0x2421}
    | {code: f"[U+{code:04X}]" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
)


@dataclass(frozen=True, slots=True)
class Text:
    """A text: whether it is only the beginning, and whether its charset is known."""

    value: str
    is_cut: bool
    is_known: bool


def decoded(file: BinaryIO, part: Part) -> Iterator[bytes]:
    """Yield the body of ``part`` in ``file``. Raises what reading the file raises."""
    return transfer.undone(part.encoding, _blocks(file, part))


def read_text(file: BinaryIO, part: Part, most: int) -> Text:
    """Return the body of ``part`` as text, up to ``most`` bytes of it."""
    data = bytearray()
    for block in decoded(file, part):
        data += block
        if len(data) > most:
            break
    is_cut = len(data) > most
    value, is_known = as_text(bytes(data[:most]), part.charset)
    if is_cut:
        value = value.rstrip("\N{REPLACEMENT CHARACTER}")  # a character that was cut in two
    return Text(value.replace("\r\n", "\n"), is_cut, is_known)


def legible(text: str) -> str:
    """Return ``text`` with signs in place of characters that are not seen, or deceive."""
    return text.replace("\r\n", "\n").translate(_LEGIBLE)


def _blocks(file: BinaryIO, part: Part) -> Iterator[bytes]:
    file.seek(part.start)
    left = part.end - part.start
    while left > 0 and (block := file.read(min(_BLOCK, left))):
        left -= len(block)
        yield block
