"""A local HTTPS server that says what a test tells it to, byte by byte."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


def response(body=b"", status="200 OK", media_type="text/plain", **headers):
    """Return a whole response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    if media_type is not None:
        lines.append(f"Content-Type: {media_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Web:
    """One thread that takes a connection after the other.

    ``answer`` is called with the connection and the request's bytes, and may
    return what to send; ``asked`` has the requests so far. ``over`` is set when
    the server closes, for answers that would never end.
    """

    def __init__(self, context: ssl.SSLContext, answer: Callable | bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.over = threading.Event()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self):
        while not self.over.is_set():
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with plain:
                plain.settimeout(10)
                with suppress(OSError):  # the client has had enough
                    self._talk(plain)

    def _talk(self, plain):
        with self._context.wrap_socket(plain, server_side=True) as sock:
            asked = _request(sock)
            self.asked.append(asked)
            said = self.answer(sock, asked) if callable(self.answer) else self.answer
            if said:
                sock.sendall(said)
                sock.unwrap()


def _request(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(4096)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        body += sock.recv(4096)
    return head + b"\r\n\r\n" + body
