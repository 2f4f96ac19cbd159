"""One connection of a scripted server, from the greeting to the end, in a thread of its own."""

from __future__ import annotations

import base64
import binascii
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from django_smtpx.testing.actions import Action, Close, Reply, code_of, with_default
from django_smtpx.testing.records import Command, Ended, ReceivedMessage, ReceivedSession
from django_smtpx.testing.wire import ConversationEnd, Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from django_smtpx.testing.server import ScriptedServer

_PATH = re.compile(r"(?:FROM|TO):\s*<([^>]*)>(?:\s+(.*))?\Z", re.IGNORECASE)


class Conversation:
    """The session as it goes on; what a callable in a script is given.

    To read: ``number`` (of the session, from 1), ``transaction`` (the number of
    the current or next mail transaction, over all sessions, from 1), ``helo``,
    ``tls`` (the protocol version, or ""), ``user`` (who logged in, or ""),
    ``sender``, ``mail_params``, ``recipients`` (accepted so far), ``content``
    (at EOD), ``commands``, ``messages`` and ``ended``.
    """

    def __init__(
        self, server: ScriptedServer, sock: socket.socket, peer: tuple[str, int], number: int
    ) -> None:
        self.number = number
        self.peer = peer
        self.transaction = 0
        self.helo = ""
        self.tls = ""
        self.user = ""
        self.sender: str | None = None
        self.mail_params: tuple[str, ...] = ()
        self.recipients: list[str] = []
        self.rcpt_params: list[tuple[str, ...]] = []
        self.content = b""
        self.commands: list[Command] = []
        self.messages: list[ReceivedMessage] = []
        self._server = server
        self._wire = Wire(sock, server.stopping)
        self.ended: Ended = ""
        self._error = ""

    def snapshot(self) -> ReceivedSession:
        """Return what has happened so far."""
        return ReceivedSession(
            number=self.number,
            peer=self.peer,
            helo=self.helo,
            tls=self.tls,
            user=self.user,
            commands=tuple(self.commands),
            messages=tuple(self.messages),
            ended=self.ended,
            error=self._error,
        )

    def run(self) -> None:
        """Converse to the end, and close the connection whatever happens."""
        try:
            self._converse()
        except ConversationEnd as over:
            self.ended, self._error = over.ended, over.error
        except OSError as error:
            self.ended, self._error = "lost", str(error)
        finally:
            if self._server.stopping.is_set():
                self.ended = "stopped"
            self._wire.close()

    def hang_up(self) -> None:
        """From another thread: make whatever this conversation waits for end."""
        self._wire.hang_up()

    # -- the conversation ----------------------------------------------------------------------

    def _converse(self) -> None:
        if self._server.implicit_tls:
            self.tls = self._wire.handshake(self._server.ssl_context)
        self._do("CONNECT", "", self._server.greeting)
        while True:
            line = self._wire.line()
            verb, _, arg = line.partition(" ")
            verb = verb.upper()
            handler = _HANDLERS.get(verb, Conversation._unknown)
            handler(self, verb, arg.strip())

    def _do(self, verb: str, arg: str, default: str, subjects: Sequence[str] = ()) -> int | None:
        """Do what the script wants, else reply ``default``; return the code that was said."""
        action = self._action(verb, arg, default, subjects)
        code = code_of(action)
        if verb != "CONNECT" and self._server.record:
            self.commands.append(Command(verb, arg, bool(self.tls), code, time.monotonic()))
        self._wire.perform(action)
        return code

    def _action(self, verb: str, arg: str, default: str, subjects: Sequence[str]) -> Action:
        usual = _usual(default)
        try:
            action = self._server.rules.action(verb, self, arg, subjects or (arg,))
        except Exception as error:  # noqa: BLE001 (it is raised again where the server stops)
            self._server.failed(error)
            return Reply("421 4.3.0 The script of this server failed", then=Close())
        return usual if action is None else with_default(action, usual)

    # -- commands ------------------------------------------------------------------------------

    def _ehlo(self, verb: str, arg: str) -> None:
        name = self._server.hostname
        lines = [name, *self._keywords()] if verb == "EHLO" else [name]
        if self._do(verb, arg, "250 " + "\n".join(lines), [arg]) == 250:
            self.helo = arg
            self._forget()

    def _keywords(self) -> list[str]:
        words = list(self._server.keywords)
        if self._server.starttls and not self.tls:
            words.append("STARTTLS")
        if self._server.users is not None:
            words.append("AUTH PLAIN LOGIN")
        return words

    def _starttls(self, verb: str, arg: str) -> None:
        offered = self._server.starttls and not self.tls
        default = ("220", "2.0.0", "Ready") if offered else ("503", "5.5.1", "Not offered")
        if self._do(verb, arg, self._text(*default)) == 220:
            self.tls = self._wire.handshake(self._server.ssl_context)
            self.helo = ""
            self.user = ""
            self._forget()

    def _auth(self, verb: str, arg: str) -> None:
        mechanism, _, initial = arg.partition(" ")
        steps = _MECHANISMS.get(mechanism.upper())
        if self._server.users is None:
            default = self._text("503", "5.5.1", "AUTH is not offered")
        elif self.user:
            default = self._text("503", "5.5.1", "Already authenticated")
        elif steps is None:
            default = self._text("504", "5.5.4", "Unrecognized mechanism")
        elif initial:
            default = self._auth_done(mechanism, [initial])
        else:
            default = "334 " + steps[0]
        answers = [initial] if initial else []
        code = self._do(verb, arg, default, [mechanism])
        while code == 334:
            answers.append(self._wire.line())
            default = self._auth_done(mechanism, answers)
            code = self._do("(AUTH)", answers[-1], default, [mechanism])
        if code == 235:
            self.user = _credential(mechanism, answers)[0] or "?"

    def _auth_done(self, mechanism: str, answers: list[str]) -> str:
        steps = _MECHANISMS.get(mechanism.upper(), ("",))
        if answers[-1] == "*":
            return self._text("501", "5.7.0", "Cancelled")
        if len(answers) < len(steps):
            return "334 " + steps[len(answers)]
        username, password = _credential(mechanism, answers)
        users = self._server.users or {}
        if username in users and users[username] == password:
            return self._text("235", "2.7.0", "Authentication successful")
        return self._text("535", "5.7.8", "Authentication credentials invalid")

    def _mail(self, verb: str, arg: str) -> None:
        address, params = _path(arg)
        if self.sender is None:
            self.transaction = self._server.next_transaction()
        default = self._mail_default(address, params)
        code = self._do(verb, arg, default, [address or ""])
        if code is not None and code // 100 == 2:
            self.sender, self.mail_params = address or "", params
            self.recipients, self.rcpt_params = [], []

    def _mail_default(self, address: str | None, params: tuple[str, ...]) -> str:
        server = self._server
        if server.require_tls and not self.tls:
            return self._text("530", "5.7.0", "Must issue a STARTTLS command first")
        if server.require_auth and not self.user:
            return self._text("530", "5.7.0", "Authentication required")
        if self.sender is not None:
            return self._text("503", "5.5.1", "Nested MAIL command")
        if address is None:
            return self._text("501", "5.5.4", "Syntax: MAIL FROM:<address>")
        sizes = [int(p[5:]) for p in params if p.upper().startswith("SIZE=") and p[5:].isdigit()]
        if server.max_size and sizes and sizes[0] > server.max_size:
            return self._text("552", "5.3.4", "Message size exceeds fixed limit")
        return self._text("250", "2.1.0", "OK")

    def _rcpt(self, verb: str, arg: str) -> None:
        address, params = _path(arg)
        if self.sender is None:
            default = self._text("503", "5.5.1", "Need MAIL command")
        elif not address:
            default = self._text("501", "5.1.3", "Syntax: RCPT TO:<address>")
        else:
            default = self._text("250", "2.1.5", "OK")
        code = self._do(verb, arg, default, [address or ""])
        if code is not None and code // 100 == 2:
            self.recipients.append(address or "")
            self.rcpt_params.append(params)

    def _data(self, verb: str, arg: str) -> None:
        if self.sender is None:
            default = self._text("503", "5.5.1", "Need MAIL command")
        elif not self.recipients:
            default = self._text("554", "5.5.1", "No valid recipients")
        else:
            default = "354 End data with <CR><LF>.<CR><LF>"
        if self._do(verb, arg, default, self.recipients or [""]) == 354:
            content = self._wire.content()
            if content is not None:
                self.content = content
                self._end_of_data()
            self._forget()

    def _end_of_data(self) -> None:
        server = self._server
        number = server.next_message()
        if server.max_size and len(self.content) > server.max_size:
            default = self._text("552", "5.3.4", "Message size exceeds fixed limit")
        else:
            default = self._text("250", "2.0.0", f"OK queued as {number}")
        action = self._action("EOD", "", default, self.recipients)
        message = ReceivedMessage(
            sender=self.sender or "",
            recipients=tuple(self.recipients),
            content=self.content,
            mail_params=self.mail_params,
            rcpt_params=tuple(self.rcpt_params),
            session=self.number,
            number=number,
            tls=bool(self.tls),
            user=self.user,
            code=code_of(action),
            at=time.monotonic(),
        )
        if server.record:
            self.messages.append(message)
        # Before the reply: who has the reply in hand finds the message on record.
        server.received(message)
        self._wire.perform(action)

    def _rset(self, verb: str, arg: str) -> None:
        if self._do(verb, arg, self._text("250", "2.0.0", "OK")) == 250:
            self._forget()

    def _simple(self, verb: str, arg: str) -> None:
        if verb == "NOOP":
            self._do(verb, arg, self._text("250", "2.0.0", "OK"))
        else:
            self._do(verb, arg, self._text("252", "2.5.0", "Cannot say"))

    def _quit(self, verb: str, arg: str) -> None:
        if self._do(verb, arg, self._text("221", "2.0.0", "Bye")) == 221:
            self._wire.goodbye("quit")

    def _unknown(self, verb: str, arg: str) -> None:
        self._do(verb, arg, self._text("500", "5.5.2", "Command unrecognized"))

    def _text(self, code: str, enhanced: str, text: str) -> str:
        return f"{code} {enhanced} {text}" if self._server.enhanced_codes else f"{code} {text}"

    def _forget(self) -> None:
        """Forget the transaction (RFC 5321 section 4.1.1.5)."""
        self.sender = None
        self.mail_params = ()
        self.recipients, self.rcpt_params = [], []
        self.content = b""


_HANDLERS: dict[str, Callable[[Conversation, str, str], None]] = {
    "EHLO": Conversation._ehlo,
    "HELO": Conversation._ehlo,
    "STARTTLS": Conversation._starttls,
    "AUTH": Conversation._auth,
    "MAIL": Conversation._mail,
    "RCPT": Conversation._rcpt,
    "DATA": Conversation._data,
    "RSET": Conversation._rset,
    "NOOP": Conversation._simple,
    "VRFY": Conversation._simple,
    "QUIT": Conversation._quit,
}

# What the server asks for, step by step, in base64.
_MECHANISMS = {"PLAIN": ("",), "LOGIN": ("VXNlcm5hbWU6", "UGFzc3dvcmQ6")}


@lru_cache(maxsize=256)
def _usual(text: str) -> Reply:
    return Reply(text)


def _path(arg: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the address of ``FROM:<…>`` or ``TO:<…>`` and the parameters behind it."""
    match = _PATH.match(arg)
    if match is None:
        return None, ()
    return match[1], tuple((match[2] or "").split())


def _credential(mechanism: str, answers: Sequence[str]) -> tuple[str, str]:
    """Return the user name and the password in the client's answers; "" for what is not there."""
    try:
        texts = [base64.b64decode(answer, validate=True).decode() for answer in answers]
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    if mechanism.upper() == "PLAIN" and texts:
        parts = texts[0].split("\0")
        return (parts[1], parts[2]) if len(parts) == 3 else ("", "")
    if mechanism.upper() == "LOGIN" and len(texts) == 2:
        return texts[0], texts[1]
    return (texts[0] if texts else ""), ""
