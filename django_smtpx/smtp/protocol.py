"""The SMTP client as a state machine without I/O.

Bytes come in by :meth:`Protocol.receive_data` and :meth:`Protocol.receive_eof`,
bytes go out by :meth:`Protocol.data_to_send`, and :meth:`Protocol.next_event`
says what has happened. The machine knows which replies are owed and which
command each of them answers; :mod:`.states` is its table.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from django_smtpx.smtp import commands, content, failures
from django_smtpx.smtp.events import ContentWanted, Finished
from django_smtpx.smtp.opening import Opening
from django_smtpx.smtp.states import CHUNK, CONTENT, LAST_CHUNK, State
from django_smtpx.smtp.transaction import Transaction
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from django_smtpx.smtp.content import Body
    from django_smtpx.smtp.envelope import Envelope
    from django_smtpx.smtp.errors import UnsupportedFeature
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.reply import Reply


class Protocol(Opening):
    """One dialogue with one server, from the greeting to QUIT: the transactions of it.

    ``begun`` counts the transactions that were begun, ``unanswered`` the
    contents whose final reply is owed. ``verified`` is the caller's to set:
    whether the server's certificate was found to hold.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.begun = 0
        self.unanswered = 0
        self.verified = False
        self._handlers |= {
            "MAIL": self._on_mail,
            "RCPT": self._on_rcpt,
            "DATA": self._on_data,
            CONTENT: self._on_content,
            CHUNK: self._on_chunk,
            LAST_CHUNK: self._on_content,
            "RSET": self._on_rset,
        }

    @property
    def full(self) -> bool:
        """Whether the server takes no more transactions over this connection (RFC 9422)."""
        most = self.capabilities.mail_max
        return most is not None and self.begun >= most

    # -- preparing -------------------------------------------------------------------------------

    def prepare(self, envelope: Envelope) -> Transaction:
        """Make a transaction of ``envelope`` for this server; nothing is sent.

        Raises :class:`UnsupportedFeature` when the server cannot take it, :class:`SMTPError` when
        its content cannot be read, and ``ValueError`` for an address that cannot be written in a
        command.
        """
        able, options = self.capabilities, self._options
        try:
            body = envelope.inspect()
        except (OSError, ValueError) as error:
            raise failures.unreadable(error, "mail", "MAIL", "no") from error
        smtputf8 = body.eight_bit_header or not envelope.ascii_paths
        if smtputf8 and not able.smtputf8:
            raise self._unsupported(
                said("SMTPUTF8 (RFC 6531), because an address or header is not ASCII")
            )
        if able.size_limit is not None and body.size > able.size_limit:
            raise failures.too_large(body.size, able.size_limit)
        if envelope.require_tls:
            self._check_requiretls()
        chunked = options.chunking and able.chunking
        dsn = envelope.dsn if able.dsn else None
        mail = commands.mail(
            envelope.sender,
            size=body.size if able.size else None,
            body=self._body_type(chunked=chunked) if body.eight_bit else "",
            smtputf8=smtputf8,
            requiretls=envelope.require_tls,
            dsn=dsn,
        )
        group = [mail, *commands.rcpts(envelope.recipients, smtputf8=smtputf8, dsn=dsn)]
        if not chunked:
            group.append(commands.DATA)
        return Transaction(
            envelope,
            group=group,
            body=body,
            options=options,
            pipelined=options.pipelining and able.pipelining,
            chunked=chunked,
        )

    def _body_type(self, *, chunked: bool) -> Literal["8BITMIME", "BINARYMIME"]:
        able = self.capabilities
        if able.eight_bit_mime:
            return "8BITMIME"
        if able.binarymime and chunked:
            return "BINARYMIME"
        raise self._unsupported(said("8BITMIME (RFC 6152), because the content is not 7-bit"))

    def _check_requiretls(self) -> None:
        """See to it that REQUIRETLS may be asked for (RFC 8689 section 4.2.1)."""
        if not (self.tls and self.verified):
            raise self._unsupported(
                "REQUIRETLS (RFC 8689)",
                said("the server did not show a certificate that was verified here")
                if self.tls
                else said("the server speaks no TLS here"),
            )
        if not self.capabilities.requiretls:
            raise self._unsupported("REQUIRETLS (RFC 8689)")

    def _unsupported(self, need: str, why: str = "") -> UnsupportedFeature:
        return failures.unsupported(need, why, self.capabilities.keywords)

    # -- sending ---------------------------------------------------------------------------------

    def begin(self, transaction: Transaction) -> None:
        """Start a transaction; with PIPELINING its whole group goes out at once (RFC 2920).

        It may be called while the content of one transaction is under way, and then goes right
        behind it.
        """
        behind_chunks = self.unanswered > 0 and self._current[-1].chunked
        self._current.append(transaction)
        transaction.started = time.monotonic()
        self.begun += 1
        self._reader.begin_group()
        if behind_chunks or self.state in (State.MAIL, State.RCPT):
            # The last transaction was refused, and is still open on the server; or it went by
            # BDAT, and would be open if that should be refused (RFC 3030 section 2).
            self._send("RSET", commands.RSET, transaction)
            if not transaction.pipelined:
                return
        if not transaction.pipelined:
            self._send("MAIL", transaction.group[0], transaction)
            return
        owed, place = self._owed, self._queued_total
        if not owed:
            self.stopwatch.begin()
        owed.append(("MAIL", transaction, place))
        owed.extend([("RCPT", transaction, place)] * len(transaction.envelope.recipients))
        if not transaction.chunked:
            owed.append(("DATA", transaction, place))
        self._write(b"".join(transaction.group), transaction.entries)

    def send_content(self, transaction: Transaction) -> None:
        """Send the content and what ends it: the final dot, or the mark of the last chunk."""
        body = transaction.body
        size = body.size
        if not self._owed:
            self.stopwatch.begin()
        transaction.content_start = self._queued_total
        transaction.entries.append((time.monotonic(), "C:", f"[{size} bytes of content]"))
        self.unanswered += 1
        if body.whole is None:
            transaction.content_end = sys.maxsize
            pieces = self._chunks if transaction.chunked else self._lines
            self._stream = pieces(transaction, body)
            return
        if transaction.chunked:
            self._owed.append((LAST_CHUNK, transaction, self._queued_total))
            head = commands.bdat(size, last=True)
            self._outgoing += (head, body.whole)
            self._queued_total += len(head) + size
        else:
            self._owed.append((CONTENT, transaction, self._queued_total))
            wire = transaction.wire or content.stuff(body.whole)
            self._outgoing.append(wire)
            self._queued_total += len(wire)
        transaction.content_end = self._queued_total

    def _lines(self, transaction: Transaction, body: Body) -> Iterator[bytes]:
        """Give a streamed content for DATA."""
        self._owed.append((CONTENT, transaction, self._queued_total))
        for piece in content.stuffed(body):
            self._queued_total += len(piece)
            if piece is content.END:
                self._end_stream(transaction)
            yield piece

    def _chunks(self, transaction: Transaction, body: Body) -> Iterator[bytes]:
        """Give a streamed content for BDAT; a reply is owed to each chunk."""
        for piece, last in content.chunks(body):
            command = LAST_CHUNK if last else CHUNK
            self._owed.append((command, transaction, self._queued_total))
            data = commands.bdat(len(piece), last=last) + piece
            self._queued_total += len(data)
            if last:
                self._end_stream(transaction)
            yield data

    def _end_stream(self, transaction: Transaction) -> None:
        transaction.content_end = self._queued_total
        self._stream = None

    def withdraw(self) -> None:
        """End the dialogue before a content leaves: closing, never a dot (RFC 5321 4.1.1.4).

        What was begun has no end then: nobody was told anything of it, and it is not attempted.
        """
        self._current.clear()
        self.fail(failures.withdrawn())

    # -- replies ---------------------------------------------------------------------------------

    def _on_mail(self, reply: Reply, transaction: Transaction | None) -> None:
        assert transaction is not None
        if self.state is State.READY and self._idled_out(reply, transaction):
            self.fail(self._refused("MAIL", reply, transaction))
            return
        transaction.mail_reply = reply
        if not transaction.pipelined:
            if self.state is State.MAIL:
                self._send("RCPT", transaction.group[1], transaction)
            else:
                self._finish(transaction)

    def _idled_out(self, reply: Reply, transaction: Transaction) -> bool:
        """Say whether the server means the connection, in use before, and not the message."""
        unsent = transaction.content_start is None
        return self.transactions > 0 and unsent and reply.enhanced_code == "4.4.2"

    def _on_rcpt(self, reply: Reply, transaction: Transaction | None) -> None:
        assert transaction is not None
        replies = transaction.rcpt_replies
        replies.append(reply)
        if reply.code // 100 == 2:
            transaction.accepted += 1
        if transaction.pipelined and not transaction.chunked:
            return
        if len(replies) < len(transaction.envelope.recipients):
            if not transaction.pipelined:
                self._send("RCPT", transaction.group[len(replies) + 1], transaction)
        elif transaction.content_start is None:
            self._on_last_rcpt(transaction)

    def _on_last_rcpt(self, transaction: Transaction) -> None:
        if not transaction.accepted or transaction.sender_refused:
            self._finish(transaction)
        elif transaction.chunked:
            self._events.append(ContentWanted(transaction))
        else:
            self._send("DATA", commands.DATA, transaction)

    def _on_data(self, reply: Reply, transaction: Transaction | None) -> None:
        assert transaction is not None
        if reply.code > 399 and self._reader.trailing.startswith(b"354"):
            # DATA's own answer is the one behind: this refusal is a recipient's.
            self.fail(self._out_of_step("DATA", reply, transaction))
            return
        transaction.data_reply = reply
        if self.state is State.CONTENT:
            self._events.append(ContentWanted(transaction))
        elif self.state is State.EMPTY:
            # Nobody is to receive it: a lone dot, and what is said to that counts for nobody.
            self._send(CONTENT, content.END, transaction)
        else:
            self._finish(transaction)

    def _on_chunk(self, reply: Reply, transaction: Transaction | None) -> None:
        assert transaction is not None
        if reply.severity == 2 or transaction.eod_reply is not None:
            return
        transaction.eod_reply = reply
        if self._stream is not None or self.sent_total < transaction.content_end:
            # What is refused already is not completed.
            self.fail(self._refused(CHUNK, reply, transaction))

    def _on_content(self, reply: Reply, transaction: Transaction | None) -> None:
        assert transaction is not None
        if transaction.content_start is None:
            self._finish(transaction)
            return
        command = LAST_CHUNK if transaction.chunked else CONTENT
        if self.sent_total < transaction.content_end:
            self._answered_early(command, reply, transaction)
            return
        self.unanswered -= 1
        if transaction.eod_reply is None:
            transaction.eod_reply = reply
        elif reply.severity == 2:
            # A chunk was refused, and the whole is accepted: nobody can say what that means.
            transaction.eod_reply = None
            self.fail(self._out_of_step(command, reply, transaction))
            return
        self._finish(transaction)

    def _answered_early(self, command: str, reply: Reply, transaction: Transaction) -> None:
        """Judge a reply to a content that has not wholly left: it must not be completed now."""
        if reply.severity == 2:
            self.fail(self._out_of_step(command, reply, transaction))
            return
        transaction.eod_reply = reply
        self.fail(self._refused(command, reply, transaction))

    def _on_rset(self, _: Reply, transaction: Transaction | None) -> None:
        if transaction is not None and not transaction.pipelined:
            self._send("MAIL", transaction.group[0], transaction)

    def _finish(self, transaction: Transaction) -> None:
        transaction.done = True
        self._current.popleft()
        self.transactions += 1
        self._events.append(Finished(transaction))
