"""Helpers of these tests: a dialogue in memory, and a small server on a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace

from django_smtpx.smtp.envelope import Envelope
from django_smtpx.smtp.errors import SMTPError
from django_smtpx.smtp.events import ContentWanted, Finished
from django_smtpx.smtp.options import Credential, Options, Security
from django_smtpx.smtp.protocol import Protocol
from django_smtpx.smtp.wrapping import wrapped

CONTENT = b"Subject: hello\r\n\r\nHello.\r\n"
FACTS = {"host": "h", "ip": "192.0.2.1", "port": 25, "tls": "", "tls_verified_by": ""}
LOGIN = Credential("user", "pa55-word!")
OPTIONS = Options(host="127.0.0.1", port=25, security=Security.NONE, helo="me.example", timeout=5)
HELLO = b"250-mx.example hello\r\n250-SIZE 1000\r\n250 PIPELINING\r\n"
WIDE_HELLO = b"250-mx.example hello\r\n250 PIPELINING\r\n"
PLAIN_HELLO = b"250 mx.example hello\r\n"


def options(**changes) -> Options:
    """Return options for a test, with ``changes``."""
    return replace(OPTIONS, **changes)


def envelope(*recipients: str, sender: str = "me@example.com", content: bytes = CONTENT):
    """Return an envelope for a test."""
    return Envelope(sender, recipients or ("you@example.net",), content)


def pieces(data: bytes, split: str) -> list[bytes]:
    """Return ``data`` in one piece, or byte by byte."""
    return [data] if split == "whole" else [data[i : i + 1] for i in range(len(data))]


def feed(protocol: Protocol, data: bytes, split: str = "whole") -> bytes:
    """Give ``data`` to the protocol; return what it sends to that, all of it handed over."""
    for piece in pieces(data, split):
        protocol.receive_data(piece)
    return flush(protocol)


def flush(protocol: Protocol) -> bytes:
    """Return what the protocol has to send, and count it as handed to the network."""
    data = protocol.data_to_send()
    protocol.sent_total += len(data)
    return data


def events(protocol: Protocol) -> list[object]:
    """Return all events there are."""
    found = []
    while (event := protocol.next_event()) is not None:
        found.append(event)
    return found


def opened(hello: bytes = HELLO, **changes) -> Protocol:
    """Return a protocol behind its opening."""
    protocol = Protocol(options(**changes))
    assert feed(protocol, b"220 mx.example ESMTP\r\n") == b"EHLO me.example\r\n"
    feed(protocol, hello)
    events(protocol)
    return protocol


def deliver(protocol: Protocol, mail: Envelope, *replies: bytes, split: str = "whole"):
    """Carry one envelope with the given replies; return its transaction and all that was sent."""
    transaction = protocol.prepare(mail)
    protocol.begin(transaction)
    sent = flush(protocol)
    for reply in replies:
        sent += feed(protocol, reply, split)
        for event in events(protocol):
            if isinstance(event, ContentWanted):
                protocol.send_content(transaction)
                sent += flush(protocol)
            elif isinstance(event, Finished):
                assert event.transaction is transaction
    return transaction, sent


def table(transaction, *, disconnected: bool = False) -> list[tuple]:
    """Return the results in short."""
    return [
        (result.outcome, result.category, result.phase, result.command, result.code)
        for result in transaction.results(FACTS, disconnected=disconnected)
    ]


class Server:
    """Plays one script for each connection that comes, and notes what it was told.

    What is heard at the end of the stream is None. A step is bytes to send, "line" to read a line, an int to read so many lines, "content" to read
    up to the final dot, "eof" to wait for the end, "tls" to shake hands, an event to wait for, or a
    callable that gets the socket.
    """

    def __init__(self, *scripts: list, context=None) -> None:
        self._scripts = scripts
        self._context = context
        self.heard: list[bytes] = []
        self.connections = 0
        self._connections: list[socket.socket] = []
        self._players: list[threading.Thread] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Wait for the scripts that have begun; begin no other."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(10)
        for player in self._players:
            player.join(0.5)
        for connection in self._connections:
            # The test leaves while a script still listens.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for player in self._players:
            player.join(10)
            assert not player.is_alive(), self.heard

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            player = threading.Thread(target=self._run, args=(connection, script), daemon=True)
            self._players.append(player)
            player.start()

    def _run(self, connection, script) -> None:
        self._connections.append(connection)
        with contextlib.suppress(OSError):
            self._play(connection, script)
        self._connections[:] = [each for each in self._connections if each.fileno() != -1]

    def _play(self, connection, script):  # noqa: C901
        buffer = b""

        def line() -> bytes | None:
            nonlocal buffer
            while b"\n" not in buffer:
                data = connection.recv(65536)
                if not data:
                    return None
                buffer += data
            first, _, buffer = buffer.partition(b"\n")
            return first.rstrip(b"\r")

        try:
            for step in script:
                if isinstance(step, bytes):
                    connection.sendall(step)
                elif step == "content":
                    while (got := line()) not in (b".", None):
                        pass
                    self.heard.append(got)
                elif step == "eof":
                    while line() is not None:
                        pass
                elif step == "tls":
                    connection = wrapped(self._context, connection, server_side=True)
                    self._connections.append(connection)
                elif isinstance(step, threading.Event):
                    step.wait(10)
                elif callable(step):
                    step(connection)
                else:
                    for _ in range(1 if step == "line" else step):
                        self.heard.append(line())
        finally:
            # By now it may be another one: TLS takes the socket over.
            with contextlib.suppress(OSError):
                connection.close()


def opening(hello: bytes = HELLO) -> list:
    """Return the steps of a plain opening."""
    return [b"220 mx.example ESMTP\r\n", "line", hello]


def accepted(recipients: int = 1) -> list:
    """Return the steps of a pipelined group that is accepted, up to the content's end."""
    return [recipients + 2, b"250 ok\r\n" * (recipients + 1) + b"354 go\r\n", "content"]


BYE = ["line", b"221 bye\r\n", "eof"]


def error_of(call, *args, **kwargs) -> SMTPError:
    """Return the error that ``call`` raises."""
    try:
        call(*args, **kwargs)
    except SMTPError as error:
        return error
    raise AssertionError("no error was raised")
