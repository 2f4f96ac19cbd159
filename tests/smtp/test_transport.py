from __future__ import annotations

import select
import socket
import ssl
import threading

import pytest

from django_smtpx.smtp import tls
from django_smtpx.smtp.errors import (
    ConnectError,
    ResolveError,
    ServerDisconnected,
    TLSError,
    TLSModeMismatch,
)
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.transport import Transport
from tests.smtp.talk import LOGIN, Server, error_of, options


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
        made = options(port=server.port, ca_file=ca_file if verify else None, verify=verify)
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


def test_wrong_name(dial, other_context, ca_file):
    """A certificate for somebody else: both names are in the error."""
    with Server(["tls"], context=other_context) as server:
        transport = dial(server)
        error = error_of(transport.start_tls, options(ca_file=ca_file), implicit=True)
        assert type(error) is TLSError
        assert "expected 127.0.0.1" in str(error)
        assert "other.example" in str(error)
        assert error.category == "tls_error"


def test_unknown_authority(dial, server_context):
    """A certificate that nobody vouches for does not hold."""
    with Server(["tls"], context=server_context) as server:
        error = error_of(dial(server).start_tls, options(), implicit=False)
        assert "does not hold" in str(error)


def test_plain_port(dial):
    """TLS to a port that speaks SMTP: the error says what to set."""
    with Server([b"220 mx ESMTP\r\n", "eof"]) as server:
        error = error_of(dial(server).start_tls, options(verify=False), implicit=True)
        assert type(error) is TLSModeMismatch
        assert "starttls" in str(error)


def test_handshake_ends(dial):
    """A hang-up or silence in the handshake is a TLSError within the deadline."""
    with Server([b""], ["eof"]) as server:
        assert type(error_of(dial(server).start_tls, options(), implicit=False)) is TLSError
        error = error_of(dial(server).start_tls, options(timeout=0.05), implicit=False)
        assert "too long" in str(error)


def test_alert(dial, server_context, monkeypatch):
    """An alert behind the handshake is a TLSError; other TLS trouble is the end."""
    with Server(["tls", "eof"], context=server_context) as server:
        transport = dial(server)
        transport.start_tls(options(verify=False), implicit=True)

        class Broken:
            reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"

            def recv(self, size):
                error = ssl.SSLError(1, "alert")
                error.reason = self.reason
                raise error

        real = transport._socket
        transport._socket = Broken()
        with pytest.raises(TLSError):
            transport.receive()
        Broken.reason = "UNEXPECTED_EOF_WHILE_READING"
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
        monkeypatch.setattr(transport, "_wait", lambda wants, left: waited.append(wants) or wants)
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


def test_contexts(ca_file, client_pem):
    """One context for one set of TLS options; a file that cannot be used is named."""
    one = tls.context_for(options(ca_file=ca_file))
    assert tls.context_for(options(ca_file=ca_file, port=26)) is one
    assert tls.context_for(options(ca_file=ca_file, ssl_certfile=client_pem)) is not one
    assert one.minimum_version is ssl.TLSVersion.TLSv1_2
    assert one.verify_mode is ssl.CERT_REQUIRED
    assert tls.context_for(options(verify=False)).verify_mode is ssl.CERT_NONE
    for changes in ({"ca_file": "/does/not/exist.pem"}, {"ssl_certfile": ca_file}):
        with pytest.raises(TLSError, match=r"\.pem"):
            tls.context_for(options(**changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"security": Security.IMPLICIT}, True),
        ({"security": Security.STARTTLS, "verify": False}, False),
        ({"security": Security.OPPORTUNISTIC}, False),
        ({"security": Security.OPPORTUNISTIC, "credential": LOGIN}, True),
        (
            {"security": Security.OPPORTUNISTIC, "credential": LOGIN, "allow_plaintext_auth": True},
            False,
        ),
    ],
)
def test_verifies(changes, expected):
    """Opportunistic TLS asks for no certificate, unless it protects a credential."""
    assert tls.verifies(options(**changes)) is expected


def test_shown_name_unknown():
    """Where ssl does not let one see the certificate, the error says so."""
    assert tls._shown(object()) == "unknown"
