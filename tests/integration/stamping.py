"""An SMTP server that writes down when each content came: ``python -m tests.integration.stamping PORT FILE``.

A line for each message: seconds since the epoch, TAB, number of the connection, TAB, reverse path,
TAB, Message-ID. The time is that of the first byte behind the 354, for that is when a client has
let a content go; and it is the kernel's, taken as the segment arrives, so that a server that is
kept waiting for a processor does not make two contents that left apart look as if they had left
together (SO_TIMESTAMPNS, socket(7)).
"""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
import threading
import time
from itertools import count

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^>]+>)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(rb"<([^>]*)>")
# Python has no name for it; the number is the same on all of Linux' usual architectures.
_SO_TIMESTAMPNS = 35
_KEYWORDS = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE")


class Connection:
    """One client's session."""

    def __init__(self, sock: socket.socket, number: int, file: int) -> None:
        self.sock = sock
        self.number = number
        self.file = file
        self.buffer = bytearray()
        self.arrived = 0.0
        self.sender = b""
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self) -> None:
        """Answer until QUIT or the end of the stream."""
        with self.sock:
            try:
                self.say("220 stamping.example.test ESMTP")
                while self.command(self.line()):
                    pass
            except (EOFError, ConnectionError):
                pass

    def say(self, *lines: str) -> None:
        """Write one reply."""
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def receive(self) -> None:
        """Read what is there, and the time at which it came."""
        data, ancillary, _, _ = self.sock.recvmsg(65536, 256)
        if not data:
            raise EOFError
        self.arrived = time.time()
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, nanoseconds = struct.unpack("qq", value)
                self.arrived = seconds + nanoseconds / 1e9
        self.buffer += data

    def line(self) -> bytes:
        """Return the next command line."""
        while (end := self.buffer.find(b"\r\n")) < 0:
            self.receive()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    def command(self, line: bytes) -> bool:
        """Carry out one command; return whether another may follow."""
        verb = line[:4].upper()
        if verb == b"EHLO":
            self.say(
                "250-stamping.example.test", *(f"250-{key}" for key in _KEYWORDS[:-1]), "250 SIZE"
            )
        elif verb == b"MAIL":
            path = _PATH.search(line)
            self.sender = path[1] if path else b""
            self.say("250 2.1.0 ok")
        elif verb == b"DATA":
            self.data()
        elif verb == b"QUIT":
            self.say("221 2.0.0 bye")
            return False
        else:
            self.say("250 2.0.0 ok")
        return True

    def data(self) -> None:
        """Take one content, and write down when its first byte came."""
        assert not self.buffer, "content without a 354"
        self.say("354 go ahead")
        self.receive()
        came = self.arrived
        while (end := (b"\r\n" + self.buffer).find(b"\r\n.\r\n")) < 0:
            self.receive()
        content = bytes(self.buffer[:end])
        del self.buffer[: end + 3]
        match = _MESSAGE_ID.search(content)
        fields = (b"%.6f" % came, b"%d" % self.number, self.sender, match[1] if match else b"-")
        os.write(self.file, b"\t".join(fields) + b"\n")
        self.say("250 2.0.0 taken")


def main(port: int, path: str) -> None:
    """Serve until killed."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with socket.create_server(("127.0.0.1", port), backlog=100) as listener:
        for number in count():
            sock, _ = listener.accept()
            threading.Thread(target=Connection(sock, number, file).serve, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
