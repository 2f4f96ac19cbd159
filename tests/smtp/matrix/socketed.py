"""The same server behind a real socket, in clear and in TLS."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from django_smtpx.smtp.options import Security
from django_smtpx.smtp.session import Session
from tests.smtp.matrix.wire import FLOOD
from tests.smtp.talk import options

if TYPE_CHECKING:
    import ssl

    from tests.smtp.matrix.wire import Peer

SHORT = 0.4
"""The timeout of a cell in which the server is silent, in seconds."""


class RealTime:
    """Stands in for the clock."""

    @property
    def now(self) -> float:
        """The time."""
        return time.monotonic()


class SocketStage:
    """Serves a peer on a socket of its own, one connection each."""

    def __init__(self, context: ssl.SSLContext, security: Security) -> None:
        self.clock = RealTime()
        self.wire = self
        self.slow = False
        self._context, self._security = context, security
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def open(self, peer: Peer, **changes) -> Session:
        """Open a session with ``peer``."""
        listener = socket.create_server(("127.0.0.1", 0))
        # One after the other: what is left of the last one is no part of this cell.
        self.close()
        thread = threading.Thread(target=self._serve, args=(listener, peer), daemon=True)
        self._threads = [thread]
        thread.start()
        timeout = SHORT if peer.fault == "silence" else 10.0
        first = changes.pop("first", None)
        given = {
            "port": listener.getsockname()[1], "security": self._security, "verify": False,
            "timeout": timeout, "eod_timeout": timeout, "transcript": "never", "probe": False,
        }  # fmt: skip
        return Session.open(options(**{**given, **changes}), first=first)

    def close(self) -> None:
        """See that the connection has ended."""
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _serve(self, listener: socket.socket, peer: Peer) -> None:
        with listener:
            connection, _ = listener.accept()
        self._sockets = [connection]
        connection.settimeout(10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            if self._security is Security.IMPLICIT:
                connection = self._wrap(connection)
            self._converse(connection, peer)
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.close()

    def _wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        wrapped = self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        self._sockets.append(wrapped)
        wrapped.do_handshake()
        return wrapped

    def _converse(self, connection: socket.socket, peer: Peer) -> None:
        peer.greet()
        while _speak(connection, peer):
            if peer.awaits_tls and not peer.tls:
                connection = self._wrap(connection)
                peer.start_tls()
            data = connection.recv(65_536)
            if not data:
                break
            peer.feed(data)


def _speak(connection: socket.socket, peer: Peer) -> bool:
    """Say what the peer has to say; return whether it goes on."""
    out, peer.out = bytes(peer.out), bytearray()
    for piece in [out[i : i + 1] for i in range(len(out))] if peer.bytewise else [out] * bool(out):
        connection.sendall(piece)
    while peer.flood:
        connection.sendall(FLOOD)
    if peer.closed == "rst":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Without a word of TLS.
        socket.socket(fileno=connection.detach()).close()
        return False
    if peer.closed:
        connection.shutdown(socket.SHUT_WR)
        # What is not read would make it a reset, and a reset may eat the last words.
        while connection.recv(65_536):
            pass
        return False
    return True
