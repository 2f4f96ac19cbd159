"""The reader of replies: bytes in any split become whole replies, or an error (RFC 5321 4.2).

Strict in what a reply is, and bounded in what it may cost. The one leniency is
towards line ends: a bare LF ends a line too, and a few empty lines in front of
a reply are skipped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django_smtpx.smtp.errors import ProtocolError
from django_smtpx.smtp.reply import Reply
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable

# Security limits: what a server may make us hold in memory for one reply.
LINE_LIMIT = 12_288
"""Bytes in one line; RFC 4954 section 4 lets an AUTH challenge be that long."""
LINES_LIMIT = 512
"""Lines in one reply."""
TOTAL_LIMIT = 65_536
"""Bytes in all lines of one reply."""
GROUP_LIMIT = 4 * 1024 * 1024
"""Bytes in all the longer replies to one transaction, however many recipients it has."""
EMPTY_LINES_LIMIT = 8
"""Empty lines in front of one reply."""

_KNOWN_MOST = 64

_SINGLE = re.compile(rb"([2-5][0-9][0-9]) ([ -~]{0,1000})\r\n")
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class ReplyReader:
    """Collects bytes, and gives whole replies.

    ``redact`` takes the secrets out of what an error shows of a line. After
    :class:`ProtocolError` was raised, what follows cannot be trusted and the
    reader is not to be used any more.
    """

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        self._redact = redact
        self._known: dict[bytes, Reply] = {}
        self._buffer = b""
        self._start = 0
        self._code = 0
        self._lines: list[str] = []
        self._size = 0
        self._empty = 0
        self._left = GROUP_LIMIT

    def begin_group(self) -> None:
        """Begin to count what the replies to one transaction hold."""
        self._left = GROUP_LIMIT

    def feed(self, data: bytes) -> None:
        """Take in bytes, in whatever pieces they come."""
        if self._start < len(self._buffer):
            data = self._buffer[self._start :] + data
        self._buffer = data
        self._start = 0

    @property
    def trailing(self) -> bytes:
        """What has come and is not part of a reply that was given; "" between two replies."""
        rest = self._buffer[self._start :]
        if self._lines:
            return b"%d-..." % self._code + rest
        return rest

    def next_reply(self) -> Reply | None:
        """Return the next whole reply, or None when bytes are missing.

        Raises :class:`ProtocolError` for what is not a reply, or is a larger one than allowed.
        """
        if not self._lines:
            reply = self._single()
            if reply is not None:
                return reply
        while True:
            end = self._buffer.find(b"\n", self._start)
            if end < 0:
                # Its end may have been cut: one byte more can be the CR.
                if len(self._buffer) - self._start > LINE_LIMIT + 1:
                    raise ProtocolError(
                        said(
                            "A reply line is longer than %(most)s bytes.",
                            most=LINE_LIMIT,
                        )
                    )
                return None
            line = self._buffer[self._start : end].removesuffix(b"\r")
            self._start = end + 1
            if self._line(line):
                return self._finish()

    def _single(self) -> Reply | None:
        """Return the next reply in the common case, a short line of plain ASCII, else None.

        Servers say the same few of them again and again: these are read once, and handed out as
        the same value.
        """
        buffer, start = self._buffer, self._start
        end = buffer.find(b"\n", start) + 1
        line = buffer[start:end]
        reply = self._known.get(line)
        if reply is None:
            match = _SINGLE.fullmatch(line)
            if match is None:
                return None
            reply = Reply(int(match[1]), (match[2].decode("ascii"),))
            if len(self._known) >= _KNOWN_MOST:
                self._known.clear()
            self._known[line] = reply
        self._start = end
        self._empty = 0
        return reply

    def _line(self, line: bytes) -> bool:
        """Take one line in; return whether it is the last one of its reply."""
        if not line and not self._lines:
            self._empty += 1
            if self._empty > EMPTY_LINES_LIMIT:
                raise ProtocolError(said("Nothing but empty lines came instead of a reply."))
            return False
        if len(line) > LINE_LIMIT:
            raise ProtocolError(
                said("A reply line is longer than %(most)s bytes.", most=LINE_LIMIT)
            )
        match = _LINE.fullmatch(line)
        if match is None:
            raise ProtocolError(said("This is not an SMTP reply: %(line)s", line=self._shown(line)))
        code = int(match[1])
        if self._lines and code != self._code:
            # Shown, because postscreen drops a client in this way, and says why.
            raise ProtocolError(
                said(
                    "One reply has two codes, %(first)s and %(second)s: %(line)s",
                    first=self._code,
                    second=code,
                    line=self._shown(line),
                )
            )
        self._code = code
        self._lines.append(_decode(match[3] or b""))
        self._size += len(line)
        if self._size > TOTAL_LIMIT or len(self._lines) > LINES_LIMIT:
            raise ProtocolError(
                said(
                    "A reply is longer than %(lines)s lines or %(bytes)s bytes.",
                    lines=LINES_LIMIT,
                    bytes=TOTAL_LIMIT,
                )
            )
        return match[2] != b"-"

    def _shown(self, line: bytes) -> str:
        """Return the beginning of a line; the secrets go first, for one may be cut in two."""
        text = self._redact(line.decode("utf-8", "surrogateescape"))
        safe = text.encode("utf-8", "surrogateescape")
        shown = repr(safe[:80])[1:]
        return shown if len(safe) <= 80 else f"{shown}..."

    def _finish(self) -> Reply:
        self._left -= self._size
        if self._left < 0:
            raise ProtocolError(
                said(
                    "The replies to one message are longer than %(most)s bytes.",
                    most=GROUP_LIMIT,
                )
            )
        reply = Reply(self._code, tuple(self._lines))
        self._lines = []
        self._size = 0
        self._empty = 0
        return reply


def _decode(text: bytes) -> str:
    """Return the text of a line; what is not UTF-8 stays visible, and controls do not act."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.decode("utf-8", "backslashreplace"))
