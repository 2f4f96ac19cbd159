"""The record of a dialogue, bounded and free of secrets, rendered only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.smtp.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 65_536
"""Characters in one rendered transcript; the middle of a longer one is left out."""

Entries = list[tuple[float, str, "bytes | str | Reply"]]
"""When (monotonic seconds), who ("C:", "S:", "-"), and what: secrets are never put in."""


def render(start: float, *parts: Entries) -> str:
    """Return the lines of ``parts``, with seconds since ``start`` in front of each."""
    lines = [
        f"{when - start:8.3f} {who} {line}"
        for entries in parts
        for when, who, what in entries
        for line in _lines(what)
    ]
    text = "\n".join(lines)
    if len(text) <= LIMIT:
        return text
    half = LIMIT // 2 - 64
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[{left_out} characters left out]\n{text[-half:]}"


def _lines(what: bytes | str | Reply) -> Iterator[str]:
    if isinstance(what, Reply):
        *more, last = what.lines
        for line in more:
            yield f"{what.code}-{line}"
        yield f"{what.code} {last}".rstrip()
    elif isinstance(what, bytes):
        yield from what.decode("utf-8", "backslashreplace").removesuffix("\r\n").split("\r\n")
    else:
        yield what
