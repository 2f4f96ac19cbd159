"""What stands in front of a server: a relay that writes down all that clients say to it.

And what answers nobody: an address that takes no connection and refuses none.
"""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Recorder:
    """Passes on what comes to ``addresses`` at ``port`` to the same address at ``to_port``."""

    def __init__(self, addresses: Sequence[str], port: int, to_port: int) -> None:
        self._to_port = to_port
        self._heard: dict[str, list[bytearray]] = {address: [] for address in addresses}
        self._listeners = [socket.create_server((one, port), backlog=50) for one in addresses]
        self._ends: dict[socket.socket, tuple[socket.socket, bytearray | None]] = {}
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        for sock in (*self._listeners, self._woken):
            self._selector.register(sock, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.send(b"x")
        self._thread.join(10)
        for sock in (*self._listeners, *self._ends, self._wake, self._woken):
            sock.close()
        self._selector.close()

    def clear(self) -> None:
        """Forget what was heard."""
        for said in self._heard.values():
            said.clear()

    def heard(self, address: str) -> list[bytes]:
        """Return what clients said to ``address``, a connection each, oldest first."""
        return [bytes(said) for said in self._heard[address]]

    def everything(self) -> bytes:
        """Return all that was said to anybody."""
        return b"\n".join(bytes(said) for all_said in self._heard.values() for said in all_said)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj in self._listeners:
                    self._accept(key.fileobj)
                elif key.fileobj in self._ends:
                    self._pass_on(key.fileobj)

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        address = listener.getsockname()[0]
        said = bytearray()
        self._heard[address].append(said)
        server = socket.create_connection((address, self._to_port), timeout=10)
        for sock, other, record in ((client, server, said), (server, client, None)):
            sock.settimeout(10)
            self._ends[sock] = (other, record)
            self._selector.register(sock, selectors.EVENT_READ)

    def _pass_on(self, sock: socket.socket) -> None:
        other, record = self._ends[sock]
        data = b""
        with suppress(OSError):
            data = sock.recv(65536)
            if record is not None:
                record += data
            other.sendall(data)
        if not data:
            for end in (sock, other):
                self._selector.unregister(end)
                del self._ends[end]
                end.close()


@contextmanager
def nobody_answers(address: str, port: int) -> Iterator[None]:
    """Let no connection to ``address`` come about until the block ends, nor be refused.

    A socket that nobody accepts from, and whose queue is full, answers no more.
    """
    with socket.create_server((address, port), backlog=0):
        waiting: list[socket.socket] = []
        try:
            for _ in range(10):
                sock = socket.socket()
                waiting.append(sock)
                sock.settimeout(0.2)
                sock.connect((address, port))
            raise RuntimeError(f"{address}:{port} takes any number of connections")
        except TimeoutError:
            yield
        finally:
            for sock in waiting:
                sock.close()
