"""Between a client and a server: a relay that can be taken away, and a wire that is cut at random."""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^>]+>)\r\n", re.IGNORECASE | re.MULTILINE)
_TAKEN = b" taken\r\n"
_END = b"\r\n.\r\n"

_QUIET = 0.1
"""Seconds of silence after which all that a client had to say for now has been read."""

_PREAMBLE = {"server": 20, "client": 110}
"""Bytes of greeting and EHLO; nine of ten cuts come behind them."""

HOW = ("reset", "close", "stall", "deaf", "mute")
"""RST; FIN; not a byte any more; a FIN to the server alone; a FIN to the client alone."""


class Relay:
    """Passes bytes between whoever connects to ``port`` and the server at another one."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._stopped = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        self._run(self._accept)

    def stop(self) -> None:
        """Listen no more, and reset all connections."""
        self._stopped = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            reset(sock)
        for thread in self._threads:
            thread.join(10)

    def start_again(self) -> None:
        """Listen at the same port as before."""
        self._stopped = False
        self._open, self._threads = [], []
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
        self._run(self._accept)

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with suppress(ConnectionError):
                server = socket.create_connection(("127.0.0.1", self._server))
                self._open += [client, server]
                self._run(self.connected, client, server)

    def connected(self, client: socket.socket, server: socket.socket) -> None:
        """Pass the bytes of one connection."""
        with client, server, suppress(OSError, ValueError):
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    (server if one is client else client).sendall(data)


class Cutter(Relay):
    """A relay that cuts each connection somewhere, and writes down what had been said until then.

    ``bytes_to_server`` and ``bytes_to_client`` are how many of them a connection passes on average,
    in the direction in which it is cut. ``cuts`` counts how connections ended; ``ended`` the ends of data that a client has
    let go of, by Message-ID, and ``unanswered`` those of them whose 250 was not passed on.
    """

    def __init__(
        self, server: int, rand: random.Random, *, bytes_to_server: float, bytes_to_client: float
    ) -> None:
        self.cuts: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self._rand = rand
        self._mean = {"server": bytes_to_server, "client": bytes_to_client}
        self._lock = threading.Lock()
        super().__init__(server)

    def connected(self, client: socket.socket, server: socket.socket) -> None:
        """Pass as many bytes as this connection is given, and end it."""
        with self._lock:
            towards = self._rand.choice(("server", "client"))
            left = int(self._rand.expovariate(1 / self._mean[towards]))
            left += _PREAMBLE[towards] if self._rand.random() < 0.9 else 0
            how = self._rand.choice(HOW)
        wire = _Wire(client, server)
        with client, server, suppress(OSError, ValueError):
            if wire.passed(towards, left):
                with self._lock:
                    self.cuts[how] += 1
                wire.cut(how)
        self._write_down(wire)

    def _write_down(self, wire: _Wire) -> None:
        names = [name.decode() for name in _MESSAGE_ID.findall(bytes(wire.said))]
        ends, answers = wire.said.count(_END), wire.answered.count(_TAKEN)
        with self._lock:
            self.ended.update(names[:ends])
            self.unanswered.update(names[answers:ends])


class _Wire:
    """One connection: ``said`` is all that its client has let go of, ``answered`` what it was told.

    Either side gets a beginning of what the other one said: no network leaves bytes out in between.
    """

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.said = bytearray()
        self.answered = bytearray()
        self._kept_back = b""

    def passed(self, towards: str, left: int) -> bool:
        """Pass bytes until ``left`` of those in one direction are through; False if it ends before."""
        while True:
            for one in select.select([self.client, self.server], [], [])[0]:
                to = "server" if one is self.client else "client"
                data = one.recv(65536)
                if not data:
                    return False
                share = data[:left] if to == towards else data
                self._pass(to, data, share)
                if to == towards:
                    left -= len(share)
                    if len(share) < len(data):
                        return True

    def cut(self, how: str) -> None:
        """End it; what the client lets go of until it has noticed is on record."""
        if how in ("reset", "close"):
            self._listen(_QUIET)
            if how == "reset":
                reset(self.client)
                reset(self.server)
        elif how == "stall":
            self._listen(None)
        elif how == "deaf":
            self.server.shutdown(socket.SHUT_WR)
            # The client still hears all, without a gap: a reply that is missing, or half of one,
            # would let it take the next one for the answer to its content.
            self._pass("client", self._kept_back, self._kept_back)
            self._listen(None, answering=True)
            self._hang_up()
        else:
            self._listen(_QUIET)
            self._hang_up()

    def _hang_up(self) -> None:
        """Let the client notice the end by itself; what it says until then has left."""
        self.client.shutdown(socket.SHUT_WR)
        self._listen(None)

    def _listen(self, seconds: float | None, *, answering: bool = False) -> None:
        """Read what the client says until it is quiet for so long, or ends."""
        both = [self.client, self.server] if answering else [self.client]
        while ready := select.select(both, [], [], seconds)[0]:
            for one in ready:
                data = one.recv(65536)
                if not data:
                    return
                to = "server" if one is self.client else "client"
                self._pass(to, data, b"" if to == "server" else data)

    def _pass(self, to: str, data: bytes, share: bytes) -> None:
        if to == "server":
            self.said += data
            if share:
                # Not even nothing can be sent behind a FIN.
                self.server.sendall(share)
        else:
            self.client.sendall(share)
            self.answered += share
            self._kept_back = data[len(share) :]


def reset(sock: socket.socket) -> None:
    """Close a connection by RST."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
