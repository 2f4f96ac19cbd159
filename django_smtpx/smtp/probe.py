"""A second connection, which finds out whether a silent server speaks the other mode of TLS.

Silence has many reasons (a tarpit, a greylisting front end, a busy machine),
and a wrong mode is only one of them. To know is worth a connection, but no
more than one per host and hour, and none at all to port 25, where speaking
before the greeting is held against the client.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from typing import TYPE_CHECKING

from django_smtpx.smtp import commands, mode
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.errors import ServerDisconnected, TLSError
from django_smtpx.smtp.options import SMTP_PORT, Security
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.smtp.envelope import Envelope
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.transport import Transport

PROBE_TIMEOUT = 2.0
"""Seconds that a probe takes at most."""
REMEMBERED = 3600.0
"""Seconds that a finding holds, and that no other probe goes to that host and port."""
SLICE = 0.1
"""Seconds between two looks at whether the probe is still needed."""

_MOST = 1_000


class Findings:
    """What the probes of this process have found, by host and port. Thread-safe and fork-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """Know nothing any more."""
        self._lock = threading.Lock()
        self._found: dict[tuple[str, int], tuple[float, str]] = {}

    def known(self, host: str, port: int) -> str | None:
        """Return the finding, "" while there is none; None when it is the caller's to look.

        Who got None is the one that probes, and nobody else does for an hour.
        """
        key, now = (host, port), self._clock()
        with self._lock:
            until, sign = self._found.get(key, (now, ""))
            if until > now:
                return sign
            self._found.pop(key, None)
            if len(self._found) >= _MOST:
                del self._found[next(iter(self._found))]
            self._found[key] = (now + REMEMBERED, "")
            return None

    def note(self, host: str, port: int, sign: str) -> None:
        """Remember what was found."""
        with self._lock:
            self._found[host, port] = (self._clock() + REMEMBERED, sign)


findings = Findings()
os.register_at_fork(after_in_child=findings.forget)


def allowed(options: Options) -> bool:
    """Whether a second connection may be made at all."""
    return options.probe and options.port != SMTP_PORT


def other_mode(
    options: Options, transport: Transport, limit: float, needed: Callable[[], bool]
) -> str:
    """Return the sign by which the server that ``transport`` is connected to speaks TLS otherwise
    than ``options`` have it; "" when it does not, or nobody knows.

    A probe takes ``limit`` seconds at most, and ends when it is no longer ``needed()``.
    """
    if not allowed(options):
        return ""
    sign = findings.known(options.host, options.port)
    if sign is None:
        look = _greeting if options.security is Security.IMPLICIT else _tls
        try:
            sign = look(options, transport, min(limit, PROBE_TIMEOUT), _Needed(needed))
        except (OSError, _NotNeeded):
            # Refused, reset, or too slow: nothing is known.
            sign = ""
        findings.note(options.host, options.port, sign)
    return sign


def _tls(options: Options, transport: Transport, limit: float, needed: _Needed) -> str:
    """Look whether the server answers to a handshake, whatever certificate it has."""
    deadline = Deadline(limit)
    other = transport.again(options, limit, needed)
    try:
        unverified = dataclasses.replace(
            options,
            security=Security.IMPLICIT,
            verify=False,
            tlsa=(),
            ca_file=None,
            ssl_certfile=None,
            ssl_keyfile=None,
        )
        other.start_tls(unverified, implicit=True, limit=deadline.left, watch=needed)
    except TLSError:
        # An alert is TLS, too.
        if not mode.is_tls(other.first):
            return ""
    finally:
        other.close()
    return said("a second connection was answered in TLS")


def _greeting(options: Options, transport: Transport, limit: float, needed: _Needed) -> str:
    """Look whether the server greets who says nothing."""
    deadline = Deadline(limit)
    other = transport.again(options, limit, needed)
    try:
        came = b""
        while not deadline.passed and b"\n" not in came and len(came) < 512:
            if other.readable(min(SLICE, deadline.left)):
                data = other.receive()
                if not data:
                    break
                came += data
            needed.waiting(0.0)
        if not (len(came) > 3 and mode.is_reply(came)):
            return ""
        _take_leave(other)
    finally:
        other.close()
    return said("a second connection was greeted with %(greeting)s", greeting=mode.shown(came))


def _take_leave(other: Transport) -> None:
    try:
        other.send(commands.QUIT)
    except ServerDisconnected:
        return


class _NotNeeded(Exception):
    """The server has spoken meanwhile."""


class _Needed:
    """A watch that ends a probe which is no longer needed."""

    interval = SLICE

    def __init__(self, needed: Callable[[], bool]) -> None:
        self._needed = needed

    def may_send(self, envelope: Envelope) -> bool:
        """Nothing is sent by a probe."""
        return False

    def waiting(self, elapsed: float) -> None:
        """Raise when the probe is no longer needed."""
        if not self._needed():
            raise _NotNeeded
