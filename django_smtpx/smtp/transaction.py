"""One mail transaction on its way: the replies it has got, and what they make of each recipient."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypedDict, TypeVar

from django_smtpx.smtp import failures, verdict
from django_smtpx.smtp.content import stuff
from django_smtpx.smtp.envelope import Result
from django_smtpx.smtp.errors import (
    DataRefused,
    ProtocolError,
    RecipientsRefused,
    ReplyError,
    SenderRefused,
    SMTPError,
)

if TYPE_CHECKING:
    from django_smtpx.smtp.content import Body
    from django_smtpx.smtp.envelope import ContentSent, Envelope, Phase
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.reply import Reply
    from django_smtpx.smtp.transcript import Entries

_E = TypeVar("_E", bound=SMTPError)


class Facts(TypedDict):
    """What a session knows about its connection, as fields of a :class:`Result`."""

    host: str
    ip: str
    port: int
    tls: str
    tls_verified_by: str


REFUSALS: dict[Phase, type[ReplyError]] = {
    "mail": SenderRefused,
    "rcpt": RecipientsRefused,
    "data": DataRefused,
    "eod": DataRefused,
}


class Transaction:
    """The course of one envelope through one session.

    ``body`` is the content, ``wire`` the same as DATA has it, where that was made
    ready ahead, and ``verb`` the command that it goes under, DATA or BDAT.
    ``started`` is when it was begun. Refusals are judged by ``options``.
    ``content_start`` and ``content_end`` are its place in the stream of all bytes
    sent, once it has one; the end of a streamed content is far away until its
    last byte is there. ``waits`` are the seconds that its replies were waited for,
    by phase. ``failure`` is what cut the transaction off. ``done`` says
    that no reply can change it any more.
    """

    __slots__ = (
        "accepted",
        "body",
        "content_end",
        "content_start",
        "data_reply",
        "done",
        "entries",
        "envelope",
        "eod_reply",
        "failure",
        "group",
        "mail_reply",
        "options",
        "pipelined",
        "rcpt_replies",
        "started",
        "verb",
        "waits",
        "wire",
    )

    def __init__(
        self,
        envelope: Envelope,
        *,
        group: list[bytes],
        body: Body,
        options: Options,
        pipelined: bool,
        chunked: bool,
    ) -> None:
        self.envelope = envelope
        self.group = group
        self.body = body
        self.options = options
        self.pipelined = pipelined
        self.verb = "BDAT" if chunked else "DATA"
        self.started = time.monotonic()
        self.entries: Entries = []
        self.waits: dict[str, float] = {}
        self.accepted = 0
        self.mail_reply: Reply | None = None
        self.rcpt_replies: list[Reply] = []
        self.data_reply: Reply | None = None
        self.eod_reply: Reply | None = None
        self.content_start: int | None = None
        self.content_end = 0
        self.failure: SMTPError | None = None
        self.done = False
        self.wire: bytes | None = None

    def ahead(self) -> Transaction:
        """Make the content ready for the wire before its turn, and return the transaction."""
        if self.body.whole is not None and not self.chunked:
            self.wire = stuff(self.body.whole)
        return self

    @property
    def chunked(self) -> bool:
        """Whether the content goes by BDAT, without a go-ahead of the server (RFC 3030)."""
        return self.verb == "BDAT"

    @property
    def streamed(self) -> bool:
        """Whether the content goes block by block, with nothing behind it."""
        return self.body.whole is None

    @property
    def touched(self) -> bool:
        """Whether the server has answered any command of it."""
        return self.mail_reply is not None

    @property
    def sender_refused(self) -> bool:
        """Whether MAIL was refused."""
        return self.mail_reply is not None and self.mail_reply.severity > 3

    def content_sent(self, sent_total: int) -> ContentSent:
        """Return how much of the content had left when ``sent_total`` bytes of the stream had."""
        if self.content_start is None or sent_total <= self.content_start:
            return "no"
        return "partial" if sent_total < self.content_end else "all"

    def results(self, facts: Facts, *, disconnected: bool) -> tuple[Result, ...]:
        """Return a result per recipient, in the envelope's order.

        ``facts`` are the fields of :class:`Result` that the session knows
        (host, ip, port, tls, tls_verified_by). ``disconnected`` says whether
        the server has hung up since.
        """
        last = self.eod_reply
        if last is not None and last.severity == 2:
            return self._sent(last, facts, disconnected=disconnected)
        if self.mail_reply is not None and self.sender_refused and not self._contradicted:
            error = self._refused("mail", "MAIL", self.mail_reply, facts, disconnected=disconnected)
            return tuple(_failed(name, error, facts) for name in self.envelope.recipients)
        shared = self._shared(facts, disconnected=disconnected)
        return tuple(
            self._result(index, name, shared, facts, disconnected=disconnected)
            for index, name in enumerate(self.envelope.recipients)
        )

    def _sent(self, last: Reply, facts: Facts, *, disconnected: bool) -> tuple[Result, ...]:
        results: list[Result] = []
        first: Result | None = None
        for name, reply in zip(self.envelope.recipients, self.rcpt_replies, strict=True):
            if reply.code // 100 != 2:
                error = self._refused("rcpt", "RCPT", reply, facts, disconnected=disconnected)
                results.append(_failed(name, error, facts))
            elif first is None:
                # By position, and the rest of it again for every other recipient: there is one
                # for each mail, and names take three times as long.
                first = Result(
                    name, "sent", "ok", "none", "eod", self.verb,
                    last.code, last.enhanced_code, last.text,
                    facts["host"], facts["ip"], facts["port"],
                    facts["tls"], facts["tls_verified_by"],
                )  # fmt: skip
                results.append(first)
            else:
                results.append(Result(name, *first[1:]))
        return tuple(results)

    def _shared(self, facts: Facts, *, disconnected: bool) -> SMTPError | None:
        """Return the error of every recipient that was not refused by itself."""
        error: SMTPError | None = None
        if self.eod_reply is not None:
            error = self._refused(
                "eod", self.verb, self.eod_reply, facts, disconnected=disconnected
            )
            early = self.failure is not None and self.failure.content_sent == "partial"
            error.content_sent = "partial" if early else "all"
            if error.action == "suppress" and self.accepted > 1:
                # Nobody can say which of the recipients it is about.
                error.action = "fail"
        elif self.data_reply is not None and self.data_reply.severity > 3:
            error = self._refused("data", "DATA", self.data_reply, facts, disconnected=disconnected)
        elif self.failure is not None:
            error = locate(self.failure, facts)
            error.disconnected = error.disconnected or disconnected
        return error

    def _result(
        self,
        index: int,
        name: str,
        shared: SMTPError | None,
        facts: Facts,
        *,
        disconnected: bool,
    ) -> Result:
        reply = self.rcpt_replies[index] if index < len(self.rcpt_replies) else None
        if reply is not None and reply.severity != 2 and not self._out_of_step:
            return _failed(
                name, self._refused("rcpt", "RCPT", reply, facts, disconnected=disconnected), facts
            )
        assert shared is not None, "a recipient that was accepted has an end"
        return _failed(name, shared, facts)

    @property
    def _contradicted(self) -> bool:
        """Whether the server took a recipient, and all of the content, of a sender that it refused.

        That is no answer; but nobody can say any more that it was not taken.
        """
        error = self.failure
        return (
            isinstance(error, ProtocolError)
            and self.accepted > 0
            and error.content_sent == "all"
            and error.code is not None
            and error.code // 100 == 2
        )

    @property
    def _out_of_step(self) -> bool:
        """Whether a reply too many, or too few, came before the content.

        Then nobody can say which of the replies before it was whose, and none is believed.
        """
        error = self.failure
        return (
            isinstance(error, ProtocolError)
            and error.code is not None
            and error.content_sent == "no"
        )

    def _refused(
        self, phase: Phase, command: str, reply: Reply, facts: Facts, *, disconnected: bool
    ) -> ReplyError:
        error = failures.refused(REFUSALS[phase], phase, command, reply, self.options)
        error.disconnected = disconnected
        return locate(error, facts)


def locate(error: _E, facts: Facts) -> _E:
    """Return ``error`` with the place it happened at."""
    error.host, error.ip, error.port = facts["host"], facts["ip"], facts["port"]
    return error


def unsent(envelope: Envelope, error: SMTPError, facts: Facts) -> tuple[Result, ...]:
    """Return the results of an envelope that ``error`` kept from being begun."""
    locate(error, facts)
    return tuple(_failed(name, error, facts) for name in envelope.recipients)


def _failed(name: str, error: SMTPError, facts: Facts) -> Result:
    judged = verdict.Verdict(error.category, error.action, error.temporary)
    return Result(
        recipient=name,
        outcome=judged.outcome,
        category=error.category,
        action=error.action,
        phase=error.phase,
        command=error.command,
        code=error.code,
        enhanced_code=error.enhanced_code,
        reply=error.reply,
        error=error,
        rule=error.rule,
        **facts,
    )
