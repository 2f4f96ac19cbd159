"""Secrets are taken out of what a server says, in every encoding that it may echo them in."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from django_smtpx.smtp.reply import Reply

if TYPE_CHECKING:
    from django_smtpx.smtp.options import Credential

REDACTED = "[redacted]"
_SHORT = 6


class Redactor:
    """Takes one credential's secrets out of replies."""

    def __init__(self, credential: Credential | None) -> None:
        self._pattern = None if credential is None else _pattern(credential)

    def reply(self, reply: Reply) -> Reply:
        """Return ``reply``, or one without the secrets where it holds any."""
        pattern = self._pattern
        if pattern is None or not any(map(pattern.search, reply.lines)):
            return reply
        return Reply(reply.code, tuple(pattern.sub(REDACTED, line) for line in reply.lines))

    def text(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        return text if self._pattern is None else self._pattern.sub(REDACTED, text)


def _pattern(credential: Credential) -> re.Pattern[str] | None:
    password = credential.password
    if not password:
        return None
    raw = password.encode("utf-8", "surrogatepass")
    name = credential.username.encode("utf-8", "surrogatepass")
    whole = {
        password,
        quote(password, safe=""),
        quote_plus(password),
        raw.hex(),
        raw.hex().upper(),
        _base64(raw),
        _base64(b"\0" + name + b"\0" + raw),
        _base64(name + b"\0" + name + b"\0" + raw),
    }
    inside = {_aligned(raw, shift) for shift in range(3)}
    parts = [_bounded(text) for text in sorted(whole, key=len, reverse=True)]
    parts += [rf"{re.escape(text)}[A-Za-z0-9+/=]*" for text in inside if len(text) >= _SHORT]
    return re.compile("|".join(parts))


def _base64(data: bytes) -> str:
    """Return base64 without its padding, which an echo may have lost."""
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _aligned(raw: bytes, shift: int) -> str:
    """Return what base64 makes of ``raw`` at ``shift`` bytes in a longer string, whatever stands
    around it: its characters that depend on ``raw`` alone.
    """
    encoded = base64.b64encode(b"\0" * shift + raw).decode("ascii")
    first = (shift * 8 + 5) // 6
    last = (shift + len(raw)) * 8 // 6
    return encoded[first:last]


def _bounded(text: str) -> str:
    """Return a pattern for ``text``; a short one counts only as a word of its own, because it
    would tear holes into innocent words.
    """
    escaped = re.escape(text) + "=*"
    if len(text) >= _SHORT:
        return escaped
    return rf"(?<![A-Za-z0-9]){escaped}(?![A-Za-z0-9])"
