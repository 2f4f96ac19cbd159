"""Secrets are taken out of what a server says, in every encoding that it may echo them in."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from django_smtpx.smtp.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django_smtpx.smtp.options import Credential

REDACTED = "[redacted]"
_SHORT = 6
_PIECE = 12
"""Characters of an encoded secret that tell it, where a server echoes no more of it."""
_HEAD = re.compile(r"(?:[245]\.\d{1,3}\.\d{1,3})?[ \t]*")
"""What stands before a line's own words: an enhanced code."""
_WORD = re.compile(rf"[A-Za-z0-9+/=._~%-]{{{_PIECE},}}")


class Redactor:
    """Takes the secrets of one login out of replies; more of them can be learned as they come."""

    def __init__(self, credential: Credential | None) -> None:
        self._parts: list[str] = []
        self._forms = ""
        self._pattern: re.Pattern[str] | None = None
        self._known: set[str] = set()
        if credential is not None and credential.password:
            self._know(credential.password, _messages(credential))

    def learn(self, secrets: Iterable[str]) -> None:
        """Take these out, too: a bearer token, what was derived from a password."""
        for secret in secrets:
            if secret and secret not in self._known:
                self._know(secret)

    def reply(self, reply: Reply) -> Reply:
        """Return ``reply``, or one without the secrets where it holds any."""
        if self._pattern is None:
            return reply
        whole = reply.lines if len(reply.lines) == 1 else _unwrapped(reply.lines, self._pattern)
        lines = tuple([self.text(line) for line in whole])
        return reply if lines == reply.lines else Reply(reply.code, lines)

    def text(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        if self._pattern is None:
            return text
        return _WORD.sub(self._piece, self._pattern.sub(REDACTED, text))

    def _piece(self, match: re.Match[str]) -> str:
        """Return what stands for a word that may be a part of a secret: cut off, or wrapped."""
        word = match[0].strip("=.")
        return REDACTED if len(word) >= _PIECE and word in self._forms else match[0]

    def _know(self, secret: str, messages: Iterable[bytes] = ()) -> None:
        self._known.add(secret)
        raw = secret.encode("utf-8", "surrogatepass")
        inside = {_aligned(raw, shift) for shift in range(3)}
        whole = {
            secret,
            quote(raw, safe=""),
            quote_plus(raw),
            raw.hex(),
            raw.hex().upper(),
            _base64(raw),
            *map(_base64, messages),
        }
        self._parts += [_bounded(text) for text in sorted(whole, key=len, reverse=True)]
        self._parts += [
            rf"{re.escape(text)}[A-Za-z0-9+/=]*" for text in inside if len(text) >= _SHORT
        ]
        self._forms += "\n".join(("", *whole, *inside))
        self._pattern = re.compile("|".join(self._parts))


def _unwrapped(lines: Sequence[str], pattern: re.Pattern[str]) -> Sequence[str]:
    """Return ``lines`` without what is found once they are put together: a secret that is wrapped
    over them, to its end, which may be too little of one to be told in its own line.
    """
    heads = [match.end() for match in map(_HEAD.match, lines) if match]
    texts = [line[head:].rstrip() for line, head in zip(lines, heads, strict=True)]
    found = [match.span() for match in pattern.finditer("".join(texts))]
    shown, begin = [], 0
    for line, head, text in zip(lines, heads, texts, strict=True):
        end = begin + len(text)
        for first, last in reversed(found):
            if first < end and last > begin:
                at, to = max(first, begin) - begin + head, min(last, end) - begin + head
                line = f"{line[:at]}{REDACTED}{line[to:]}"  # noqa: PLW2901 (it is what is shown)
        shown.append(line)
        begin = end
    return shown


def _messages(credential: Credential) -> tuple[bytes, ...]:
    """Return what PLAIN says: a short password would not be found inside of it."""
    raw = credential.password.encode("utf-8", "surrogatepass")
    name = credential.username.encode("utf-8", "surrogatepass")
    return b"\0" + name + b"\0" + raw, name + b"\0" + name + b"\0" + raw


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
