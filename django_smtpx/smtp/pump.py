"""Bytes between the protocol and the transport; all waiting happens here.

Under one deadline for each reply, and in slices that let the caller keep what
he has leased.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from django_smtpx.smtp import commands
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.errors import ServerDisconnected, TLSError
from django_smtpx.smtp.events import Ended
from django_smtpx.smtp.states import CHUNK, CONTENT, LAST_CHUNK

if TYPE_CHECKING:
    from django_smtpx.smtp.events import Event
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.protocol import Protocol as Dialogue
    from django_smtpx.smtp.transport import Transport
    from django_smtpx.smtp.watch import Watch

DRAIN_TIMEOUT = 5.0
"""Seconds that the last words of a server that has hung up are read for."""
LAST_READS = 4
"""How often a server that has ended the session is listened to, until it hangs up."""
WRITE_BLOCK = 65_536
"""Bytes that must move in each ``timeout`` while writing: a drip does not put a deadline off."""

_LAST_WORDS = (CONTENT, CHUNK, LAST_CHUNK)


class Pump:
    """Moves what the protocol has to send, and feeds it what comes.

    ``watch`` is told of long waits.
    """

    def __init__(
        self, options: Options, protocol: Dialogue, transport: Transport, watch: Watch
    ) -> None:
        self.watch = watch
        self._options = options
        self._protocol = protocol
        self._transport = transport

    def event(self) -> Event:
        """Move bytes until something has happened."""
        protocol = self._protocol
        while True:
            event = protocol.next_event()
            if event is not None:
                return event
            if protocol.failure is not None:
                return Ended(protocol.failure)
            if self.flush() and not self.await_reply():
                protocol.receive_timeout()

    def flush(self) -> bool:
        """Send all that is to be sent; return whether it went in one go, with nothing read."""
        protocol = self._protocol
        data = protocol.data_to_send()
        if not protocol.streaming:
            return not data or self._hand_over(data)
        while data:
            if self._hand_over(data):
                # A refusal of what has left already is heard before more of it leaves.
                self.look()
            if protocol.failure is not None:
                break
            data = protocol.data_to_send()
        return False

    def _hand_over(self, data: bytes) -> bool:
        """Send ``data``; return whether the network took it in one go."""
        sent = self._send(data)
        if sent == len(data):
            return True
        if sent is not None:
            self._send_rest(memoryview(data)[sent:])
        return False

    def _send_rest(self, data: memoryview) -> None:
        """Send ``data``, and read while it goes: two full buffers must not wait for each other."""
        protocol, transport = self._protocol, self._transport
        moved = 0
        deadline = Deadline(self._options.timeout)
        while data:
            wait = min(deadline.left, self.watch.interval)
            readable, writable = transport.ready(wait)
            if readable:
                self._read()
                if protocol.failure is not None:
                    # An early verdict or a hang-up: what is left of the data is not sent.
                    return
            if writable:
                sent = self._send(data[:WRITE_BLOCK])
                if sent is None:
                    return
                data = data[sent:]
                moved += sent
                if moved >= WRITE_BLOCK:
                    moved, deadline = 0, Deadline(self._options.timeout)
            if deadline.passed:
                protocol.receive_timeout()
                return
            if not (readable or writable):
                self.watch.waiting(self._options.timeout - deadline.left)

    def _send(self, data: bytes | memoryview) -> int | None:
        """Hand bytes to the network; None when it takes no more, and the end is accounted for."""
        protocol = self._protocol
        protocol.offered_total = protocol.sent_total + len(data)
        try:
            sent = self._transport.send(data)
        except ServerDisconnected:
            self._drain()
            return None
        protocol.sent_total += sent
        protocol.offered_total = protocol.sent_total
        return sent

    def _drain(self) -> None:
        """Read what the server had said before it closed: it may say why."""
        protocol = self._protocol
        deadline = Deadline(min(self._options.timeout, DRAIN_TIMEOUT))
        while protocol.failure is None and self._transport.readable(deadline.left):
            self._read()
            if deadline.passed:
                break
        protocol.receive_eof()

    def await_reply(self, limit: float | None = None) -> bool:
        """Wait until a reply has come, or the end; return False when the time is up."""
        protocol, transport, watch = self._protocol, self._transport, self.watch
        if limit is None:
            options = self._options
            limit = options.eod_timeout if protocol.owed in _LAST_WORDS else options.timeout
        replies = protocol.replies
        started = time.monotonic()
        left = limit
        while protocol.failure is None and not protocol.disconnected:
            wait = min(left, watch.interval)
            if transport.readable(wait):
                self._read()
                if protocol.replies != replies:
                    return True
            elapsed = time.monotonic() - started
            left = limit - elapsed
            if left <= 0:
                return False
            if elapsed >= watch.interval:
                watch.waiting(elapsed)
        return True

    def look(self) -> None:
        """Read what is there, without waiting."""
        if self._transport.readable(0):
            self._read()

    def _read(self) -> None:
        protocol = self._protocol
        try:
            data = self._transport.receive()
        except TLSError as error:
            protocol.receive_error(error)
            return
        if data:
            protocol.receive_data(data)
        elif data is not None:
            protocol.receive_eof()

    def goodbye(self, timeout: float) -> None:
        """Say QUIT where the protocol has ended already, and wait for an answer or the end.

        A server that closes the connection because it was told QUIT has not hung up.
        """
        self._protocol.entries.append((time.monotonic(), "C:", commands.QUIT))
        with suppress(ServerDisconnected):
            self._transport.send(commands.QUIT)
        self.linger(timeout, reads=1)

    def linger(self, timeout: float, *, reads: int = LAST_READS) -> None:
        """See whether the server closes the connection, for ``timeout`` seconds at most.

        What it says meanwhile, and be it without end, is read so many times and not looked at.
        """
        deadline = Deadline(min(timeout, self._options.timeout))
        while reads and self._transport.readable(deadline.left):
            try:
                data = self._transport.receive()
            except TLSError:
                data = b""
            if data == b"":
                self._protocol.receive_eof()
                return
            if deadline.passed:
                return
            if data:
                reads -= 1
