from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import ssl
import threading

import pytest

from django_smtpx.smtp import tls
from django_smtpx.smtp import transport as transport_module
from django_smtpx.smtp.errors import (
    ConnectError,
    ResolveError,
    ServerDisconnected,
    ServerTimeout,
    TLSError,
    TLSModeMismatch,
)
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.transport import Transport
from django_smtpx.smtp.watch import NO_WATCH
from tests.smtp.talk import Server, error_of, options


@pytest.fixture
def dial():
    """Connect transports that are closed at the end of the test."""
    made = []

    def connect(server, **changes):
        made.append(Transport.connect(options(port=server.port, **changes)))
        return made[-1]

    yield connect
    for transport in made:
        transport.close()


def test_plain(dial):
    """Bytes go out and come in, and the end is an empty read."""
    with Server(["line", b"answer"]) as server:
        transport = dial(server, source_address="127.0.0.1")
        assert transport.receive() is None
        assert not transport.readable(0)
        assert transport.ready(0) == (False, True)
        assert transport.send(b"hello\r\n") == 7
        assert transport.readable(5)
        assert transport.receive() == b"answer"
        assert transport.readable(5)
        assert transport.receive() == b""
        assert (transport.ip, transport.port, transport.tls) == ("127.0.0.1", server.port, "")


@pytest.mark.parametrize("ending", ["full", "reset"])
def test_what_left_over_tls_is_counted(dial, server_context, ca_file, ending):
    """Of a write that gets stuck, or fails, behind its first records these have left."""
    stuck, over = threading.Event(), threading.Event()
    received = []

    def read(connection):
        stuck.wait(5)
        with contextlib.suppress(OSError):
            while data := connection.recv(65536):
                received.append(len(data))
        over.set()

    with Server(["tls", read], context=server_context) as server:
        transport = dial(server, ca_file=ca_file, security=Security.IMPLICIT)
        transport.start_tls(transport._options, implicit=True)
        sock = transport._socket
        if ending == "reset":
            transport._socket = Failing(sock, after=3)
        sent = transport.send(b"x" * 50_000_000)
        if ending == "reset":
            with pytest.raises(ServerDisconnected):
                transport.send(b"x" * 50_000)
        socket.socket.shutdown(sock, socket.SHUT_WR)
        stuck.set()
        assert over.wait(10)
    assert sent == sum(received) > 0


class Failing:
    """A socket that takes so much, and then has been reset."""

    def __init__(self, sock, after):
        self.sock = sock
        self.left = after

    def send(self, data):
        """Write, or fail."""
        if not self.left:
            raise ConnectionResetError("reset")
        self.left -= 1
        return self.sock.send(data)

    def close(self):
        """Close it."""
        self.sock.close()


def test_full_buffer_and_reset(dial):
    """A full buffer takes nothing; a reset connection has ended, and takes nothing for good."""
    go = threading.Event()

    def reset(connection):
        go.wait(5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with Server([reset]) as server:
        transport = dial(server)
        while transport.send(b"x" * 1_000_000):
            pass
        go.set()
        server.close()
        assert transport.readable(5)
        assert transport.receive() == b""
        with pytest.raises(ServerDisconnected):
            transport.send(b"x")


def test_no_address():
    """A name without an address is a ResolveError."""
    for host in ("does-not-exist.invalid", "a" * 70 + ".example"):
        error = error_of(Transport.connect, options(host=host))
        assert type(error) is ResolveError
        assert (error.phase, error.category) == ("resolve", "dns_error")


def test_given_addresses(monkeypatch):
    """With addresses nobody is asked for the host's name; they are tried in their order."""
    asked = []
    real = socket.getaddrinfo

    def look(name, *args, flags=0, **kwargs):
        asked.append((name, flags))
        return real(name, *args, flags=flags, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    with Server(["eof"]) as server:
        made = options(host="does-not-exist.invalid", port=server.port)
        transport = Transport.connect(
            dataclasses.replace(made, addresses=("::1", "127.0.0.2", "127.0.0.1"))
        )
        transport.close()
    assert transport.ip == "127.0.0.1"
    assert asked == [
        (address, socket.AI_NUMERICHOST) for address in ("::1", "127.0.0.2", "127.0.0.1")
    ]


def test_given_addresses_where_nobody_listens():
    """The error has the host's name, each address, and which of them was the last."""
    with Server() as server:
        port = server.port
    error = error_of(
        Transport.connect,
        options(host="mx.example", port=port, addresses=("::1", "127.0.0.1")),
    )
    assert type(error) is ConnectError
    assert str(error).startswith(f"No connection to mx.example port {port} (::1: ")
    assert "; 127.0.0.1: " in str(error)
    assert error.ip == "127.0.0.1"


def test_given_addresses_that_are_none():
    """A name among the addresses is not looked up."""
    error = error_of(Transport.connect, options(addresses=("localhost",)))
    assert type(error) is ResolveError


def test_nobody_listens():
    """Nobody at any address is a ConnectError that names them."""
    with Server() as server:
        port = server.port
    error = error_of(Transport.connect, options(port=port))
    assert type(error) is ConnectError
    assert (error.ip, error.category, error.action) == ("127.0.0.1", "unreachable", "next_host")
    assert "127.0.0.1" in str(error)


def test_second_address(monkeypatch):
    """When one address does not answer, the next one is tried."""
    with Server(["eof"]) as server:
        good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        with Server() as gone:
            bad = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", gone.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [bad, good])
        transport = Transport.connect(options(port=server.port))
        transport.close()


@pytest.mark.parametrize("verify", [True, False])
def test_tls(dial, server_context, ca_file, verify):
    """A handshake tells version, cipher and who vouches; data flows in both directions."""
    with Server(["tls", "line", b"x" * 100_000, "eof"], context=server_context) as server:
        transport = dial(server)
        made = options(
            port=server.port,
            security=Security.IMPLICIT,
            ca_file=ca_file if verify else None,
            verify=verify,
        )
        transport.start_tls(made, implicit=True)
        assert transport.tls.startswith("TLSv1.3 TLS_")
        assert transport.verified_by == ("pkix" if verify else "")
        assert transport.receive() is None
        transport.send(b"hello\r\n")
        got = b""
        while len(got) < 100_000:
            assert any(transport.ready(5))
            got += transport.receive() or b""
        assert not transport._pending()


def test_tls_pending(dial, server_context, monkeypatch):
    """What TLS holds already can be read without waiting."""
    with Server(["tls", "eof"], context=server_context) as server:
        transport = dial(server)
        transport.start_tls(options(verify=False), implicit=True)
        monkeypatch.setattr(transport, "_pending", lambda: True)
        assert transport.readable(0)
        assert transport.ready(0) == (True, False)


def test_plain_port(dial):
    """TLS to a port that speaks SMTP: the error says what to set."""
    with Server([b"220 mx ESMTP\r\n", "eof"]) as server:
        error = error_of(dial(server).start_tls, options(verify=False), implicit=True)
        assert type(error) is TLSModeMismatch
        assert "security='starttls'" in str(error)


ANSWERS = [
    (b"421 4.7.0 go away\r\n", TLSModeMismatch, "'421 4.7.0 go away'"),
    (b"2", TLSModeMismatch, "'2'"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", TLSError, "'HTTP/1.1 400 Bad Request'"),
    (b"* OK IMAP4rev1\r\n", TLSError, "'* OK IMAP4rev1'"),
    (b"\x00\xff" * 100, TLSError, "does not answer in TLS"),
    (b"x" * 100 + b"\r\n", TLSError, "xxx'..."),
]


@pytest.mark.parametrize(("answer", "cls", "says"), ANSWERS)
def test_strange_answer(dial, answer, cls, says):
    """What answers a handshake, and is no TLS, is in the error."""
    with Server([lambda sock: sock.recv(1), answer, "eof"]) as server:
        error = error_of(dial(server).start_tls, options(verify=False), implicit=True)
        assert type(error) is cls
        assert says in str(error)


def test_strange_answer_to_starttls(dial):
    """Behind STARTTLS, what is no TLS says nothing about the mode."""
    with Server([lambda sock: sock.recv(1), b"454 oops\r\n", "eof"]) as server:
        error = error_of(dial(server).start_tls, options(verify=False), implicit=False)
        assert type(error) is TLSError
        assert "'454 oops'" in str(error)


@pytest.mark.parametrize(("rest", "cls"), [(b"mx ESMTP\r\n", TLSModeMismatch), (b"", TLSError)])
def test_answer_that_openssl_took(dial, monkeypatch, rest, cls):
    """Of an answer that came between two looks, the rest still tells."""
    with Server([b"220 x" + rest, "eof"]) as server:
        transport = dial(server)
        assert transport.readable(5)
        monkeypatch.setattr(
            Transport, "_first_answer", lambda self, sock, made, *, implicit: b"\x16"
        )
        error = error_of(transport.start_tls, options(verify=False), implicit=True)
        assert type(error) is cls
        assert transport.first == b""


def test_without_cork(dial, monkeypatch):
    """Where nothing can be held back, OpenSSL's word is taken for what the server is."""
    monkeypatch.delattr(socket, "TCP_CORK")
    with Server([lambda sock: sock.recv(1), b"220 mx ESMTP\r\n", "eof"]) as server:
        error = error_of(dial(server).start_tls, options(verify=False), implicit=True)
        assert type(error) is TLSModeMismatch
        assert "'...x ESMTP'" in str(error)


@pytest.mark.parametrize("half", [b"\x16", b"\x16\x03\x03\x00\x40\x02"])
def test_half_a_record(dial, half):
    """Half a TLS record is TLS that came to no end."""
    with Server([half, "eof"]) as server:
        error = error_of(dial(server).start_tls, options(timeout=0.2), implicit=True)
        assert type(error) is TLSError
        assert "too long" in str(error)


def test_reset_in_a_handshake(dial):
    """A connection that is reset in the handshake was closed by the server."""

    def reset(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with Server([reset]) as server:
        transport = dial(server)
        error = error_of(transport.start_tls, options(verify=False), implicit=True)
        assert type(error) is TLSError
        assert "closed the connection" in str(error)
        assert transport.first == b""


class Stop(Exception):
    """What a watch raises that has had enough."""


class Impatient:
    """A watch that is told often, and stops the third time."""

    interval = 0.01

    def __init__(self, stop=Stop):
        self.stop = stop
        self.told = []

    def waiting(self, elapsed):
        """Note it, and stop in the end."""
        self.told.append(elapsed)
        if len(self.told) == 3:
            raise self.stop


def test_watch_over_a_handshake(dial):
    """A handshake is waited for in slices."""
    watch = Impatient()
    with Server(["eof"]) as server, pytest.raises(Stop):
        dial(server).start_tls(options(), implicit=True, watch=watch)
    assert watch.told == sorted(watch.told)


@pytest.fixture
def black_hole():
    """A port that takes no connection, and refuses none: its queue is full."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(8):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(listener.getsockname())
    yield listener.getsockname()[1]
    for sock in (*waiting, listener):
        sock.close()


@pytest.mark.parametrize("stop", [Stop(), ServerTimeout("The time is up", phase="connect")])
def test_watch_over_connecting(black_hole, stop):
    """A connection is waited for in slices; what ends it is no address's failure."""
    watch = Impatient(stop)
    with pytest.raises(type(stop)) as raised:
        Transport.connect(options(port=black_hole, addresses=("127.0.0.1",) * 2), watch)
    assert raised.value is stop
    assert len(watch.told) == 3


def test_black_hole(black_hole):
    """Nobody answers: the time is shared among the addresses, and is over in the end."""
    error = error_of(Transport.connect, options(port=black_hole, timeout=0.05))
    assert type(error) is ConnectError
    assert "timed out" in str(error)


def test_again(dial):
    """Another connection goes to the same address."""
    with Server(["line"], ["line"]) as server:
        transport = dial(server)
        other = transport.again(options(port=server.port), 5, NO_WATCH)
        other.send(b"one\r\n")
        transport.send(b"two\r\n")
        assert (other.ip, other.port) == (transport.ip, transport.port)
        assert other.readable(5)
        assert other.receive() == b""
        other.close()


def test_handshake_ends(dial):
    """A hang-up or silence in the handshake is a TLSError within the deadline."""
    with Server([b""], ["eof"]) as server:
        assert type(error_of(dial(server).start_tls, options(), implicit=False)) is TLSError
        error = error_of(dial(server).start_tls, options(timeout=0.05), implicit=False)
        assert "too long" in str(error)


def test_alert(dial, server_context, monkeypatch):
    """An alert behind the handshake, or what is no TLS, is a TLSError; an end is an end."""
    with Server(["tls", "eof"], context=server_context) as server:
        transport = dial(server)
        transport.start_tls(options(verify=False), implicit=True)

        class Broken:
            error = ssl.SSLError(1, "alert")

            def recv(self, size):
                raise self.error

        real = transport._socket
        transport._socket = Broken()
        Broken.error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        assert "set ssl_certfile" in str(error_of(transport.receive))
        Broken.error.reason = "WRONG_VERSION_NUMBER"
        assert "no valid TLS" in str(error_of(transport.receive))
        Broken.error = ssl.SSLEOFError(8, "end")
        assert transport.receive() == b""
        transport._socket = real


def test_handshake_that_wants_to_write(dial, monkeypatch):
    """A handshake waits for whichever direction it needs."""
    with Server(["eof"]) as server:
        transport = dial(server)
        steps = [ssl.SSLWantWriteError(), ssl.SSLWantReadError()]

        class Fake:
            def do_handshake(self):
                if steps:
                    raise steps.pop(0)

            def cipher(self):
                return None

            def version(self):
                return "TLSv1.3"

        waited = []
        real = transport._socket
        monkeypatch.setattr(tls, "wrap", lambda sock, made: Fake())
        monkeypatch.setattr(transport_module, "_cork", lambda sock, on: False)
        monkeypatch.setattr(transport_module, "_peek", lambda sock: b"")
        monkeypatch.setattr(
            transport_module, "_poll", lambda sock, wants, left: waited.append(wants) or wants
        )
        transport.start_tls(options(verify=False), implicit=True)
        assert waited == [select.POLLOUT, select.POLLIN]
        assert transport.tls == "TLSv1.3"
        transport._socket = real


def test_forget_and_close(dial):
    """Forgetting and closing never fail."""
    with Server(["eof"]) as server:
        transport = dial(server)
        transport.forget()
        transport.forget()

        class Stubborn:
            def close(self):
                raise OSError

        transport._socket = Stubborn()
        transport.close()
        transport._socket = socket.socket()
