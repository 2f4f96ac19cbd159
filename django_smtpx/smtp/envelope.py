"""What goes in and what comes out: an envelope, and a result for each of its recipients."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_smtpx.smtp.errors import SMTPError

Phase = Literal[
    "resolve", "connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "eod"
]
ContentSent = Literal["no", "partial", "all"]
ResultOutcome = Literal["sent", "deferred", "failed", "unknown"]


@dataclass(frozen=True, slots=True, init=False)
class Envelope:
    """One mail transaction (RFC 5321 section 3.3): a reverse path, forward paths and the content.

    ``sender`` may be "" (the null reverse path). ``content`` has CRLF line
    ends and no dot-stuffing. ``ident`` is the caller's own; it is never sent.

    Raises ``ValueError`` when there is no recipient.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    ident: object = None

    def __init__(
        self, sender: str, recipients: Iterable[str], content: bytes, ident: object = None
    ) -> None:
        if isinstance(recipients, str):
            recipients = (recipients,)
        object.__setattr__(self, "sender", sender)
        object.__setattr__(self, "recipients", tuple(recipients))
        object.__setattr__(self, "content", bytes(content))
        object.__setattr__(self, "ident", ident)
        if not self.recipients:
            raise ValueError("An envelope needs at least one recipient.")

    @property
    def needs_8bitmime(self) -> bool:
        """Whether the content holds bytes above 127 (RFC 6152)."""
        return not self.content.isascii()

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address or a header holds what only SMTPUTF8 can carry (RFC 6531)."""
        if not (self.sender.isascii() and all(map(str.isascii, self.recipients))):
            return True
        return self.needs_8bitmime and not self.content.partition(b"\r\n\r\n")[0].isascii()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one recipient in one transaction.

    ``code``, ``enhanced_code`` and ``reply`` are the server's answer to the
    command that decided it; ``code`` is None when there was none. For a
    ``sent`` recipient that is the reply after the content. ``error`` is None
    exactly when ``outcome`` is ``sent``.
    """

    recipient: str
    outcome: ResultOutcome
    category: str
    action: str
    phase: Phase
    command: str
    code: int | None = None
    enhanced_code: str = ""
    reply: str = ""
    host: str = ""
    ip: str = ""
    port: int = 0
    tls: str = ""
    tls_verified_by: str = ""
    error: SMTPError | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one transaction: a result per recipient, in the envelope's order.

    ``duration`` is in seconds. ``transcript`` is redacted, and "" where none is kept.
    """

    envelope: Envelope
    results: tuple[Result, ...]
    duration: float = 0.0
    transcript: str = ""

    @property
    def error(self) -> SMTPError | None:
        """What to raise for it: None when at least one recipient was sent, as with smtplib.

        Its ``results`` are those of all recipients.
        """
        first = self.results[0].error
        if first is None or any(result.outcome == "sent" for result in self.results):
            return None
        error = copy.copy(first)
        error.results = self.results
        error.transcript = self.transcript
        return error
