"""The errors of a dialogue, each made together with the verdict on it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from django_smtpx.smtp import verdict
from django_smtpx.smtp.errors import (
    ProtocolError,
    ReplyError,
    ServerDisconnected,
    ServerTimeout,
    ServiceUnavailable,
    SMTPError,
    TLSError,
    UnsupportedFeature,
)
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from django_smtpx.smtp.envelope import ContentSent, Phase
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.reply import Reply

SERVICE_NOT_AVAILABLE = 421

TLSFailure = Literal[
    "",
    "starttls-not-supported",
    "certificate-host-mismatch",
    "certificate-expired",
    "certificate-not-trusted",
    "validation-failure",
    "tlsa-invalid",
]
"""What a report on TLS calls it (RFC 8460 section 4.3); "" where the fault is not the server's."""

_JUDGES: Mapping[type[SMTPError], Callable[[Phase], verdict.Verdict]] = {
    ServerDisconnected: verdict.judge_disconnect,
    ServerTimeout: verdict.judge_timeout,
    ProtocolError: verdict.judge_garbage,
}

# -- about the session ---------------------------------------------------------------------------


def refused(
    cls: type[ReplyError], phase: Phase, command: str, reply: Reply, options: Options
) -> ReplyError:
    """Return the error that ``reply`` is: 421 is always :class:`ServiceUnavailable`.

    ``options`` say whose reply it is, and by which rules of the caller's own it is judged first.
    """
    judged = verdict.judge_reply(
        phase, reply, host=options.host, relay=options.relay, own=options.rules
    )
    return (ServiceUnavailable if reply.code == SERVICE_NOT_AVAILABLE else cls)(
        said("The server answered %(command)s with %(reply)s", command=command, reply=reply)
        if command
        else said("The server answered the connection with %(reply)s", reply=reply),
        phase=phase,
        command=command,
        code=reply.code,
        enhanced_code=reply.enhanced_code,
        reply=reply.text,
        **judged.fields,
        tls_failure="starttls-not-supported" if phase == "starttls" else "",
    )


def no_tls(
    message: str,
    options: Options,
    failure: TLSFailure = "validation-failure",
    *,
    phase: Phase = "connect",
    command: str = "",
) -> TLSError:
    """Return the error of TLS that is not to be had; it says which policy asks for it."""
    return TLSError(
        with_policy(message, options),
        phase=phase,
        command=command,
        **verdict.TLS_FAILED.fields,
        tls_failure=failure,
    )


def with_policy(message: str, options: Options) -> str:
    """Return a sentence on TLS that failed with which policy asks for it, if any does."""
    if not options.tls_reason:
        return message
    policy = options.tls_reason
    return said("%(failure)s; TLS is asked for by %(policy)s", failure=message, policy=policy)


def out_of_step(
    phase: Phase, command: str, reply: Reply, content_sent: ContentSent
) -> ProtocolError:
    """Return the error of a reply that cannot be an answer to ``command``."""
    return ProtocolError(
        said("%(reply)s is no answer to %(command)s", reply=reply, command=command)
        if command
        else said("%(reply)s is no answer to a new connection", reply=reply),
        phase=phase,
        command=command,
        code=reply.code,
        enhanced_code=reply.enhanced_code,
        reply=reply.text,
        content_sent=content_sent,
        **_unless_sent(verdict.judge_garbage(phase), content_sent).fields,
    )


def lost(
    cls: type[SMTPError], message: str, phase: Phase, command: str, content_sent: ContentSent
) -> SMTPError:
    """Return the error of a ``command`` that gets no whole reply any more."""
    return cls(
        said("%(failure)s (after %(command)s)", failure=message, command=command)
        if command
        else message,
        phase=phase,
        command=command,
        content_sent=content_sent,
        **_unless_sent(_JUDGES[cls](phase), content_sent).fields,
    )


def of_follower(error: SMTPError, command: str, content_sent: ContentSent) -> SMTPError:
    """Return what ``error`` is to a transaction behind the one that it happened to.

    What became of the one before says nothing of it: a part of a content is no content.
    """
    own = copy.copy(error)
    own.phase, own.command, own.content_sent = "eod", command, content_sent
    own.code, own.enhanced_code, own.reply = None, "", ""
    judge = _JUDGES.get(type(error), verdict.judge_disconnect)
    _unless_sent(judge("eod"), content_sent).put_on(own)
    return own


def _unless_sent(judged: verdict.Verdict, content_sent: ContentSent) -> verdict.Verdict:
    """Return ``judged``, but where all of a content had left: then nobody knows (RFC 1047)."""
    return verdict.UNKNOWN_OUTCOME if content_sent == "all" else judged


# -- about one message ---------------------------------------------------------------------------


def invalid(error: ValueError) -> SMTPError:
    """Return the failure of an envelope that no command can carry."""
    return SMTPError(
        said("The envelope cannot be sent: %(error)s", error=error),
        phase="mail",
        command="MAIL",
        **verdict.ADDRESS_INVALID.fields,
    )


def unsupported(need: str, why: str, keywords: Iterable[str]) -> UnsupportedFeature:
    """Return the failure of a message that needs more than the server's ``keywords``."""
    has = " ".join(keywords) or said("no extension")
    return UnsupportedFeature(
        said(
            "The message needs %(need)s, and %(why)s (it has: %(has)s)",
            need=need,
            why=why or said("the server does not have it"),
            has=has,
        ),
        phase="mail",
        command="MAIL",
        **verdict.UNSUPPORTED.fields,
    )


def too_large(size: int, limit: int) -> UnsupportedFeature:
    """Return the failure of a message that the server is too small for; both are in bytes."""
    return UnsupportedFeature(
        said(
            "The message has %(size)s bytes, and the server takes %(limit)s (SIZE, RFC 1870)",
            size=size,
            limit=limit,
        ),
        phase="mail",
        command="MAIL",
        **verdict.TOO_LARGE.fields,
    )


def unreadable(
    error: Exception, phase: Phase, command: str, content_sent: ContentSent
) -> SMTPError:
    """Return the failure of a message whose content could not be read."""
    failure = SMTPError(
        said("The content cannot be read: %(error)s", error=error),
        phase=phase,
        command=command,
        **verdict.UNREADABLE.fields,
        content_sent=content_sent,
    )
    failure.__cause__ = error
    return failure


def withdrawn() -> SMTPError:
    """Return what ends a dialogue whose next content may not leave."""
    return SMTPError(
        said("The message was withdrawn before its content was sent"),
        phase="data",
        command="DATA",
        **verdict.WITHDRAWN.fields,
    )


def interrupted(verb: str) -> SMTPError:
    """Return the failure of a content, sent as a whole, whose reply nobody waited for."""
    return SMTPError(
        said("The sender was interrupted while it awaited the reply to the content"),
        phase="eod",
        command=verb,
        **verdict.UNKNOWN_OUTCOME.fields,
        content_sent="all",
    )
