"""A connection on which the dialogue with a server has been opened, and how it ends."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
import weakref
from typing import TYPE_CHECKING, Self

from django_smtpx.smtp import tls, verdict
from django_smtpx.smtp.errors import ProtocolError, ServerTimeout, SMTPError, TLSError
from django_smtpx.smtp.events import Ended, HandshakeWanted, Opened, TokenWanted
from django_smtpx.smtp.login import Login
from django_smtpx.smtp.options import Security, local_helo_name
from django_smtpx.smtp.patience import Patience
from django_smtpx.smtp.protocol import Protocol as Dialogue
from django_smtpx.smtp.pump import Pump
from django_smtpx.smtp.transaction import locate, unsent
from django_smtpx.smtp.transcript import render
from django_smtpx.smtp.transport import Transport
from django_smtpx.smtp.trust import believed, distrust
from django_smtpx.smtp.watch import NO_WATCH, Watch

if TYPE_CHECKING:
    from django_smtpx.smtp.envelope import Envelope, Phase
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.transaction import Facts
    from django_smtpx.smtp.transcript import Entries

QUIT_TIMEOUT = 2.0
"""Seconds that the answer to QUIT is waited for."""
LINGER = 0.2
"""Seconds that a server which ended the session is given to hang up."""


_ALL: weakref.WeakSet[Connection] = weakref.WeakSet()


def _forget_all() -> None:
    """Drop, in a forked child, every connection: they are the parent's."""
    for connection in list(_ALL):
        connection.forget()
    _ALL.clear()


os.register_at_fork(after_in_child=_forget_all)


class Connection:
    """A transport, the protocol that is spoken over it, and the pump between them.

    ``facts`` are what a result says of the place. ``opening`` is the record of
    the dialogue up to the first transaction, and ``waits`` are the seconds that each phase of it
    took. ``opened_at`` is a monotonic time.
    """

    def __init__(self, options: Options, transport: Transport, watch: Watch) -> None:
        self.options = options
        self.transport = transport
        self.protocol = Dialogue(options)
        self.protocol.channel_bindings = transport.channel_bindings
        self.pump = Pump(options, self.protocol, transport, watch)
        self.opened_at = time.monotonic()
        self.closed = False
        _ALL.add(self)
        self.opening: Entries = []
        self.waits: dict[str, float] = {}
        self.facts: Facts = {
            "host": options.host,
            "ip": transport.ip,
            "port": transport.port,
            "tls": "",
            "tls_verified_by": "",
        }

    @classmethod
    def open(
        cls, options: Options, watch: Watch | None = None, first: Envelope | None = None
    ) -> Self:
        """Resolve, connect, be greeted, say EHLO, start TLS, log in.

        A login whose first refusal was none of the credential is tried once more, on a connection
        of its own. ``watch`` is told of long waits. What follows the connecting
        takes ``4 * options.timeout`` seconds at most. Raises :class:`SMTPError`, with its place and
        the transcript; its ``results`` are those of the recipients of ``first``, the envelope that
        the connection is for.
        """
        options = believed(options)
        if not options.helo:
            options = dataclasses.replace(options, helo=local_helo_name())
        login = Login(options)
        try:
            return cls._try(login, watch, first)
        except SMTPError as error:
            if not login.again:
                raise
            refused = error
        try:
            connection = cls._try(login, watch, first)
        except SMTPError as error:
            told = login.told(refused, error)
            if told is error:
                raise
            raise told from error
        login.succeeded()
        return connection

    @classmethod
    def _try(cls, login: Login, watch: Watch | None, first: Envelope | None) -> Self:
        options = login.options
        started = began = time.monotonic()
        connection: Self | None = None
        try:
            if options.security is not Security.NONE:
                # A file that cannot be used is told before anybody is connected to.
                tls.context_for(options)
            patience = Patience(options, watch or NO_WATCH)
            began = time.monotonic()
            connection = cls(options, Transport.connect(options, patience), patience)
            connection._note_connecting(began)
            connection._open(login, patience)
            connection.pump.watch = watch or NO_WATCH
        except SMTPError as error:
            if connection is not None:
                login.refused(connection.protocol, error)
            facts = connection.facts if connection else _nowhere(options, error)
            locate(error, facts)
            error.phases = (
                connection.protocol.stopwatch.take()
                if connection
                else {error.phase: time.monotonic() - began}
            )
            if options.transcript != "never":
                log: Entries = connection.protocol.entries if connection else []
                error.transcript = render(started, log or [(time.monotonic(), "-", str(error))])
            if first is not None:
                error.results = unsent(first, copy.copy(error), facts)
            raise
        finally:
            if connection is not None and not connection.opening:
                connection.abort()
        return connection

    # -- the end ---------------------------------------------------------------------------------

    def quit(self) -> None:
        """Say QUIT, wait briefly for the answer, and close."""
        try:
            self.protocol.quit()
            self.pump.flush()
            self.pump.await_reply(min(self.options.timeout, QUIT_TIMEOUT))
        finally:
            self.abort()

    def end(self) -> None:
        """Close after a failure; see first whether the server closes it, too."""
        protocol = self.protocol
        if isinstance(protocol.failure, ProtocolError) and protocol.capabilities.keywords:
            distrust(self.options.host, self.options.port)
        timed_out = isinstance(protocol.failure, ServerTimeout)
        if not (self.closed or protocol.disconnected or timed_out):
            if protocol.can_quit:
                self.pump.goodbye(QUIT_TIMEOUT)
            else:
                self.pump.linger(LINGER)
        self.abort()

    def abort(self) -> None:
        """Close without a word."""
        self.closed = True
        self.transport.close()

    def forget(self) -> None:
        """Drop this copy in a forked child; the parent goes on with the connection."""
        self.closed = True
        self.transport.forget()

    # -- opening ---------------------------------------------------------------------------------

    def _open(self, login: Login, patience: Patience) -> None:
        protocol = self.protocol
        patience.connected(self.transport, protocol)
        facts = self.facts
        self._note(f"connected to {facts['host']} [{facts['ip']}] port {facts['port']}")
        if self.options.security is Security.IMPLICIT:
            self._shake_hands(patience, "connect", "")
        while True:
            event = self.pump.event()
            if isinstance(event, HandshakeWanted):
                self._shake_hands(patience, "starttls", "STARTTLS")
                protocol.tls_started()
            elif isinstance(event, TokenWanted):
                login.provide_token(protocol)
            elif isinstance(event, Ended):
                self.end()
                raise self._explained(patience, event.error)
            elif isinstance(event, Opened) and protocol.failure is None:
                break
        self.opening, protocol.entries = protocol.entries, []
        self.waits = protocol.stopwatch.take()

    def _note_connecting(self, began: float) -> None:
        """Count how long the address was looked for, and the connection was waited for."""
        waits, transport = self.protocol.stopwatch.waits, self.transport
        if not self.options.addresses:
            waits["resolve"] = transport.resolved_at - began
        waits["connect"] = self.opened_at - transport.resolved_at

    def _shake_hands(self, patience: Patience, phase: Phase, command: str) -> None:
        transport, options = self.transport, self.options
        try:
            transport.start_tls(
                options,
                implicit=phase == "connect",
                limit=min(options.timeout, patience.left),
                watch=patience,
            )
        except TLSError as failure:
            failure.phase, failure.command = phase, command
            if options.security is Security.OPPORTUNISTIC:
                failure.action = verdict.TLS_RECONNECT.action
            self._note(str(failure))
            raise self._explained(patience, failure) from failure.__cause__
        finally:
            stopwatch = self.protocol.stopwatch
            stopwatch.lap("tls", time.monotonic(), stopwatch.waits)
        self.facts["tls"] = transport.tls
        self.facts["tls_verified_by"] = transport.verified_by
        self.protocol.verified = bool(transport.verified_by)
        self._note(f"{transport.tls}, verified by {transport.verified_by or 'nothing'}")

    def _explained(self, patience: Patience, error: SMTPError) -> SMTPError:
        """Return ``error``, or the wrong mode of TLS that it comes from."""
        explained = patience.explain(error)
        if explained is not error:
            self._note(str(explained))
        return explained

    def _note(self, text: str) -> None:
        self.protocol.entries.append((time.monotonic(), "-", text))


def _nowhere(options: Options, error: SMTPError) -> Facts:
    """Return the facts of a connection that was not made."""
    return {
        "host": options.host,
        "ip": error.ip,
        "port": options.port,
        "tls": "",
        "tls_verified_by": "",
    }
