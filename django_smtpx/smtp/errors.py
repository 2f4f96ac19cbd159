"""What can go wrong, as exceptions that carry everything that was known when it did.

Every error is an :class:`smtplib.SMTPException` (which is an ``OSError``), so
that code written for the standard library goes on working, and every error
pickles with all its fields.
"""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_smtpx.smtp.envelope import ContentSent, Phase, Result

_FIELDS = (
    "phase",
    "command",
    "code",
    "enhanced_code",
    "reply",
    "host",
    "ip",
    "port",
    "category",
    "action",
    "temporary",
    "rule",
    "disconnected",
    "content_sent",
    "transcript",
    "results",
    "tls_failure",
    "phases",
)


class SMTPError(smtplib.SMTPException):
    """A failure, with the phase and the command it happened in and what the server said to it.

    ``code``, ``enhanced_code`` and ``reply`` answer the command that failed;
    they are None, "" and "" when it got no answer, and never those of an
    earlier command. ``temporary`` says whether trying again can help. ``rule``
    is the id of the rule that judged the reply, "" where there was none.
    ``disconnected`` is what was known after the clean-up. ``content_sent``
    says how much of the content had left: only with ``"all"`` can the message
    have been taken (RFC 1047). ``results`` holds a result per recipient where
    a transaction had begun. ``tls_failure`` is what a report on TLS calls it
    (RFC 8460 section 4.3, such as "certificate-expired"), "" where it is none of
    the server's TLS or of a policy on it. ``phases`` are the seconds that each
    phase took of a session that could not be had.
    """

    def __init__(
        self,
        message: str,
        *,
        phase: Phase = "connect",
        command: str = "",
        code: int | None = None,
        enhanced_code: str = "",
        reply: str = "",
        host: str = "",
        ip: str = "",
        port: int = 0,
        category: str = "other_temporary",
        action: str = "retry",
        temporary: bool = True,
        rule: str = "",
        disconnected: bool = False,
        content_sent: ContentSent = "no",
        transcript: str = "",
        results: tuple[Result, ...] = (),
        tls_failure: str = "",
        phases: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.phase = phase
        self.command = command
        self.code = code
        self.enhanced_code = enhanced_code
        self.reply = reply
        self.host = host
        self.ip = ip
        self.port = port
        self.category = category
        self.action = action
        self.temporary = temporary
        self.rule = rule
        self.disconnected = disconnected
        self.content_sent: ContentSent = content_sent
        self.transcript = transcript
        self.results = results
        self.tls_failure = tls_failure
        self.phases: Mapping[str, float] = phases or {}

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: getattr(self, name) for name in _FIELDS}
        return (_rebuild, (type(self), self.message, fields))


def _rebuild(cls: type[SMTPError], message: str, fields: dict[str, Any]) -> SMTPError:
    return cls(message, **fields)


class ReplyError(SMTPError):
    """The server gave a whole reply, but not the one hoped for."""


class RecipientsRefused(ReplyError):
    """No recipient was accepted; the fields are the first refusal's, ``results`` holds them all."""


class SenderRefused(ReplyError):
    """The server refused MAIL FROM."""


class DataRefused(ReplyError):
    """The server refused DATA, or the content behind it."""


class AuthenticationError(ReplyError):
    """The server refused the credential, or offers no mechanism that can carry it."""


class ServiceUnavailable(ReplyError):
    """The server said 421: it closes the connection (RFC 5321 section 3.8)."""


class ServerDisconnected(SMTPError):
    """The server closed the connection before the command got a whole reply."""


class ServerTimeout(SMTPError):
    """The command got no whole reply in time."""


class ConnectError(SMTPError):
    """No connection could be made."""


class ResolveError(SMTPError):
    """The host's name has no address."""


class ProtocolError(SMTPError):
    """What came from the server is not SMTP, or not an answer to what was asked."""


class TLSError(SMTPError):
    """TLS that is required could not be had: not offered, handshake, name or chain."""


class TLSModeMismatch(TLSError):
    """The port speaks the other TLS mode; the message says which, and what to set."""


class UnsupportedFeature(SMTPError):
    """The message needs something that the server does not have."""
