"""The socket: connecting, TLS, and moving bytes without ever blocking on one side alone.

Operating system errors become ours here, once, by what was being done.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp import certificates, mode, tls, verdict
from django_smtpx.smtp.bindings import bindings_of
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.errors import (
    ConnectError,
    ResolveError,
    ServerDisconnected,
    SMTPError,
    TLSError,
)
from django_smtpx.smtp.watch import NO_WATCH
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.watch import Watch

READ_SIZE = 65_536
RECORD_SIZE = 16_384
"""Bytes in one TLS record (RFC 8446 section 5.1): it is taken as a whole, or counts for nothing."""
LOOK_SIZE = 512
"""Bytes of the server's first words that are kept, to tell what it speaks."""
_READ = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL
_Address = tuple[Any, ...]


class Transport:
    """A connected, non-blocking socket; ``tls`` and ``verified_by`` are "" without TLS.

    ``first`` is what the server said first, in clear or in TLS records: b"" while it has said
    nothing. ``resolved_at`` is when its address was known, a monotonic time.
    """

    def __init__(self, sock: socket.socket, address: _Address, options: Options) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._family = sock.family
        self._address = address
        self._options = options
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self.ip = str(address[0])
        self.port = options.port
        self.tls = ""
        self.verified_by = ""
        self.first = b""
        self.resolved_at = time.monotonic()

    @classmethod
    def connect(cls, options: Options, watch: Watch = NO_WATCH) -> Transport:
        """Connect to the first address that answers (of ``options.addresses``, else of the
        host's), in ``options.timeout`` seconds for them all.

        ``watch`` is told of long waits, but not of those for the system's resolver, which cannot
        be interrupted. Raises :class:`ResolveError` or :class:`ConnectError`, and what the watch
        raises.
        """
        addresses = _resolve(options)
        resolved_at = time.monotonic()
        deadline = Deadline(options.timeout)
        failures: list[str] = []
        for index, (family, address) in enumerate(addresses):
            share = deadline.left / (len(addresses) - index)
            try:
                sock = _dial(family, address, options, share, watch)
            except SMTPError:
                # An OSError, too, but the watch's: it has ended the waiting, for whatever address.
                raise
            except OSError as error:
                failures.append(f"{address[0]}: {error.strerror or error}")
                continue
            transport = cls(sock, address, options)
            transport.resolved_at = resolved_at
            return transport
        raise ConnectError(
            said(
                "No connection to %(host)s port %(port)s (%(failures)s)",
                host=options.host,
                port=options.port,
                failures="; ".join(failures),
            ),
            phase="connect",
            ip=str(addresses[-1][1][0]),
            **verdict.UNREACHABLE.fields,
        )

    def again(self, options: Options, limit: float, watch: Watch) -> Transport:
        """Return another connection to the same address, made in ``limit`` seconds.

        Raises ``OSError``.
        """
        sock = _dial(self._family, self._address, options, limit, watch)
        return Transport(sock, self._address, options)

    def start_tls(
        self,
        options: Options,
        *,
        implicit: bool,
        limit: float | None = None,
        watch: Watch = NO_WATCH,
    ) -> None:
        """Shake hands, in ``limit`` (else ``options.timeout``) seconds; raises :class:`TLSError`.

        ``watch`` is told of long waits, and may end them by raising.
        """
        sock = tls.wrap(self._socket, options)
        self._socket = sock
        wait = _Wait(sock, options.timeout if limit is None else limit, watch)
        unheard = True
        # What the server says is looked at before OpenSSL takes it. So that no answer falls
        # between, the first flight goes out only when OpenSSL has found nothing to read.
        _cork(sock, True)
        while True:
            try:
                unheard = unheard and not self._first_answer(sock, options, implicit=implicit)
                sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                wants = select.POLLIN
            except ssl.SSLWantWriteError:
                wants = select.POLLOUT
            except TLSError:
                raise
            except OSError as error:
                rest = _peek(sock)
                if tls.is_answer(error):
                    self._heard_tls()
                raise tls.handshake_failure(
                    error, sock, options, implicit=implicit, rest=rest
                ) from error
            unheard = _cork(sock, False) and unheard
            if not wait.until(wants):
                raise tls.handshake_timeout(options)
        self._heard_tls()
        verified_by = tls.judge(sock, options)
        self.tls = tls.describe(sock)
        self.verified_by = verified_by

    @property
    def certificate(self) -> str:
        """Whose certificate the server has shown, who issued it, and its dates; "" without TLS."""
        sock = self._socket
        shown = certificates.shown_chain(sock) if isinstance(sock, ssl.SSLSocket) else []
        return certificates.described(shown) if shown else ""

    def channel_bindings(self) -> dict[str, bytes]:
        """Return the channel bindings of this connection by name, the best first (RFC 5929)."""
        sock = self._socket
        return bindings_of(sock) if isinstance(sock, ssl.SSLSocket) else {}

    def send(self, data: bytes | memoryview) -> int:
        """Hand as much of ``data`` to the network as it takes now; return how many bytes.

        Raises :class:`ServerDisconnected` when the connection takes no more.
        """
        if not self.tls or len(data) <= RECORD_SIZE:
            return self._send(data)
        # OpenSSL says nothing of the records that have left when it gets stuck at a later one.
        sent, rest = 0, memoryview(data)
        while sent < len(rest):
            try:
                taken = self._send(rest[sent : sent + RECORD_SIZE])
            except ServerDisconnected:
                if sent:
                    break
                raise
            if not taken:
                break
            sent += taken
        return sent

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            raise ServerDisconnected(said("Writing failed: %(error)s", error=error)) from error

    def receive(self) -> bytes | None:
        """Return what has come: b"" at the end, None when there is nothing yet.

        Raises :class:`TLSError` for a TLS alert, and for what is no TLS. A connection that was
        reset has ended, and so has one that TLS did not say goodbye on.
        """
        try:
            data = self._socket.recv(READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLEOFError:
            return b""
        except ssl.SSLError as error:
            raise tls.broken(error, self._options) from error
        except OSError:
            return b""
        if not self.first:
            self.first = data[:LOOK_SIZE]
        return data

    def readable(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; return whether :meth:`receive` has something to look at.

        Under TLS that may turn out to be no data (a session ticket, say).
        """
        if self.tls and self._pending():
            return True
        if self._socket.fileno() < 0:
            # Closed; its number may be somebody else's by now.
            return True
        return bool(self._poll.poll(timeout * 1000))

    def ready(self, timeout: float) -> tuple[bool, bool]:
        """Wait up to ``timeout`` seconds; return whether it can be read, and written."""
        if self.tls and self._pending():
            return True, False
        events = _poll(self._socket, select.POLLIN | select.POLLOUT, timeout)
        return bool(events & _READ), bool(events & select.POLLOUT)

    def close(self) -> None:
        """Close without a word; it never fails."""
        try:
            self._socket.close()
        except OSError:
            return

    def forget(self) -> None:
        """Drop a forked copy: neither TLS nor TCP says goodbye."""
        try:
            os.close(self._socket.detach())
        except OSError:
            return

    def _first_answer(self, sock: ssl.SSLSocket, options: Options, *, implicit: bool) -> bytes:
        """Return what the server says to a handshake, before TLS takes it for a record.

        Raises :class:`TLSError` where it is none.
        """
        answer = _peek(sock)
        self.first = self.first or answer
        if answer and not mode.is_tls(answer):
            raise tls.strange_answer(answer, options, implicit=implicit)
        return answer

    def _heard_tls(self) -> None:
        """Note that the server speaks TLS, where that was not looked at."""
        self.first = self.first or b"\x16"

    def _pending(self) -> bool:
        sock = self._socket
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def addresses_of(options: Options) -> tuple[str, ...]:
    """Return the addresses that would be connected to, in that order; raises ResolveError."""
    return tuple(dict.fromkeys(str(address[0]) for _, address in _resolve(options)))


def _resolve(options: Options) -> list[tuple[int, _Address]]:
    # With addresses, nobody is asked: they are turned into what a socket takes.
    flags = socket.AI_NUMERICHOST if options.addresses else 0
    try:
        found = [
            place
            for name in options.addresses or (options.host,)
            for place in socket.getaddrinfo(
                name, options.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags
            )
        ]
    except (OSError, UnicodeError) as error:
        raise ResolveError(
            said(
                "%(host)s has no address: %(reason)s",
                host=options.host,
                reason=getattr(error, "strerror", None) or error,
            ),
            phase="resolve",
            **verdict.DNS_ERROR.fields,
        ) from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _dial(
    family: int, address: _Address, options: Options, limit: float, watch: Watch
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.source_address is not None:
            sock.bind((options.source_address, 0))
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            if not _Wait(sock, limit, watch).until(select.POLLOUT):
                code = errno.ETIMEDOUT
            else:
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


class _Wait:
    """One deadline over several waits of a socket, in slices that let the caller's watch act."""

    def __init__(self, sock: socket.socket, limit: float, watch: Watch) -> None:
        self._socket = sock
        self._limit = limit
        self._watch = watch
        self._started = time.monotonic()

    def until(self, events: int) -> bool:
        """Wait for ``events``; return False when the time is up."""
        elapsed = time.monotonic() - self._started
        while elapsed < self._limit:
            if _poll(self._socket, events, min(self._limit - elapsed, self._watch.interval)):
                return True
            elapsed = time.monotonic() - self._started
            if elapsed < self._limit:
                self._watch.waiting(elapsed)
        return False


def _poll(sock: socket.socket, events: int, timeout: float) -> int:
    poll = select.poll()
    poll.register(sock.fileno(), events)
    ready = poll.poll(timeout * 1000)
    return ready[0][1] if ready else 0


def _cork(sock: socket.socket, on: bool) -> bool:  # noqa: FBT001
    """Hold back, or let go, what is written; return whether this system can."""
    if not hasattr(socket, "TCP_CORK"):
        return False
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)
    return True


def _peek(sock: socket.socket) -> bytes:
    """Return what the network has for us, below TLS, and leave it there."""
    try:
        return socket.socket.recv(sock, LOOK_SIZE, socket.MSG_PEEK)
    except OSError:
        return b""
