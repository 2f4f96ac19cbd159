"""A relay that makes the way longer, not narrower: ``python -m benchmarks.relay PORT --rtt MS``.

Each byte leaves half a round trip after it came, in order, however many are under way. It says its
port in its first line, and ends when its input does. To connect costs no delay.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from collections import deque

READ_SIZE = 262_144
WATCHFUL = 0.000_5
"""Seconds before something is due in which the relay does not sleep: to wake up takes time, too."""


class Way:
    """One direction of a connection: what came from ``source`` leaves to ``target``, later."""

    def __init__(self, source: socket.socket, target: socket.socket, delay: float) -> None:
        self.source = source
        self.target = target
        self.delay = delay
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.leaving = b""
        self.ended = self.over = False

    def receive(self) -> None:
        """Note what came, and when it is to leave; b"" is the end."""
        try:
            data = self.source.recv(READ_SIZE)
        except OSError:
            data = b""
        self.ended = not data
        self.waiting.append((time.monotonic() + self.delay, data))

    def send(self) -> None:
        """Let leave what is due."""
        now = time.monotonic()
        try:
            while True:
                if self.leaving:
                    self.leaving = self.leaving[self.target.send(self.leaving) :]
                    if self.leaving:
                        return
                if not self.waiting or self.waiting[0][0] > now:
                    return
                self.leaving = self.waiting.popleft()[1]
                if not self.leaving:
                    self.over = True
                    self.target.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self.ended = self.over = True
            self.waiting.clear()
            self.leaving = b""

    @property
    def due(self) -> float | None:
        """When something is to leave next, unless the target has to be waited for."""
        return self.waiting[0][0] if self.waiting and not self.leaving else None


class Relay:
    """All connections, in one thread: no switch of threads is added to the delay."""

    def __init__(self, listener: socket.socket, port: int, delay: float) -> None:
        self.listener = listener
        self.port = port
        self.delay = delay
        self.ways: list[Way] = []

    def serve(self) -> None:
        """Relay until the input ends."""
        while True:
            sources = [way.source for way in self.ways if not way.ended]
            targets = [way.target for way in self.ways if way.leaving]
            ready, _, _ = select.select(
                [sys.stdin, self.listener, *sources], targets, [], self._wait()
            )
            if sys.stdin in ready:
                return
            if self.listener in ready:
                self._connect()
            for way in self.ways:
                if way.source in ready:
                    way.receive()
                way.send()
            self._close()

    def _wait(self) -> float | None:
        due = min((way.due for way in self.ways if way.due is not None), default=None)
        return None if due is None else max(due - WATCHFUL - time.monotonic(), 0)

    def _connect(self) -> None:
        source, _ = self.listener.accept()
        target = socket.create_connection(("127.0.0.1", self.port))
        for sock in (source, target):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
        self.ways += [Way(source, target, self.delay), Way(target, source, self.delay)]

    def _close(self) -> None:
        """Close the connections that have ended in both directions."""
        pairs = zip(self.ways[::2], self.ways[1::2], strict=True)
        left: list[Way] = []
        for there, back in pairs:
            if there.over and back.over:
                there.source.close()
                there.target.close()
            else:
                left += [there, back]
        self.ways = left


def main() -> None:
    """Relay until the input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int, help="of the server behind it")
    parser.add_argument("--rtt", type=float, required=True, help="round trip, in milliseconds")
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        Relay(listener, options.port, options.rtt / 2_000).serve()
    print(json.dumps({}), flush=True)


if __name__ == "__main__":
    main()
