"""What every command of a scripted server needs: the state, the script's say, the reply."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from django_smtpx.testing.actions import Action, Close, Reply, code_of, with_default
from django_smtpx.testing.records import Command, Ended, ReceivedMessage
from django_smtpx.testing.wire import Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from django_smtpx.testing.conversation import Conversation
    from django_smtpx.testing.server import ScriptedServer


class Dialogue:
    """The state of a session and the way from a command to its reply; the commands build on it."""

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
        self.chunks: list[int] = []
        self.commands: list[Command] = []
        self.messages: list[ReceivedMessage] = []
        self._server = server
        self._wire = Wire(sock, server.stopping)
        self.ended: Ended = ""
        self._error = ""
        self._announced: frozenset[str] = frozenset()
        self._chunked = bytearray()
        self._chunk_refused = False

    def _do(self, verb: str, arg: str, default: str, subjects: Sequence[str] = ()) -> int | None:
        """Do what the script wants, else reply ``default``; return the code that was said."""
        action = self._action(verb, arg, default, subjects)
        code = code_of(action)
        if verb != "CONNECT":
            self._note(verb, arg, code)
        self._wire.perform(action)
        return code

    def _note(self, verb: str, arg: str, code: int | None) -> None:
        if self._server.record:
            self.commands.append(Command(verb, arg, bool(self.tls), code, time.monotonic()))

    def _note_code(self, code: int | None) -> None:
        if self._server.record:
            self.commands[-1] = self.commands[-1]._replace(code=code)

    def _action(self, verb: str, arg: str, default: str, subjects: Sequence[str]) -> Action:
        usual = _usual(default)
        try:
            action = self._server.rules.action(
                verb, cast("Conversation", self), arg, subjects or (arg,)
            )
        except Exception as error:  # noqa: BLE001 (it is raised again where the server stops)
            self._server.failed(error)
            return Reply("421 4.3.0 The script of this server failed", then=Close())
        return usual if action is None else with_default(action, usual)

    def _text(self, code: str, enhanced: str, text: str) -> str:
        return f"{code} {enhanced} {text}" if self._server.enhanced_codes else f"{code} {text}"

    def _forget(self) -> None:
        """Forget the transaction (RFC 5321 section 4.1.1.5)."""
        self.sender = None
        self.mail_params = ()
        self.recipients, self.rcpt_params = [], []
        self.content = b""
        self.chunks = []
        self._chunked = bytearray()
        self._chunk_refused = False


@lru_cache(maxsize=256)
def _usual(text: str) -> Reply:
    return Reply(text)
