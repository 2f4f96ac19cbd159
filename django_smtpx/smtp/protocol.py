"""The SMTP client as a state machine without I/O.

Bytes come in by :meth:`Protocol.receive_data` and :meth:`Protocol.receive_eof`,
bytes go out by :meth:`Protocol.data_to_send`, and :meth:`Protocol.next_event`
says what has happened. The machine knows which replies are owed and which
command each of them answers; :mod:`.states` is its table.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from django_smtpx.smtp import commands, content, sasl, verdict
from django_smtpx.smtp.capabilities import Capabilities
from django_smtpx.smtp.errors import (
    AuthenticationError,
    ProtocolError,
    ReplyError,
    ServerDisconnected,
    ServerTimeout,
    SMTPError,
    TLSError,
    TLSModeMismatch,
    UnsupportedFeature,
)
from django_smtpx.smtp.options import IMPLICIT_TLS_PORT, Security
from django_smtpx.smtp.parser import ReplyReader
from django_smtpx.smtp.redaction import REDACTED, Redactor
from django_smtpx.smtp.states import CONTENT, GREETING, PHASES, TRANSITIONS, State, verb
from django_smtpx.smtp.transaction import SERVICE_NOT_AVAILABLE, Transaction, refused

if TYPE_CHECKING:
    from django_smtpx.smtp.envelope import ContentSent, Envelope, Phase
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.reply import Reply
    from django_smtpx.smtp.transcript import Entries

_UNKNOWN_COMMAND = frozenset({500, 501, 502, 504})
_TLS_RECORD = (b"\x15\x03", b"\x16\x03")


@dataclass(frozen=True, slots=True)
class Opened:
    """The session is ready for transactions."""


@dataclass(frozen=True, slots=True)
class HandshakeWanted:
    """The server awaits TLS: shake hands, then call :meth:`Protocol.tls_started`."""


@dataclass(frozen=True, slots=True)
class ContentWanted:
    """The server awaits the content: call :meth:`Protocol.send_content`, or withdraw."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Finished:
    """No reply can change the transaction any more."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Ended:
    """The dialogue is over, because of ``error``."""

    error: SMTPError


Event = Opened | HandshakeWanted | ContentWanted | Finished | Ended


class Protocol:
    """One dialogue with one server, from the greeting to QUIT.

    ``sent_total`` is the caller's to raise: how many bytes of the stream were
    handed to the network; ``offered_total`` counts those, too, that are being
    handed over now. ``replies`` counts the whole replies read, and
    ``transactions`` those transactions that got to their end. ``failure`` is
    what ended the dialogue; ``disconnected`` says whether the server hung up.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._redactor = Redactor(options.credential)
        self._reader = ReplyReader()
        self._owed: deque[tuple[str, Transaction | None]] = deque([(GREETING, None)])
        self._current: deque[Transaction] = deque()
        self._events: deque[Event] = deque()
        self._outgoing: list[bytes] = []
        self._queued_total = 0
        self._mechanism: sasl.Mechanism | None = None
        self._cancelled = False
        self._handlers = {
            GREETING: self._on_greeting,
            "EHLO": self._on_ehlo,
            "HELO": self._on_helo,
            "STARTTLS": self._on_starttls,
            "AUTH": self._on_auth,
            "MAIL": self._on_mail,
            "RCPT": self._on_rcpt,
            "DATA": self._on_data,
            CONTENT: self._on_content,
            "RSET": self._on_rset,
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
        if self.failure is not None or self.state is State.CLOSED:
            return
        reader = self._reader
        reader.feed(data)
        try:
            while self._owed:
                reply = reader.next_reply()
                if reply is None:
                    self._look_for_tls(data)
                    return
                self.replies += 1
                self._on_reply(reply)
                if self.failure is not None:
                    return
            self._refuse_stray()
        except ProtocolError as error:
            self._garbage(error.message, data)

    def receive_eof(self) -> None:
        """Take in that the server has closed the connection."""
        self.disconnected = True
        if self.failure is not None:
            self.failure.disconnected = True
        elif self.state is not State.CLOSED and not self._quitting:
            self.fail(self._broken(ServerDisconnected, "The server closed the connection"))
        self.state = State.CLOSED

    def receive_timeout(self) -> None:
        """Take in that the reply owed next has not come in time."""
        silent_on_tls_port = (
            self.state is State.GREETING
            and self._options.port == IMPLICIT_TLS_PORT
            and not self.tls
        )
        if silent_on_tls_port:
            self.fail(self._mode_mismatch("the server stays silent"))
        else:
            self.fail(self._broken(ServerTimeout, "The server did not answer in time"))

    def receive_error(self, error: SMTPError) -> None:
        """Take in that the connection failed below SMTP; ``error`` gets its place."""
        place = self._broken(ServerDisconnected, "")
        error.phase, error.command = place.phase, place.command
        error.content_sent = place.content_sent
        if place.category == verdict.UNKNOWN_OUTCOME.category:
            error.category, error.action = place.category, place.action
        if self.failure is None:
            self.fail(error)

    def data_to_send(self) -> bytes:
        """Return what is to be sent, and forget it."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing[0] if len(outgoing) == 1 else b"".join(outgoing)

    def next_event(self) -> Event | None:
        """Return what happened next, or None when bytes are needed."""
        return self._events.popleft() if self._events else None

    # -- what is going on ------------------------------------------------------------------------

    @property
    def owed(self) -> str | None:
        """The command whose reply is owed next ("" is the greeting, "." the content), or None."""
        return self._owed[0][0] if self._owed else None

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

    # -- what the caller asks for ----------------------------------------------------------------

    def tls_started(self) -> None:
        """Go on behind a TLS handshake: all that was known is forgotten (RFC 3207 section 4.2)."""
        self.tls = True
        self.capabilities = Capabilities()
        self._reader = ReplyReader()
        self.state = State.HELLO
        self._send("EHLO", commands.ehlo(self._options.helo))

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
        """End the dialogue before a content leaves: closing, never a dot (RFC 5321 4.1.1.4)."""
        self.fail(
            SMTPError(
                "The message was withdrawn before its content was sent",
                phase="data",
                command="DATA",
                **_judged(verdict.WITHDRAWN),
            )
        )

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
        error.disconnected = error.disconnected or self.disconnected
        self.entries.append((time.monotonic(), "-", str(error)))
        if self._current:
            transaction = self._current.popleft()
            if not self._dropped_idle(transaction, error):
                transaction.failure = error
                transaction.done = True
                transaction.entries.append(self.entries.pop())
                self._events.append(Finished(transaction))
        self._events.append(Ended(error))

    def _dropped_idle(self, transaction: Transaction, error: SMTPError) -> bool:
        if transaction.touched or not self.transactions:
            return False
        goodbye = error.code == SERVICE_NOT_AVAILABLE or error.enhanced_code == "4.4.2"
        return goodbye or isinstance(error, ServerDisconnected) or error.command == "RSET"

    # -- replies ---------------------------------------------------------------------------------

    def _on_reply(self, reply: Reply) -> None:
        reply = self._redactor.reply(reply)
        command, transaction = self._owed.popleft()
        entries = self.entries if transaction is None else transaction.entries
        entries.append((time.monotonic(), "S:", reply))
        if reply.code == SERVICE_NOT_AVAILABLE and command != "QUIT":
            self.fail(self._refused(command, reply, transaction))
            return
        try:
            self.state = TRANSITIONS[command][self.state][reply.severity]
        except KeyError:
            self.fail(self._out_of_step(command, reply, transaction))
            return
        self._handlers[command](reply, transaction)

    def _on_greeting(self, reply: Reply, _: Transaction | None) -> None:
        if self.state is State.OVER:
            self._refuse_session(self._refused(GREETING, reply))
        else:
            self._send("EHLO", commands.ehlo(self._options.helo))

    def _on_ehlo(self, reply: Reply, _: Transaction | None) -> None:
        options = self._options
        if self.state is State.READY:
            self.capabilities = Capabilities.from_reply(reply)
            self._go_on()
        elif (
            reply.code in _UNKNOWN_COMMAND
            and options.credential is None
            and options.security in (Security.NONE, Security.OPPORTUNISTIC)
            and not self.tls
        ):
            # RFC 5321 section 3.2; HELO can offer neither TLS nor AUTH.
            self._send("HELO", commands.helo(options.helo))
        else:
            self._refuse_session(self._refused("EHLO", reply))

    def _on_helo(self, reply: Reply, _: Transaction | None) -> None:
        if self.state is State.READY:
            self._events.append(Opened())
        else:
            self._refuse_session(self._refused("HELO", reply))

    def _go_on(self) -> None:
        """Take the next step behind an EHLO: TLS, then AUTH, then work."""
        options = self._options
        if not self.tls and options.security in (Security.STARTTLS, Security.OPPORTUNISTIC):
            if self.capabilities.starttls:
                self._send("STARTTLS", commands.STARTTLS)
                return
            if options.security is Security.STARTTLS:
                self._refuse_session(
                    TLSError(
                        "TLS is required, and the server does not offer STARTTLS",
                        phase="starttls",
                        command="STARTTLS",
                        **_judged(verdict.TLS_FAILED),
                    )
                )
                return
        if options.credential is None:
            self._events.append(Opened())
        elif not (self.tls or options.allow_plaintext_auth):
            self._refuse_auth(
                "Credentials are configured, and the connection is not encrypted: use TLS "
                "(security), or set allow_plaintext_auth"
            )
        else:
            self._start_auth()

    def _start_auth(self) -> None:
        credential = self._options.credential
        assert credential is not None
        offered, allowed = self.capabilities.auth, self._options.auth
        mechanism = sasl.choose(offered, allowed, credential)
        if mechanism is None:
            offers = f"offers only {' '.join(offered)}" if offered else "does not offer AUTH"
            self._refuse_auth(
                f"Credentials are configured, and the server {offers} "
                f"(usable here: {' '.join(sasl.usable(allowed)) or 'nothing'})"
            )
            return
        self._mechanism = mechanism
        initial = mechanism.initial()
        line = commands.auth(mechanism.name, initial)
        shown = f"AUTH {mechanism.name}"
        if initial is not None and len(line) > commands.INITIAL_RESPONSE_LIMIT:
            line = commands.auth(mechanism.name)
        elif initial is not None:
            shown += f" {REDACTED}"
        self._send("AUTH", line, shown=shown)

    def _on_auth(self, reply: Reply, _: Transaction | None) -> None:
        mechanism = self._mechanism
        assert mechanism is not None
        if self.state is State.AUTH:
            response = mechanism.respond(reply.lines[0]) if not self._cancelled else None
            if self._cancelled:
                self.fail(self._out_of_step("AUTH", reply, None))
            elif response is None:
                self._cancelled = True
                self._send("AUTH", commands.CANCEL)
            else:
                self._send("AUTH", commands.auth_response(response), shown=REDACTED)
        elif reply.severity == 2:
            self.authenticated = True
            self._events.append(Opened())
        else:
            # No walk through the other mechanisms: a refused credential is refused.
            error = self._refused("AUTH", reply)
            if self._cancelled:
                error.category, error.action, error.temporary = (
                    verdict.AUTH_STUCK.category,
                    verdict.AUTH_STUCK.action,
                    verdict.AUTH_STUCK.temporary,
                )
            self._refuse_session(error)

    def _on_starttls(self, reply: Reply, _: Transaction | None) -> None:
        if self.state is not State.TLS:
            self._refuse_session(self._refused("STARTTLS", reply))
        elif self._reader.trailing:
            # Whoever sits on the way could have put it there (RFC 3207 section 6).
            self.fail(
                ProtocolError(
                    "The server sent more in clear behind its answer to STARTTLS: somebody may "
                    "be tampering with the connection",
                    phase="starttls",
                    command="STARTTLS",
                    **_judged(verdict.judge_garbage("starttls")),
                )
            )
        else:
            self._events.append(HandshakeWanted())

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

    def _on_nothing(self, reply: Reply, transaction: Transaction | None) -> None:
        """Do nothing: the new state is all that the reply means."""

    def _finish(self, transaction: Transaction) -> None:
        transaction.done = True
        self._current.popleft()
        self.transactions += 1
        self._events.append(Finished(transaction))

    # -- failures --------------------------------------------------------------------------------

    def _refuse_session(self, error: SMTPError) -> None:
        """End the opening; the server is still in step and may be told QUIT."""
        state = self.state
        self.fail(error)
        self.state = state

    def _refuse_auth(self, message: str) -> None:
        self._refuse_session(
            AuthenticationError(
                message, phase="auth", command="AUTH", **_judged(verdict.UNUSABLE_AUTH)
            )
        )

    def _refused(
        self, command: str, reply: Reply, transaction: Transaction | None = None
    ) -> ReplyError:
        phase = PHASES[command]
        cls = AuthenticationError if phase == "auth" else ReplyError
        error = refused(cls, phase, verb(command), reply)
        error.content_sent = self._content_sent(transaction)
        return error

    def _out_of_step(
        self, command: str, reply: Reply, transaction: Transaction | None
    ) -> ProtocolError:
        phase = PHASES[command]
        return ProtocolError(
            f"{reply} is no answer to {verb(command) or 'a new connection'}",
            phase=phase,
            command=verb(command),
            code=reply.code,
            enhanced_code=reply.enhanced_code,
            reply=reply.text,
            content_sent=self._content_sent(transaction),
            **self._judge_lost(phase, transaction, verdict.judge_garbage(phase)),
        )

    def _garbage(self, message: str, data: bytes) -> None:
        shown = self._redactor.text(data[:200].decode("utf-8", "backslashreplace"))
        self.entries.append((time.monotonic(), "S:", repr(shown)[1:-1]))
        error = self._broken(ProtocolError, self._redactor.text(message))
        if self.owed == GREETING and data.startswith(_TLS_RECORD):
            error = self._mode_mismatch("it answers in TLS")
        self.fail(error)

    def _look_for_tls(self, data: bytes) -> None:
        if self.state is State.GREETING and data.startswith(_TLS_RECORD):
            self.fail(self._mode_mismatch("it answers in TLS"))

    def _refuse_stray(self) -> None:
        """Refuse what came and was not asked for; the server's goodbye is taken for one."""
        if self.state is State.TLS:
            return
        if not self._reader.trailing.strip(b"\r\n"):
            return
        reply = self._reader.next_reply()
        if self.state is State.CLOSED:
            return
        if reply is not None and reply.code == SERVICE_NOT_AVAILABLE:
            reply = self._redactor.reply(reply)
            self.fail(refused(ReplyError, "mail", "", reply))
        else:
            self._garbage("The server said something that it was not asked for", b"")

    def _broken(self, cls: type[SMTPError], message: str) -> SMTPError:
        """Return the error of the command whose reply is owed next."""
        command, transaction = self._owed[0] if self._owed else (None, None)
        if command is None:
            transaction = self._current[0] if self._current else None
            phase: Phase = "data" if transaction is not None else "mail"
            name = "DATA" if transaction is not None else ""
        else:
            phase, name = PHASES[command], verb(command)
        judged = {
            ServerDisconnected: verdict.judge_disconnect,
            ServerTimeout: verdict.judge_timeout,
            ProtocolError: verdict.judge_garbage,
        }[cls](phase)
        return cls(
            f"{message} (after {name})" if name else message,
            phase=phase,
            command=name,
            content_sent=self._content_sent(transaction),
            **self._judge_lost(phase, transaction, judged),
        )

    def _judge_lost(
        self, phase: Phase, transaction: Transaction | None, judged: verdict.Verdict
    ) -> _Judged:
        if phase == "eod" and self._content_sent(transaction) == "all":
            judged = verdict.UNKNOWN_OUTCOME
        return _judged(judged)

    def _content_sent(self, transaction: Transaction | None) -> ContentSent:
        return "no" if transaction is None else transaction.content_sent(self.sent_total)

    def _mode_mismatch(self, sign: str) -> TLSModeMismatch:
        return TLSModeMismatch(
            f"Port {self._options.port} seems to speak TLS from the first byte ({sign}): set "
            "security to 'implicit' (use_ssl=True), or use the port for STARTTLS, 587",
            phase="greeting",
            **_judged(verdict.TLS_FAILED),
        )

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
        self._owed.append((command, transaction))
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


class _Judged(TypedDict):
    category: str
    action: str
    temporary: bool


def _judged(judged: verdict.Verdict) -> _Judged:
    """Return a verdict as the fields of an error."""
    return {
        "category": judged.category,
        "action": judged.action,
        "temporary": judged.temporary,
    }


def _unsupported(need: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"The message needs {need}, and the server does not have it",
        phase="mail",
        command="MAIL",
        **_judged(verdict.UNSUPPORTED),
    )


def _too_large(size: int, limit: int) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"The message has {size} bytes, and the server takes {limit} (SIZE, RFC 1870)",
        phase="mail",
        command="MAIL",
        **_judged(verdict.TOO_LARGE),
    )
