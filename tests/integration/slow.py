"""The counting server, as slow as a file says: ``python -m tests.integration.slow PORT FOLDER``.

FOLDER holds ``delay`` (seconds from the end of a content to its 250; "never" withholds it until
that changes). The server adds to ``arrived`` as the counting server does, and to ``sessions`` a
line when a session begins (``open``), ends with QUIT (``quit``) or without (``cut``), each with how
many sessions there are then.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from tests.integration.sink import _LIMIT, Connection

LOOK_EVERY = 0.01


class Events:
    """What became of the sessions, line by line."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._open = 0

    def note(self, event: str) -> None:
        """Write a line."""
        self._open += 1 if event == "open" else -1
        os.write(self._file, f"{event} {self._open}\n".encode())


class SlowConnection(Connection):
    """One client's session, which is answered late."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        folder: Path,
        arrived: int,
        events: Events,
    ) -> None:
        super().__init__(reader, writer, arrived, 0.0)
        self.delay_file = folder / "delay"
        self.events = events
        self.goodbye = False

    async def serve(self) -> None:
        """Answer until QUIT or the end of the stream."""
        self.events.note("open")
        try:
            await super().serve()
        finally:
            self.events.note("quit" if self.goodbye else "cut")

    async def command(self, line: bytes) -> bool:
        """Carry out one command."""
        self.goodbye = line[:4].upper() == b"QUIT"
        return await super().command(line)

    async def think(self) -> None:
        """Wait until it is time."""
        ended = time.monotonic()
        while not self._is_time(ended):  # noqa: ASYNC110 (another process writes the file)
            await asyncio.sleep(LOOK_EVERY)

    def _is_time(self, ended: float) -> bool:
        delay = self.delay_file.read_text()
        return delay != "never" and time.monotonic() - ended >= float(delay or 0)


async def main(port: int, folder: Path) -> None:
    """Serve until killed."""
    arrived = os.open(folder / "arrived", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    events = Events(folder / "sessions")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await SlowConnection(reader, writer, folder, arrived, events).serve()

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=_LIMIT, backlog=500)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
