"""The server that all queues send to: smtp-sink, which keeps count."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from benchmarks.processes import ClientFailed, smtp_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_AGAIN = 0.005
"""Seconds between two looks at the count."""
STANDSTILL = 60.0
"""Seconds without a message after which no more are expected."""


class Sink:
    """A running smtp-sink."""

    def __init__(self, port: int, counter: IO[bytes]) -> None:
        self.port = port
        self._counter = counter
        self._count = 0
        self._begun = b""

    def count(self) -> int:
        """Return how many messages have come so far."""
        *lines, self._begun = (self._begun + self._counter.read()).split(b"\r")
        if lines and (found := re.search(rb"mesg=(\d+)", lines[-1])):
            self._count = int(found[1])
        return self._count

    def wait_for(self, count: int) -> None:
        """Wait until so many messages have come; raises :class:`ClientFailed` at a standstill."""
        wait_until(lambda: self.count() >= count, self.count)


def wait_until(is_so: Callable[[], bool], progress: Callable[[], int]) -> None:
    """Wait; raises :class:`ClientFailed` where ``progress`` stays the same for a minute."""
    latest, since = progress(), time.monotonic()
    while not is_so():
        time.sleep(LOOK_AGAIN)
        if (now := progress()) != latest:
            latest, since = now, time.monotonic()
        elif time.monotonic() - since > STANDSTILL:
            raise ClientFailed(f"Nothing has moved for {STANDSTILL:g} s, at {now}.")


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """Run smtp-sink until the block ends."""
    with (
        tempfile.NamedTemporaryFile() as written,
        smtp_sink("-c", stdout=written.file) as port,
        Path(written.name).open("rb") as counter,
    ):
        yield Sink(port, counter)
