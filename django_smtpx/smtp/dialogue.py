"""Commands and replies in step, without I/O: what every part of the SMTP dialogue rests on."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from django_smtpx.smtp import commands, failures, mode, verdict
from django_smtpx.smtp.capabilities import Capabilities
from django_smtpx.smtp.errors import (
    AuthenticationError,
    ProtocolError,
    ReplyError,
    ServerDisconnected,
    ServerTimeout,
    SMTPError,
)
from django_smtpx.smtp.events import Ended, Event, Finished
from django_smtpx.smtp.failures import SERVICE_NOT_AVAILABLE
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.parser import ReplyReader
from django_smtpx.smtp.redaction import Redactor
from django_smtpx.smtp.states import GREETING, LAST_CHUNK, PHASES, TRANSITIONS, State, verb
from django_smtpx.smtp.stopwatch import Stopwatch
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_smtpx.smtp.envelope import ContentSent, Phase
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.reply import Reply
    from django_smtpx.smtp.transaction import Transaction
    from django_smtpx.smtp.transcript import Entries


class Dialogue:
    """One dialogue with one server, from the greeting to QUIT.

    ``sent_total`` is the caller's to raise: how many bytes of the stream were
    handed to the network; ``offered_total`` counts those, too, that are being
    handed over now. ``replies`` counts the whole replies read, and
    ``transactions`` those transactions that got to their end. ``failure`` is
    what ended the dialogue; ``disconnected`` says whether the server hung up.
    ``stopwatch`` counts what each phase is waited for.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._redactor = Redactor(options.credential)
        self._redacts = options.credential is not None
        self._heard: Reply | None = None
        self._reader = ReplyReader(self._redactor.text)
        # Each with the place of its command in the stream of all bytes sent.
        self._owed: deque[tuple[str, Transaction | None, int]] = deque([(GREETING, None, -1)])
        self._current: deque[Transaction] = deque()
        self._events: deque[Event] = deque()
        self._outgoing: list[bytes] = []
        self._stream: Iterator[bytes] | None = None
        self._queued_total = 0
        self._now = 0.0
        self.stopwatch = Stopwatch()
        self._handlers: dict[str, Callable[[Reply, Transaction | None], None]] = {
            "NOOP": self._on_nothing,
            "QUIT": self._on_nothing,
        }
        self.state = State.GREETING
        self.capabilities = Capabilities()
        self.tls = options.security is Security.IMPLICIT
        self.authenticated = False
        self.sent_total = 0
        self.offered_total = 0
        self.replies = 0
        self.transactions = 0
        self.failure: SMTPError | None = None
        self.disconnected = False
        self.entries: Entries = []

    # -- the four verbs --------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take in what came from the server."""
        if self.over:
            return
        reader = self._reader
        reader.feed(data)
        self._now = time.monotonic()
        try:
            while self._owed:
                reply = reader.next_reply()
                if reply is None:
                    if self.state is State.GREETING and not self.tls:
                        self._look_for_tls()
                    return
                self.replies += 1
                self._on_reply(reply)
            self._refuse_stray()
        except ProtocolError as error:
            self._garbage(error.message, data)

    def receive_eof(self) -> None:
        """Take in that the server has closed the connection."""
        self.disconnected = True
        if self.failure is not None:
            self.failure.disconnected = True
        elif self.state is not State.CLOSED and not self._quitting and not self._refuse_greeting():
            self.fail(self._broken(ServerDisconnected, said("The server closed the connection")))
        self.state = State.CLOSED

    def receive_timeout(self, message: str = said("The server did not answer in time")) -> None:
        """Take in that the reply owed next has not come in time."""
        if not self._refuse_greeting():
            self.fail(self._broken(ServerTimeout, message))

    def receive_error(self, error: SMTPError) -> None:
        """Take in that the connection failed below SMTP; ``error`` gets its place."""
        place = self._broken(ServerDisconnected, "")
        error.phase, error.command = place.phase, place.command
        error.content_sent = place.content_sent
        if place.category == verdict.UNKNOWN_OUTCOME.category:
            verdict.UNKNOWN_OUTCOME.put_on(error)
        if self.failure is None:
            self.fail(error)

    def data_to_send(self) -> bytes:
        """Return what is to be sent next, and forget it; b"" when that was all.

        Of a streamed content it returns a block at a time.
        """
        outgoing = self._outgoing
        if outgoing:
            self._outgoing = []
            return outgoing[0] if len(outgoing) == 1 else b"".join(outgoing)
        return b"" if self._stream is None else self._next_block(self._stream)

    def _next_block(self, stream: Iterator[bytes]) -> bytes:
        try:
            return next(stream, b"")
        except (OSError, ValueError) as error:
            # It gets no end, and so is not delivered; the messages behind it are not concerned.
            transaction = self._current[0]
            self.fail(
                failures.unreadable(error, "eod", transaction.verb, self._content_sent(transaction))
            )
            return b""

    @property
    def streaming(self) -> bool:
        """Whether more of a streamed content is to come from :meth:`data_to_send`."""
        return self._stream is not None

    def next_event(self) -> Event | None:
        """Return what happened next, or None when bytes are needed."""
        return self._events.popleft() if self._events else None

    def redacted(self, text: str) -> str:
        """Return ``text`` without the secrets of this dialogue."""
        return self._redactor.text(text)

    def redacted_reply(self, reply: Reply) -> Reply:
        """Return ``reply`` without them."""
        return self._redactor.reply(reply)

    # -- what is going on ------------------------------------------------------------------------

    @property
    def owed(self) -> str | None:
        """The command whose reply is owed next ("" is the greeting, "." the content), or None."""
        return self._owed[0][0] if self._owed else None

    @property
    def over(self) -> bool:
        """Whether nothing more can be said: it failed, or QUIT was answered."""
        return self.failure is not None or self.state is State.CLOSED

    @property
    def idle(self) -> bool:
        """Whether the dialogue is in step, with no reply owed and nothing left to send."""
        return (
            self.failure is None
            and not self._owed
            and not self._current
            and self.state in (State.READY, State.MAIL, State.RCPT)
        )

    @property
    def can_quit(self) -> bool:
        """Whether QUIT may be said now."""
        return not self._owed and self.state in TRANSITIONS["QUIT"] and not self.disconnected

    @property
    def _quitting(self) -> bool:
        return self.owed == "QUIT"

    # -- commands -----

    def reset(self) -> None:
        """Say RSET; a refusal of it ends the dialogue and changes no result."""
        self._send("RSET", commands.RSET)

    def noop(self) -> None:
        """Say NOOP."""
        self._send("NOOP", commands.NOOP)

    def quit(self) -> None:
        """Say QUIT (RFC 5321 section 4.1.1.10)."""
        self._send("QUIT", commands.QUIT)

    def fail(self, error: SMTPError) -> None:
        """End the dialogue because of ``error``.

        The transaction it happened to is finished by it. Those behind it were not begun; nor was
        one whose first answer on a connection in use is the server's goodbye.
        """
        self.failure = error
        self.state = State.CLOSED
        self._owed.clear()
        self._outgoing.clear()
        self._stream = None
        error.disconnected = error.disconnected or self.disconnected
        self.entries.append((time.monotonic(), "-", str(error)))
        if self._current:
            transaction = self._current.popleft()
            if not self._dropped_idle(transaction, error):
                self._cut_off(transaction, error)
                transaction.entries.append(self.entries.pop())
        self._cut_off_followers(error)
        self._events.append(Ended(error))

    def _cut_off(self, transaction: Transaction, error: SMTPError) -> None:
        transaction.failure = error
        transaction.done = True
        self._events.append(Finished(transaction))

    def _cut_off_followers(self, error: SMTPError) -> None:
        """End the transactions behind the one that failed, as far as their content had left.

        A server that says 421 takes nothing more (RFC 5321 section 3.8): they were not begun. Of
        any other end nobody knows (RFC 1047).
        """
        if error.code == SERVICE_NOT_AVAILABLE:
            return
        for transaction in self._current:
            sent = transaction.content_sent(self.sent_total)
            if sent == "no":
                return
            self._cut_off(transaction, failures.of_follower(error, transaction.verb, sent))

    def _dropped_idle(self, transaction: Transaction, error: SMTPError) -> bool:
        """Say whether the server had left before ``transaction``, and so never heard of it."""
        if transaction.touched or not self.transactions:
            return False
        if transaction.content_sent(self.sent_total) == "all":
            return error.code == SERVICE_NOT_AVAILABLE
        goodbye = error.code == SERVICE_NOT_AVAILABLE or error.enhanced_code == "4.4.2"
        lost = isinstance(error, (ServerDisconnected, ServerTimeout))
        return goodbye or lost or error.command == "RSET"

    def _on_reply(self, reply: Reply) -> None:
        if self._redacts:
            # A mechanism has to see what came, not what is left of it on record.
            self._heard = reply
            reply = self._redactor.reply(reply)
        command, transaction, place = self._owed.popleft()
        entries = self.entries if transaction is None else transaction.entries
        waits = self.stopwatch.waits if transaction is None else transaction.waits
        self.stopwatch.lap(PHASES[command], self._now, waits)
        entries.append((self._now, "S:", reply))
        code = reply.code
        if code == SERVICE_NOT_AVAILABLE and command != "QUIT":
            self.fail(self._refused(command, reply, transaction))
            return
        if place >= self.sent_total:
            # It cannot be about a command of which no byte has left.
            self.fail(self._out_of_step(command, reply, transaction))
            return
        try:
            self.state = TRANSITIONS[command][self.state][code // 100]
        except KeyError:
            self.fail(self._out_of_step(command, reply, transaction))
            return
        self._handlers[command](reply, transaction)

    def _on_nothing(self, reply: Reply, transaction: Transaction | None) -> None:
        """Do nothing: the new state is all that the reply means."""

    # -- failures -----

    def _refused(
        self, command: str, reply: Reply, transaction: Transaction | None = None
    ) -> ReplyError:
        phase = PHASES[command]
        cls = AuthenticationError if phase == "auth" else ReplyError
        error = failures.refused(cls, phase, verb(command), reply, self._options)
        error.content_sent = self._content_sent(transaction)
        return error

    def _out_of_step(
        self, command: str, reply: Reply, transaction: Transaction | None
    ) -> ProtocolError:
        content_sent = self._content_sent(transaction)
        return failures.out_of_step(PHASES[command], verb(command), reply, content_sent)

    def _garbage(self, message: str, data: bytes = b"") -> None:
        """End the dialogue; ``message`` shows of ``data`` what may be seen of it."""
        error = self._broken(ProtocolError, message)
        if self.owed == GREETING and not self.tls and mode.is_tls(data):
            error = mode.speaks_tls(self._options, said("it answers in TLS"))
        self.fail(error)

    def _look_for_tls(self) -> None:
        if mode.is_tls(self._reader.trailing):
            self.fail(mode.speaks_tls(self._options, said("it answers in TLS")))

    def _refuse_greeting(self) -> bool:
        """Refuse half a line, at its end or its deadline, that no greeting begins with."""
        half = self._reader.trailing.strip(b"\r\n")
        if self.state is not State.GREETING or not half or mode.is_reply(half):
            return False
        text = self._redactor.text(half.decode("utf-8", "surrogateescape"))
        shown = mode.shown(text.encode("utf-8", "surrogateescape"))
        self._garbage(said("This is not an SMTP reply: %(line)s", line=shown), half)
        return True

    def _refuse_stray(self) -> None:
        """Refuse what came and was not asked for; the server's goodbye is taken for one."""
        if self.over or self.state is State.TLS or not self._reader.trailing.strip(b"\r\n"):
            return
        reply = self._reader.next_reply()
        if reply is None:
            self._garbage(said("The server said something that it was not asked for"))
            return
        reply = self._redactor.reply(reply)
        goodbye = reply.code == SERVICE_NOT_AVAILABLE
        if self._current:
            # One reply too many to a group, wherever in it that was.
            transaction = self._current[0]
            command = LAST_CHUNK if transaction.chunked else "DATA"
            judge = self._refused if goodbye else self._out_of_step
            self.fail(judge(command, reply, transaction))
        elif goodbye:
            self.fail(failures.refused(ReplyError, "mail", "", reply, self._options))
        else:
            self._garbage(said("The server said something that it was not asked for"))

    def _broken(self, cls: type[SMTPError], message: str) -> SMTPError:
        """Return the error of the command whose reply is owed next, and is waited for no more."""
        command, transaction, _ = self._owed[0] if self._owed else (None, None, 0)
        if command is None:
            transaction = self._current[0] if self._current else None
            phase, name = _between(transaction)
        else:
            phase, name = PHASES[command], verb(command)
            waits = self.stopwatch.waits if transaction is None else transaction.waits
            self.stopwatch.lap(phase, time.monotonic(), waits)
        content_sent = self._content_sent(transaction)
        if transaction is not None and content_sent == "all":
            # Sent ahead of the replies to MAIL and RCPT: what is missing is the last of them.
            phase, name = "eod", transaction.verb
        return failures.lost(cls, message, phase, name, content_sent)

    def _content_sent(self, transaction: Transaction | None) -> ContentSent:
        return "no" if transaction is None else transaction.content_sent(self.sent_total)

    # -- output ----------------------------------------------------------------------------------

    def _send(
        self,
        command: str,
        line: bytes,
        transaction: Transaction | None = None,
        *,
        shown: str | None = None,
    ) -> None:
        """Queue one command and note that its reply is owed."""
        if not self._owed:
            self.stopwatch.begin()
        self._owed.append((command, transaction, self._queued_total))
        entries = self.entries if transaction is None else transaction.entries
        if shown is None:
            self._write(line, entries)
        else:
            entries.append((time.monotonic(), "C:", shown))
            self._outgoing.append(line)
            self._queued_total += len(line)

    def _write(self, data: bytes, entries: Entries) -> None:
        entries.append((time.monotonic(), "C:", data))
        self._outgoing.append(data)
        self._queued_total += len(data)


def _between(transaction: Transaction | None) -> tuple[Phase, str]:
    """Return phase and command of a moment in which no reply is owed."""
    if transaction is None:
        return "mail", ""
    return "data" if transaction.content_start is None else "eod", transaction.verb
