"""How long an opening may take, and what a server's silence at its beginning means."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from django_smtpx.smtp import mode, probe
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.errors import ServerDisconnected, SMTPError, TLSError, TLSModeMismatch
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.smtp.dialogue import Dialogue
    from django_smtpx.smtp.envelope import Envelope
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.transport import Transport
    from django_smtpx.smtp.watch import Watch

PROBE_AFTER = 2.5
"""Seconds of silence after which it is found out whether the server speaks the other mode of
TLS; half the timeout where that is less.
"""
OPENING_TIMEOUTS = 4
"""What follows the connecting may take so many times the timeout, however a server drips."""
ASK_AGAIN = 0.5
"""Seconds between two looks at what another thread may have found out."""


class Patience:
    """The watch of an opening, around the caller's own.

    It ends an opening that takes too long as a whole, and calls silence a
    :class:`TLSModeMismatch` once a second connection has shown that it is one.
    """

    def __init__(self, options: Options, watch: Watch) -> None:
        self._options = options
        self._watch = watch
        self._told = time.monotonic()
        self._ask_at = math.inf
        self._limit = OPENING_TIMEOUTS * options.timeout
        self._ends_at = math.inf

    def connected(self, transport: Transport, protocol: Dialogue) -> None:
        """From now on the server is expected to say something."""
        timeout = self._options.timeout
        self._transport = transport
        self._protocol = protocol
        self._ends_at = time.monotonic() + self._limit
        if probe.allowed(self._options):
            self._ask_at = time.monotonic() + min(PROBE_AFTER, timeout / 2)
        self._first_words = Deadline(timeout)

    @property
    def left(self) -> float:
        """Seconds that the whole may still take; never below 0."""
        return max(0.0, self._ends_at - time.monotonic())

    @property
    def interval(self) -> float:
        """Seconds until there is something to do, for the caller or for us."""
        due = min(self._told + self._watch.interval, self._ask_at, self._ends_at)
        return max(0.0, due - time.monotonic())

    def may_send(self, envelope: Envelope) -> bool:
        """No content leaves while a session is opened."""
        return False

    def waiting(self, elapsed: float) -> None:
        """Tell the caller, look what the silence means, and whether the time is up.

        A handshake in the wrong mode is ended by raising :class:`TLSModeMismatch`; in all else
        the dialogue is told.
        """
        self._tell(elapsed)
        if time.monotonic() >= self._ask_at:
            self._ask(elapsed)
        if time.monotonic() >= self._ends_at and self._protocol.failure is None:
            self._protocol.receive_timeout(
                said(
                    "Opening the session took longer than %(seconds)s s in all",
                    seconds=f"{self._limit:g}",
                )
            )

    def explain(self, error: SMTPError) -> SMTPError:
        """Return what ``error`` was about, if it ended a connection with nothing said."""
        unclear = type(error) in (ServerDisconnected, TLSError) and not self._transport.first
        sign = self._other_mode(lambda: True) if unclear else ""
        if not sign:
            return error
        mismatch = self._mismatch(sign)
        mismatch.disconnected = error.disconnected
        return mismatch

    def _tell(self, elapsed: float) -> None:
        now = time.monotonic()
        if now >= self._told + self._watch.interval:
            self._told = now
            self._watch.waiting(elapsed)

    def _ask(self, elapsed: float) -> None:
        """Find out, once it has been silent for so long, whether the server speaks otherwise."""
        transport = self._transport
        self._ask_at = math.inf
        if transport.first:
            return

        def silent() -> bool:
            self._tell(elapsed)
            return not transport.readable(0)

        sign = self._other_mode(silent)
        if not sign:
            # Another thread's probe may be under way.
            self._ask_at = time.monotonic() + ASK_AGAIN
        elif not silent():
            return
        elif self._options.security is Security.IMPLICIT:
            raise self._mismatch(sign)
        else:
            self._protocol.fail(self._mismatch(sign))

    def _other_mode(self, needed: Callable[[], bool]) -> str:
        return probe.other_mode(self._options, self._transport, self._first_words.left, needed)

    def _mismatch(self, sign: str) -> TLSModeMismatch:
        if self._options.security is Security.IMPLICIT:
            return mode.speaks_plain(self._options, sign)
        return mode.speaks_tls(self._options, sign)
