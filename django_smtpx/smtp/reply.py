"""A server's reply as a value (RFC 5321 section 4.2, RFC 2034)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_ENHANCED = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?=[ \t]|$)")


@dataclass(frozen=True)
class Reply:
    """One whole reply: a three-digit code and the text of each of its lines.

    ``lines`` holds the text behind the code and its separator, undecoded by
    meaning: an enhanced status code is still in front of it.
    """

    code: int
    lines: tuple[str, ...] = ("",)

    @property
    def severity(self) -> int:
        """The first digit: 2 done, 3 go on, 4 not now, 5 never (RFC 5321 section 4.2.1)."""
        return self.code // 100

    @cached_property
    def enhanced_code(self) -> str:
        """The enhanced status code, such as ``5.1.1``, or "".

        It counts only where its class agrees with the code's (RFC 2034
        section 4); one that contradicts it stays part of the text.
        """
        match = _ENHANCED.match(self.lines[0])
        if match is None or int(match[1]) != self.code // 100:
            return ""
        return match[0]

    @cached_property
    def text(self) -> str:
        """All lines joined by a newline, without the code and the enhanced code."""
        code, lines = self.enhanced_code, self.lines
        if len(lines) == 1:
            return lines[0][len(code) :].lstrip() if code else lines[0]
        return "\n".join([_without(code, line) for line in lines] if code else lines)

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced_code, self.text) if part)


def _without(code: str, line: str) -> str:
    """Return ``line`` without a leading ``code``, which RFC 2034 repeats on each line."""
    if line.startswith(code) and line[len(code) : len(code) + 1] in ("", " ", "\t"):
        return line[len(code) :].lstrip()
    return line
