"""The wire that is cut: it ends, and it does not lie."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.cutting import HOW, Cutter
from tests.integration.tools import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER, NEXT = b"250 2.0.0 taken\r\n", b"250 2.0.0 ok\r\n"


class Decided(random.Random):
    """Cuts behind ``left`` bytes to the client, in the way that is asked for."""

    def __init__(self, how: str, left: int) -> None:
        super().__init__()
        self._choices = iter(("client", how))
        self._left = left

    def choice(self, seq: Sequence[Any]) -> Any:
        """Return what was decided on, which is one of ``seq``."""
        chosen = next(self._choices)
        assert chosen in seq
        return chosen

    def random(self) -> float:
        """Add nothing for the greeting."""
        return 1.0

    def expovariate(self, lambd: float = 1.0) -> float:
        """Return how many bytes may pass."""
        return self._left


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("left", [0, 6])
def test_a_client_hears_a_beginning_of_what_the_server_said(how: str, left: int) -> None:
    """However a connection is cut, nothing comes behind bytes that were kept back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        cutter = Cutter(
            listener.getsockname()[1], Decided(how, left), bytes_to_server=1, bytes_to_client=1
        )
        with socket.create_connection(("127.0.0.1", cutter.port), 10) as client:
            server, _ = listener.accept()
            server.settimeout(10)
            with server:
                server.sendall(ANSWER)
                wait_for("it is cut", lambda: cutter.cuts[how] == 1)
                if how == "stall":
                    client.shutdown(socket.SHUT_WR)
                if how == "deaf":
                    # The end of what the client said; the server may go on.
                    assert server.recv(1) == b""
                with suppress(ConnectionError):
                    server.sendall(NEXT)
            heard = bytearray()
            with suppress(ConnectionError):
                while data := client.recv(1000):
                    heard += data
        cutter.stop()
    assert (ANSWER + NEXT).startswith(heard)
    assert len(heard) == len(ANSWER + NEXT) if how == "deaf" else len(heard) <= left
