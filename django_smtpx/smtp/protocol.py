"""The SMTP client as a state machine without I/O.

Bytes come in by :meth:`Protocol.receive_data` and :meth:`Protocol.receive_eof`,
bytes go out by :meth:`Protocol.data_to_send`, and :meth:`Protocol.next_event`
says what has happened. The machine knows which replies are owed and which
command each of them answers; :mod:`.states` is its table.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django_smtpx.smtp import commands, content, verdict
from django_smtpx.smtp.dialogue import fields_of
from django_smtpx.smtp.errors import SMTPError, UnsupportedFeature
from django_smtpx.smtp.events import ContentWanted, Finished
from django_smtpx.smtp.opening import Opening
from django_smtpx.smtp.states import CONTENT, State
from django_smtpx.smtp.transaction import Transaction

if TYPE_CHECKING:
    from django_smtpx.smtp.envelope import Envelope
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.reply import Reply


class Protocol(Opening):
    """One dialogue with one server, from the greeting to QUIT: the transactions of it."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._handlers |= {
            "MAIL": self._on_mail,
            "RCPT": self._on_rcpt,
            "DATA": self._on_data,
            CONTENT: self._on_content,
            "RSET": self._on_rset,
        }

    def prepare(self, envelope: Envelope) -> Transaction:
        """Make a transaction of ``envelope`` for this server; nothing is sent.

        Raises :class:`UnsupportedFeature` when the server cannot take it, and ``ValueError`` for
        an address that cannot be written in a command.
        """
        able = self.capabilities
        normal = content.normalise(envelope.content)
        smtputf8 = envelope.needs_smtputf8
        eight_bit = not normal.isascii()
        if eight_bit:
            smtputf8 = smtputf8 or content.has_8bit_header(normal)
        if smtputf8 and not able.smtputf8:
            raise _unsupported("SMTPUTF8 (RFC 6531), because an address or header is not ASCII")
        if eight_bit and not able.eight_bit_mime:
            raise _unsupported("8BITMIME (RFC 6152), because the content is not 7-bit")
        if able.size_limit is not None and len(normal) > able.size_limit:
            raise _too_large(len(normal), able.size_limit)
        mail = commands.mail(
            envelope.sender,
            size=len(normal) if able.size else None,
            eight_bit=eight_bit,
            smtputf8=smtputf8,
        )
        group = [mail, *commands.rcpts(envelope.recipients, smtputf8=smtputf8), commands.DATA]
        return Transaction(
            envelope,
            group=group,
            wire=content.stuff(normal),
            pipelined=self._options.pipelining and able.pipelining,
        )

    def begin(self, transaction: Transaction) -> None:
        """Start a transaction; with PIPELINING its whole group goes out at once (RFC 2920).

        It may be called while the content of one transaction is under way, and then goes right
        behind it.
        """
        self._current.append(transaction)
        if self.state in (State.MAIL, State.RCPT):
            # The last transaction was refused, and is still open on the server.
            self._send("RSET", commands.RSET, transaction)
            if not transaction.pipelined:
                return
        if not transaction.pipelined:
            self._send("MAIL", transaction.group[0], transaction)
            return
        owed = self._owed
        owed.append(("MAIL", transaction))
        owed.extend([("RCPT", transaction)] * (len(transaction.group) - 2))
        owed.append(("DATA", transaction))
        self._write(b"".join(transaction.group), transaction.entries)

    def send_content(self, transaction: Transaction) -> None:
        """Send the content and the final dot."""
        wire = transaction.wire
        transaction.wire = b""
        transaction.content_start = self._queued_total
        transaction.entries.append((time.monotonic(), "C:", f"[{len(wire)} bytes of content]"))
        self._owed.append((CONTENT, transaction))
        self._outgoing.append(wire)
        self._queued_total += len(wire)
        transaction.content_end = self._queued_total

    def withdraw(self) -> None:
        """End the dialogue before a content leaves: closing, never a dot (RFC 5321 4.1.1.4).

        What was begun has no end then: nobody was told anything of it, and it is not attempted.
        """
        self._current.clear()
        self.fail(
            SMTPError(
                "The message was withdrawn before its content was sent",
                phase="data",
                command="DATA",
                **fields_of(verdict.WITHDRAWN),
            )
        )

    def _on_mail(self, reply: Reply, transaction: Transaction | None) -> None:
        assert transaction is not None
        transaction.mail_reply = reply
        if not transaction.pipelined:
            if self.state is State.MAIL:
                self._send("RCPT", transaction.group[1], transaction)
            else:
                self._finish(transaction)

    def _on_rcpt(self, reply: Reply, transaction: Transaction | None) -> None:
        assert transaction is not None
        transaction.rcpt_replies.append(reply)
        if reply.severity == 2:
            transaction.accepted += 1
        if not transaction.pipelined:
            done = len(transaction.rcpt_replies)
            if done < len(transaction.envelope.recipients):
                self._send("RCPT", transaction.group[done + 1], transaction)
            elif transaction.accepted:
                self._send("DATA", commands.DATA, transaction)
            else:
                self._finish(transaction)

    def _on_data(self, reply: Reply, transaction: Transaction | None) -> None:
        assert transaction is not None
        transaction.data_reply = reply
        if self.state is State.CONTENT:
            self._events.append(ContentWanted(transaction))
        elif self.state is State.EMPTY:
            # Nobody is to receive it: a lone dot, and what is said to that counts for nobody.
            self._send(CONTENT, content.END, transaction)
        else:
            self._finish(transaction)

    def _on_content(self, reply: Reply, transaction: Transaction | None) -> None:
        assert transaction is not None
        if transaction.content_start is None:
            self._finish(transaction)
            return
        if self.sent_total < transaction.content_end:
            self._answered_early(reply, transaction)
            return
        transaction.eod_reply = reply
        self._finish(transaction)

    def _answered_early(self, reply: Reply, transaction: Transaction) -> None:
        """Judge a reply to a content that has not wholly left: it must not be completed now."""
        if reply.severity == 2:
            self.fail(self._out_of_step(CONTENT, reply, transaction))
            return
        transaction.eod_reply = reply
        self.fail(self._refused(CONTENT, reply, transaction))

    def _on_rset(self, _: Reply, transaction: Transaction | None) -> None:
        if transaction is not None and not transaction.pipelined:
            self._send("MAIL", transaction.group[0], transaction)

    def _finish(self, transaction: Transaction) -> None:
        transaction.done = True
        self._current.popleft()
        self.transactions += 1
        self._events.append(Finished(transaction))


def _unsupported(need: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"The message needs {need}, and the server does not have it",
        phase="mail",
        command="MAIL",
        **fields_of(verdict.UNSUPPORTED),
    )


def _too_large(size: int, limit: int) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"The message has {size} bytes, and the server takes {limit} (SIZE, RFC 1870)",
        phase="mail",
        command="MAIL",
        **fields_of(verdict.TOO_LARGE),
    )
