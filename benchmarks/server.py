"""A small fast SMTP server: ``python -m benchmarks.server``; it throws all mail away.

It says its port in its first line, and when its input ends, what it has counted, as JSON. It has
PIPELINING (RFC 2920) and, as it is told, CHUNKING (RFC 3030), a limit of recipients a transaction,
and LIMITS (RFC 9422), which says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
import threading

READ_SIZE = 262_144
END = b"\r\n.\r\n"


class Totals:
    """What was taken over all connections; ``octets`` are those of contents, as they came."""

    def __init__(self) -> None:
        self.messages = 0
        self.octets = 0
        self.recipients = 0
        self.commands = 0


class Gone(Exception):
    """The client has hung up."""


class Connection:
    """One client's session."""

    def __init__(self, sock: socket.socket, options: argparse.Namespace, totals: Totals) -> None:
        self.sock = sock
        self.options = options
        self.totals = totals
        self.buffer = bytearray()
        self.replies: list[bytes] = []
        self.forget()
        self.handlers = {
            b"EHLO": self.ehlo,
            b"HELO": self.helo,
            b"MAIL": self.mail,
            b"RCPT": self.rcpt,
            b"DATA": self.data,
            b"BDAT": self.bdat,
            b"RSET": self.rset,
            b"NOOP": self.noop,
        }

    def forget(self) -> None:
        """Be as before MAIL. ``octets`` are those of chunks so far; None: a chunk was refused."""
        self.open = False
        self.recipients = 0
        self.chunks = 0
        self.octets: int | None = 0

    def serve(self) -> None:
        """Answer until QUIT or the end of the stream."""
        with self.sock, contextlib.suppress(Gone, OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.say(b"220 benchmark.example ESMTP")
            while (line := self.line())[:4].upper() != b"QUIT":
                self.totals.commands += 1
                self.handlers.get(line[:4].upper(), self.unknown)(line)
            self.say(b"221 2.0.0 Bye")
            self.flush()

    # -- bytes -----------------------------------------------------------------------------------

    def say(self, reply: bytes) -> None:
        """Answer, together with all else that is answered before more has to be read."""
        self.replies.append(reply)

    def flush(self) -> None:
        """Send what was said."""
        if self.replies:
            self.sock.sendall(b"\r\n".join([*self.replies, b""]))
            self.replies.clear()

    def fill(self) -> None:
        """Read on."""
        self.flush()
        data = self.sock.recv(READ_SIZE)
        if not data:
            raise Gone
        self.buffer += data

    def line(self) -> bytes:
        """Return the next command."""
        while (end := self.buffer.find(b"\r\n")) < 0:
            self.fill()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    def content(self) -> int:
        """Read to the final dot; return how many octets were before it."""
        buffer = self.buffer
        # The end of the command's own line may be the first half of the end (RFC 5321 4.1.1.4).
        buffer[:0] = END[:2]
        octets = -2
        while (end := buffer.find(END)) < 0:
            dropped = max(len(buffer) - len(END) + 1, 0)
            octets += dropped
            del buffer[:dropped]
            self.fill()
        del buffer[: end + len(END)]
        return octets + end + 2

    def skip(self, octets: int) -> None:
        """Read a chunk."""
        while octets > len(self.buffer):
            octets -= len(self.buffer)
            self.buffer.clear()
            self.fill()
        del self.buffer[:octets]

    # -- commands --------------------------------------------------------------------------------

    def ehlo(self, _: bytes) -> None:
        """Say what there is."""
        self.forget()
        options = self.options
        keywords = [b"benchmark.example", b"PIPELINING", b"8BITMIME", b"ENHANCEDSTATUSCODES"]
        if options.chunking:
            keywords.append(b"CHUNKING")
        if options.limits:
            keywords.append(b"LIMITS RCPTMAX=%d" % options.recipients)
        for keyword in keywords:
            self.say(b"250-" + keyword)
        self.say(b"250 SIZE")

    def helo(self, _: bytes) -> None:
        """Greet."""
        self.forget()
        self.say(b"250 benchmark.example")

    def mail(self, _: bytes) -> None:
        """Begin a transaction."""
        if self.open:
            self.say(b"503 5.5.1 Nested MAIL")
            return
        self.forget()
        self.open = True
        self.say(b"250 2.1.0 Ok")

    def rcpt(self, _: bytes) -> None:
        """Take a recipient, if there are not too many (RFC 5321 section 4.5.3.1.10)."""
        if not self.open or self.chunks:
            self.say(b"503 5.5.1 Not now")
        elif self.options.recipients and self.recipients >= self.options.recipients:
            self.say(b"452 4.5.3 Too many recipients")
        else:
            self.recipients += 1
            self.say(b"250 2.1.5 Ok")

    def data(self, _: bytes) -> None:
        """Take a content up to the dot."""
        if not self.open or self.chunks:
            self.say(b"503 5.5.1 Not now")
        elif not self.recipients:
            self.say(b"554 5.5.1 No valid recipients")
        else:
            self.say(b"354 End data with <CR><LF>.<CR><LF>")
            self.take(self.content())

    def bdat(self, line: bytes) -> None:
        """Take a chunk; a refused one is read all the same (RFC 3030 section 2)."""
        _, size, *last = line.split()
        octets = int(size)
        self.skip(octets)
        if not self.options.chunking:
            self.say(b"502 5.5.1 No CHUNKING here")
        elif self.octets is None or not self.open:
            self.say(b"503 5.5.1 Not now")
        elif not self.recipients:
            self.octets = None
            self.say(b"554 5.5.1 No valid recipients")
        else:
            self.chunks += 1
            self.octets += octets
            if last:
                self.take(self.octets)
            else:
                self.say(b"250 2.0.0 %d octets" % octets)

    def take(self, octets: int) -> None:
        """Count a message."""
        self.totals.messages += 1
        self.totals.recipients += self.recipients
        self.totals.octets += octets
        self.forget()
        self.say(b"250 2.0.0 Ok")

    def rset(self, _: bytes) -> None:
        """Forget the transaction."""
        self.forget()
        self.say(b"250 2.0.0 Ok")

    def noop(self, _: bytes) -> None:
        """Do nothing."""
        self.say(b"250 2.0.0 Ok")

    def unknown(self, _: bytes) -> None:
        """Refuse."""
        self.say(b"500 5.5.2 Unknown command")


def serve(listener: socket.socket, options: argparse.Namespace, totals: Totals) -> None:
    """Take connections for ever."""
    while True:
        sock, _ = listener.accept()
        connection = Connection(sock, options, totals)
        threading.Thread(target=connection.serve, daemon=True).start()


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chunking", action="store_true", help="offer CHUNKING")
    parser.add_argument("--recipients", type=int, default=0, help="taken in one transaction")
    parser.add_argument("--limits", action="store_true", help="say how many recipients are taken")
    options = parser.parse_args()
    totals = Totals()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener, options, totals), daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        sys.stdin.read()
        print(json.dumps(vars(totals)), flush=True)


if __name__ == "__main__":
    main()
