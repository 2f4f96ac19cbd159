"""The socket: connecting, TLS, and moving bytes without ever blocking on one side alone.

Operating system errors become ours here, once, by what was being done.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp import tls, verdict
from django_smtpx.smtp.bindings import bindings_of
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.errors import ConnectError, ResolveError, ServerDisconnected, TLSError

if TYPE_CHECKING:
    from django_smtpx.smtp.options import Options

READ_SIZE = 65_536
_READ = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL


class Transport:
    """A connected, non-blocking socket; ``tls`` and ``verified_by`` are "" without TLS."""

    def __init__(self, sock: socket.socket, ip: str, port: int) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self.ip = ip
        self.port = port
        self.tls = ""
        self.verified_by = ""

    @classmethod
    def connect(cls, options: Options) -> Transport:
        """Connect to the first address of the host that answers, in ``options.timeout`` seconds
        for them all.

        Raises :class:`ResolveError` or :class:`ConnectError`.
        """
        addresses = _resolve(options)
        deadline = Deadline(options.timeout)
        failures: list[str] = []
        for index, (family, address) in enumerate(addresses):
            ip = str(address[0])
            try:
                sock = _dial(family, address, options, deadline.left / (len(addresses) - index))
            except OSError as error:
                failures.append(f"{ip}: {error.strerror or error}")
                continue
            return cls(sock, ip, options.port)
        judged = verdict.UNREACHABLE
        raise ConnectError(
            f"No connection to {options.host} port {options.port} ({'; '.join(failures)})",
            phase="connect",
            ip=str(addresses[-1][1][0]),
            category=judged.category,
            action=judged.action,
            temporary=judged.temporary,
        )

    def start_tls(self, options: Options, *, implicit: bool) -> None:
        """Shake hands; raises :class:`TLSError`."""
        sock = tls.wrap(self._socket, options)
        self._socket = sock
        deadline = Deadline(options.timeout)
        while True:
            try:
                sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                wants = select.POLLIN
            except ssl.SSLWantWriteError:
                wants = select.POLLOUT
            except OSError as error:
                raise tls.handshake_failure(error, sock, options, implicit=implicit) from error
            if deadline.passed or not self._wait(wants, deadline.left):
                raise tls.handshake_timeout(options)
        self.tls = tls.describe(sock)
        self.verified_by = "pkix" if tls.verifies(options) else ""

    def channel_bindings(self) -> dict[str, bytes]:
        """Return the channel bindings of this connection by name, the best first (RFC 5929)."""
        sock = self._socket
        return bindings_of(sock) if isinstance(sock, ssl.SSLSocket) else {}

    def send(self, data: bytes | memoryview) -> int:
        """Hand as much of ``data`` to the network as it takes now; return how many bytes.

        Raises :class:`ServerDisconnected` when the connection takes no more.
        """
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            raise ServerDisconnected(f"Writing failed: {error}") from error

    def receive(self) -> bytes | None:
        """Return what has come: b"" at the end, None when there is nothing yet.

        Raises :class:`TLSError` for a TLS alert. A connection that was reset has ended.
        """
        try:
            return self._socket.recv(READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLError as error:
            if "ALERT" in (error.reason or ""):
                judged = verdict.TLS_FAILED
                raise TLSError(
                    f"The server ended TLS: {error.reason}",
                    category=judged.category,
                    action=judged.action,
                    temporary=judged.temporary,
                ) from error
            return b""
        except OSError:
            return b""

    def readable(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; return whether :meth:`receive` has something to look at.

        Under TLS that may turn out to be no data (a session ticket, say).
        """
        if self.tls and self._pending():
            return True
        return bool(self._poll.poll(timeout * 1000))

    def ready(self, timeout: float) -> tuple[bool, bool]:
        """Wait up to ``timeout`` seconds; return whether it can be read, and written."""
        if self.tls and self._pending():
            return True, False
        events = self._wait(select.POLLIN | select.POLLOUT, timeout)
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

    def _pending(self) -> bool:
        sock = self._socket
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def _wait(self, events: int, timeout: float) -> int:
        poll = select.poll()
        poll.register(self._socket.fileno(), events)
        ready = poll.poll(timeout * 1000)
        return ready[0][1] if ready else 0


_Address = tuple[Any, ...]


def _resolve(options: Options) -> list[tuple[int, _Address]]:
    try:
        found = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except (OSError, UnicodeError) as error:
        judged = verdict.DNS_ERROR
        raise ResolveError(
            f"{options.host} has no address: {getattr(error, 'strerror', None) or error}",
            phase="resolve",
            category=judged.category,
            action=judged.action,
            temporary=judged.temporary,
        ) from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _dial(family: int, address: _Address, options: Options, timeout: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(timeout, 0.001))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.source_address is not None:
            sock.bind((options.source_address, 0))
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
