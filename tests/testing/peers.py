"""Clients of a scripted server that say bytes, and hear them."""

from __future__ import annotations

import smtplib
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_smtpx.testing import ScriptedServer

HELLO = b"EHLO me\r\n"
GROUP = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
CONTENT = b"Subject: Hi\r\n\r\nHi\r\n"


class Peer:
    """A client that says and hears bytes."""

    def __init__(self, server: ScriptedServer) -> None:
        self.sock = socket.create_connection((server.host, server.port), timeout=5)
        self.file = self.sock.makefile("rb")

    def send(self, data: bytes) -> None:
        """Say ``data``."""
        self.sock.sendall(data)

    def reply(self) -> bytes:
        """Return a whole reply; what there was of it, at the end of the connection."""
        lines = [self.file.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(self.file.readline())
        return b"".join(lines)

    def replies(self, number: int) -> list[bytes]:
        """Return the codes of so many replies."""
        return [self.reply()[:3] for _ in range(number)]

    def hello(self) -> Peer:
        """Hear the greeting, and say EHLO."""
        assert self.reply().startswith(b"220 ")
        self.send(HELLO)
        assert self.reply().startswith(b"250-")
        return self

    def close(self) -> None:
        """Close in an orderly way."""
        self.file.close()
        self.sock.close()


@contextmanager
def talking(server: ScriptedServer) -> Iterator[Peer]:
    """Run the server and one peer of it."""
    with server:
        peer = Peer(server)
        try:
            yield peer
        finally:
            peer.close()


def send_one(server: ScriptedServer, recipient: str = "b@example.com") -> dict:
    """Send one message with the standard library's client."""
    with smtplib.SMTP(server.host, server.port, timeout=5) as client:
        return client.sendmail("a@example.com", [recipient], CONTENT)
