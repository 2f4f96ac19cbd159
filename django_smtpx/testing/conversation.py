"""One connection of a scripted server, from the greeting to the end, in a thread of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django_smtpx.testing.actions import code_of, data_of
from django_smtpx.testing.auth import Exchange, Place
from django_smtpx.testing.records import ReceivedSession
from django_smtpx.testing.transaction import Transactions
from django_smtpx.testing.wire import ConversationEnd

if TYPE_CHECKING:
    from collections.abc import Callable

_KEYWORD = re.compile(rb"250[ -]([A-Za-z0-9-]+)")


class Conversation(Transactions):
    """The session as it goes on; what a callable in a script is given.

    To read: ``number`` (of the session, from 1), ``transaction`` (the number of
    the current or next mail transaction, over all sessions, from 1), ``helo``,
    ``tls`` (the protocol version, or ""), ``user`` (who logged in, or ""),
    ``sender``, ``mail_params``, ``recipients`` (accepted so far), ``chunks`` (the
    sizes of those that BDAT has brought so far), ``content`` (at EOD),
    ``commands``, ``messages`` and ``ended``.
    """

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

    # -- commands ------------------------------------------------------------------------------

    def _ehlo(self, verb: str, arg: str) -> None:
        name = self._server.hostname
        lines = [name, *self._keywords()] if verb == "EHLO" else [name]
        action = self._action(verb, arg, "250 " + "\n".join(lines), [arg])
        self._note(verb, arg, code_of(action))
        if code_of(action) == 250:
            self.helo = arg
            # What counts is what was said, whoever wrote it.
            self._announced = _announced(data_of(action)) if verb == "EHLO" else frozenset()
            self._forget()
        self._wire.perform(action)

    def _keywords(self) -> list[str]:
        words = list(self._server.keywords)
        if self._server.starttls and not self.tls:
            words.append("STARTTLS")
        if self._server.users is not None:
            words.append(" ".join(("AUTH", *self._server.auth)))
        return words

    def _starttls(self, verb: str, arg: str) -> None:
        offered = self._server.starttls and not self.tls
        default = ("220", "2.0.0", "Ready") if offered else ("503", "5.5.1", "Not offered")
        if self._do(verb, arg, self._text(*default)) == 220:
            self.tls = self._wire.handshake(self._server.ssl_context)
            self.helo = ""
            self.user = ""
            self._announced = frozenset()
            self._forget()

    def _auth(self, verb: str, arg: str) -> None:
        mechanism, _, initial = arg.partition(" ")
        server = self._server
        place = Place(
            users=server.users or {},
            offered=server.auth,
            sock=self._wire.socket,
            context=server.ssl_context,
            known_bindings=server.channel_bindings,
        )
        exchange = Exchange(mechanism.upper(), place)
        if server.users is None:
            default = self._text("503", "5.5.1", "AUTH is not offered")
        elif self.user:
            default = self._text("503", "5.5.1", "Already authenticated")
        else:
            default = self._step(exchange.begin(initial))
        code = self._do(verb, arg, default, [mechanism])
        while code == 334:
            answer = self._wire.line()
            default = self._step(exchange.answer(answer))
            code = self._do("(AUTH)", answer, default, [mechanism])
        if code == 235:
            self.user = place.user or "?"

    def _step(self, reply: tuple[str, str, str]) -> str:
        """Return a reply within AUTH; a challenge has no enhanced code (RFC 4954 section 6)."""
        code, _, text = reply
        return f"{code} {text}" if code == "334" else self._text(*reply)

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


_HANDLERS: dict[str, Callable[[Conversation, str, str], None]] = {
    "EHLO": Conversation._ehlo,
    "HELO": Conversation._ehlo,
    "STARTTLS": Conversation._starttls,
    "AUTH": Conversation._auth,
    "MAIL": Conversation._mail,
    "RCPT": Conversation._rcpt,
    "DATA": Conversation._data,
    "BDAT": Conversation._bdat,
    "RSET": Conversation._rset,
    "NOOP": Conversation._simple,
    "VRFY": Conversation._simple,
    "QUIT": Conversation._quit,
}


def _announced(reply: bytes) -> frozenset[str]:
    """Return the keywords, upper case, in a reply to EHLO; its first line has none."""
    matches = map(_KEYWORD.match, reply.splitlines()[1:])
    return frozenset(match[1].decode().upper() for match in matches if match)
