"""A transaction up to its recipient, and no further: what a server would say, and no content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.smtp import commands, failures
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.errors import (
    ProtocolError,
    RecipientsRefused,
    SenderRefused,
    ServerDisconnected,
    ServerTimeout,
    SMTPError,
)
from django_smtpx.smtp.parser import ReplyReader
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.smtp.connection import Connection
    from django_smtpx.smtp.envelope import Phase
    from django_smtpx.smtp.reply import Reply


def rehearse(
    connection: Connection, sender: str, recipient: str, limit: float
) -> list[Reply | SMTPError]:
    """Say MAIL and RCPT, then RSET; return the reply to each of the first two, or the error.

    It takes ``limit`` seconds at most, and ends at the first error. A connection that is lost by
    it is closed; any other is in step again. Raises ``ValueError`` for an address that no command
    can carry.
    """
    able = connection.protocol.capabilities
    utf8 = able.smtputf8 and not (sender.isascii() and recipient.isascii())
    mail = commands.mail(sender, smtputf8=utf8)
    rcpt = commands.rcpt(recipient, smtputf8=utf8)
    talk = _Talk(connection, limit)
    answers: list[Reply | SMTPError] = []
    try:
        answers.append(talk.say("mail", "MAIL", mail))
        if isinstance(answers[0], SMTPError):
            return answers
        answers.append(talk.say("rcpt", "RCPT", rcpt))
    except SMTPError as error:
        answers.append(error)
        connection.abort()
        return answers
    finally:
        if not connection.closed:
            talk.reset()
    return answers


class _Talk:
    """Commands one by one, over a connection on which nothing is owed."""

    def __init__(self, connection: Connection, limit: float) -> None:
        self._connection = connection
        self._deadline = Deadline(limit)
        self._reader = ReplyReader(connection.protocol.redacted)

    def say(self, phase: Phase, verb: str, line: bytes) -> Reply | SMTPError:
        """Return the reply to a command, or the refusal that it is; raises what ends the talk."""
        try:
            reply = self._answer(line)
        except (ServerDisconnected, ServerTimeout, ProtocolError) as error:
            raise failures.lost(type(error), error.message, phase, verb, "no") from error
        if reply.severity == 2:
            return reply
        kind = SenderRefused if phase == "mail" else RecipientsRefused
        return failures.refused(kind, phase, verb, reply, self._connection.options)

    def reset(self) -> None:
        """Say RSET; whoever does not take it is left."""
        try:
            if self._answer(commands.RSET).severity == 2:
                return
        except SMTPError:
            pass
        self._connection.abort()

    def _answer(self, line: bytes) -> Reply:
        transport, deadline = self._connection.transport, self._deadline
        transport.send(line)
        while True:
            reply = self._reader.next_reply()
            if reply is not None:
                return self._connection.protocol.redacted_reply(reply)
            if deadline.passed:
                raise ServerTimeout(said("The server did not answer in time"))
            transport.readable(deadline.left)
            data = transport.receive()
            if data == b"":
                raise ServerDisconnected(said("The server closed the connection"))
            if data:
                self._reader.feed(data)
