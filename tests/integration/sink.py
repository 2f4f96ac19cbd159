"""A fast SMTP server that keeps count: ``python -m tests.integration.sink PORT FILE [DELAY]``.

Right before it says 250 to a message it adds a line for each recipient to FILE: Message-ID, TAB,
recipient. Written and said are two steps, so a sender that dies between them has a line all the
same: the file is what has arrived. DELAY is in seconds, and passes before each of the two.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^>]+>)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(rb"<([^>]*)>")
_LIMIT = 64 * 1024 * 1024


class Connection:
    """One client's session."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, file: int, delay: float
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.file = file
        self.delay = delay
        self.recipients: list[bytes] = []

    async def serve(self) -> None:
        """Answer until QUIT or the end of the stream."""
        self.say(b"220 sink.example.test ESMTP")
        try:
            while await self.command((await self.reader.readuntil(b"\r\n")).rstrip()):
                await self.writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writer.close()

    def say(self, line: bytes) -> None:
        """Write one reply, or some."""
        self.writer.write(line + b"\r\n")

    async def command(self, line: bytes) -> bool:
        """Carry out one command; return whether another may follow."""
        verb = line[:4].upper()
        if verb == b"EHLO":
            self.say(
                b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE"
            )
        elif verb == b"RCPT":
            path = _PATH.search(line)
            assert path is not None
            self.recipients.append(path[1])
            self.say(b"250 2.1.5 ok")
        elif verb == b"DATA":
            await self.data()
        elif verb == b"QUIT":
            self.say(b"221 2.0.0 bye")
            return False
        elif verb in (b"MAIL", b"RSET", b"NOOP", b"HELO"):
            self.recipients = []
            self.say(b"250 2.0.0 ok")
        else:
            self.say(b"502 5.5.1 not here")
        return True

    async def data(self) -> None:
        """Take one content, write it down, and only then say so."""
        self.say(b"354 go ahead")
        await self.writer.drain()
        content = bytearray(b"\r\n")
        while not content.endswith(b"\r\n.\r\n"):
            content += await self.reader.readuntil(b"\r\n")
        if self.delay:
            await asyncio.sleep(self.delay)
        match = _MESSAGE_ID.search(content)
        name = match[1] if match else b"-"
        os.write(self.file, b"".join(b"%s\t%s\n" % (name, each) for each in self.recipients))
        await self.think()
        self.recipients = []
        self.say(b"250 2.0.0 taken")

    async def think(self) -> None:
        """Let time pass between what is written down and its 250."""
        if self.delay:
            await asyncio.sleep(self.delay)


async def main(port: int, path: str, delay: float) -> None:
    """Serve until killed."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(reader, writer, file, delay).serve()

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=_LIMIT, backlog=500)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(
        main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
    )
