"""The bytes of one connection of a scripted server: lines and contents in, actions out."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING

from django_smtpx.smtp.wrapping import wrapped
from django_smtpx.testing.actions import (
    Action,
    Close,
    Delay,
    MidContent,
    NoReply,
    Raw,
    Reply,
    Reset,
    Silence,
    Split,
)

if TYPE_CHECKING:
    import threading

    from django_smtpx.testing.records import Ended

_CHUNK = 256 * 1024
_LONGEST_LINE = 64 * 1024
_LINGER = 5.0
_ABORTIVE = struct.pack("ii", 1, 0)


class ConversationEnd(Exception):
    """The connection has ended, or must; ``ended`` says how."""

    def __init__(self, ended: Ended, error: str = "") -> None:
        super().__init__(ended)
        self.ended: Ended = ended
        self.error = error


class Wire:
    """A buffered connection. Replies go out together, once no whole command is left to read.

    Its methods raise :class:`ConversationEnd` where the connection ends, and
    ``OSError`` where it breaks.
    """

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        with contextlib.suppress(OSError):
            # Some systems refuse it for a peer that is gone already.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._stopping = stopping
        self._in = bytearray()
        self._out: list[bytes] = []
        self._mid_content: MidContent | None = None

    @property
    def socket(self) -> socket.socket:
        """The socket as it is now: after a handshake, that of TLS."""
        return self._sock

    def line(self) -> str:
        """Return the next line, without its end."""
        start = 0
        while (end := self._in.find(b"\n", start)) < 0:
            start = len(self._in)
            if start > _LONGEST_LINE:
                self.perform(Reply("500 5.5.2 Line too long", then=Close()))
            self._fill()
        line = self._in[:end].rstrip(b"\r").decode("utf-8", "surrogateescape")
        del self._in[: end + 1]
        return line

    def content(self) -> bytes | None:
        """Read to the lone dot; return the content, un-dot-stuffed (RFC 5321 section 4.5.2).

        None where the script acted in the middle of it, and so no reply is due.
        """
        mid, self._mid_content = self._mid_content, None
        answered = False
        start = 0
        while True:
            # The offset of the lone dot; its line end before it belongs to the content.
            end = 0 if self._in.startswith(b".\r\n") else self._in.find(b"\r\n.\r\n", start) + 2
            whole = end != 1
            if mid is not None and not answered and (whole or len(self._in) >= mid.after):
                answered = True
                self.perform(mid.then)
            if whole:
                break
            start = max(0, len(self._in) - 4)
            self._fill()
        content = bytes(self._in[:end])
        del self._in[: end + 3]
        if answered:
            return None
        return content.removeprefix(b".").replace(b"\r\n.", b"\r\n")

    def chunk(self, size: int) -> bytes | None:
        """Read ``size`` bytes and return them as they are (RFC 3030 section 2).

        None where the script acted in the middle of them, and so no reply is due.
        """
        mid, self._mid_content = self._mid_content, None
        if mid is not None:
            self._await(min(mid.after, size))
            self.perform(mid.then)
            self.skip(size)
            return None
        self._await(size)
        chunk = bytes(self._in[:size])
        del self._in[:size]
        return chunk

    def skip(self, size: int) -> None:
        """Read ``size`` bytes and throw them away."""
        while size > len(self._in):
            size -= len(self._in)
            self._in.clear()
            self._fill()
        del self._in[:size]

    def perform(self, action: Action | None, go_ahead: bytes = b"354 Go ahead\r\n") -> None:
        """Do ``action`` and what follows it; ``go_ahead`` comes before what is done mid-content."""
        while action is not None:
            if isinstance(action, Reply | Raw):
                self._out.append(action.data)
            elif isinstance(action, Delay):
                self._flush()
                self._pause(action.seconds)
            elif isinstance(action, Split):
                self._split(action)
            elif isinstance(action, MidContent):
                self._out.append(go_ahead)
                self._mid_content = action
                return
            else:
                self._end(action)
                return
            action = action.then

    def handshake(self, context: ssl.SSLContext | None) -> str:
        """Forget what came in clear, speak TLS from here on, and return its version."""
        self._flush()
        self._in.clear()
        if context is None:
            raise ConversationEnd("lost", "there is no certificate for TLS: pass ssl_context=")
        sock = wrapped(context, self._sock, server_side=True, do_handshake_on_connect=False)
        self._sock = sock
        if self._stopping.is_set():
            # hang_up() may have reached for the socket that this one has just replaced.
            raise ConversationEnd("stopped")
        sock.do_handshake()
        return sock.version() or ""

    def goodbye(self, ended: Ended, *, notify: bool = True) -> None:
        """Close, and wait for the peer's own end: closing with bytes unread would be a RST."""
        self._flush()
        if notify and isinstance(self._sock, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                # Without waiting: what counts is that our close_notify is on its way.
                self._sock.settimeout(0)
                self._sock.unwrap()
        with contextlib.suppress(OSError):
            self._sock.settimeout(_LINGER)
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
            deadline = time.monotonic() + _LINGER
            while time.monotonic() < deadline and socket.socket.recv(self._sock, _CHUNK):
                pass
        raise ConversationEnd(ended)

    def hang_up(self) -> None:
        """From another thread: make whatever is waited for here end."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the socket."""
        self._sock.close()

    def _end(self, action: Close | Reset | Silence | NoReply) -> None:
        if isinstance(action, NoReply):
            return
        self._flush()
        if isinstance(action, Close):
            self.goodbye("server", notify=action.notify)
        if isinstance(action, Reset):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORTIVE)
            raise ConversationEnd("server")
        while True:
            self._fill()
            self._in.clear()

    def _await(self, size: int) -> None:
        while len(self._in) < size:
            self._fill()

    def _split(self, action: Split) -> None:
        self._flush()
        for start in range(0, len(action.data), action.size):
            if start:
                self._pause(action.pause)
            self._sock.sendall(action.data[start : start + action.size])

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise ConversationEnd("stopped")

    def _fill(self) -> None:
        self._flush()
        try:
            data = self._sock.recv(_CHUNK)
        except ssl.SSLEOFError:
            data = b""
        if not data:
            raise ConversationEnd("client")
        self._in += data

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._sock.sendall(data)
