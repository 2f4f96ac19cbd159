from __future__ import annotations

import socket
import threading

import pytest

from django_smtpx.smtp import patience, probe
from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.errors import (
    ProtocolError,
    ServerDisconnected,
    ServerTimeout,
    TLSError,
    TLSModeMismatch,
)
from django_smtpx.smtp.options import Security
from tests.smtp.talk import PLAIN_HELLO, Server, envelope, error_of, opening, options

GREETS = [b"220 mx ESMTP\r\n", "eof"]
DEFAULTS = (patience.PROBE_AFTER, probe.PROBE_TIMEOUT)
PLAIN = [Security.NONE, Security.STARTTLS, Security.OPPORTUNISTIC]


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """Ask soon what a silence means."""
    monkeypatch.setattr(patience, "PROBE_AFTER", 0.05)
    monkeypatch.setattr(patience, "ASK_AGAIN", 0.05)
    monkeypatch.setattr(probe, "PROBE_TIMEOUT", 5.0)


def failed(server, **changes):
    """Return the error of an opening."""
    made = options(**({"port": server.port, "verify": False, "timeout": 20} | changes))
    return error_of(Connection.open, made, first=envelope())


def test_what_is_said_by_default():
    """What silence means is said within five seconds, the network's own time included."""
    assert sum(DEFAULTS) <= 4.5


connected = threading.Event()


@pytest.fixture(autouse=True)
def _tell_when_connected(monkeypatch):
    """Let a server wait until the client has its connection."""
    real = patience.Patience.connected
    connected.clear()

    def tell(self, *args):
        real(self, *args)
        connected.set()

    monkeypatch.setattr(patience.Patience, "connected", tell)


def reset(connection):
    """Make the close that follows a reset."""
    connected.wait(10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


# -- the wrong mode -----


@pytest.mark.parametrize("security", PLAIN)
@pytest.mark.parametrize("first", [["tls"], [b""], [reset]])
def test_awaiting_a_greeting_from_tls(server_context, security, first):
    """A server that says nothing, or hangs up, and answers a second connection in TLS."""
    with Server(first, ["tls", "eof"], context=server_context) as server:
        error = failed(server, security=security)
    assert type(error) is TLSModeMismatch
    assert (error.phase, error.command, error.category) == ("greeting", "", "tls_error")
    assert (error.host, error.ip, error.port) == ("127.0.0.1", "127.0.0.1", server.port)
    assert str(error).startswith(f"Port {server.port} of 127.0.0.1 speaks TLS from the first byte")
    assert "set security='implicit' (use_ssl=True)" in str(error)
    assert ("on port 587" in str(error)) is (security is Security.STARTTLS)
    assert error.disconnected is (first != ["tls"])
    assert "set security='implicit'" in error.transcript
    (result,) = error.results
    assert (result.outcome, result.category) == ("deferred", "tls_error")


@pytest.mark.parametrize("first", [["eof"], [b""], [reset]])
def test_shaking_hands_with_a_slow_greeter(first):
    """A server that answers a handshake with nothing, and greets a second connection."""
    with Server(first, [b"220 mx ESMTP\r\n", "line"]) as server:
        error = failed(server, security=Security.IMPLICIT)
    assert type(error) is TLSModeMismatch
    assert (error.phase, error.command, error.category) == ("connect", "", "tls_error")
    assert "does not speak TLS from the first byte (a second connection was greeted with" in str(
        error
    )
    assert "set security='starttls' (use_tls=True)" in str(error)
    assert "set security='starttls'" in error.transcript
    assert server.heard[-1] in (b"QUIT", None)


def test_shaking_hands_with_a_greeter():
    """A greeting needs no second connection."""
    with Server(GREETS, ["eof"]) as server:
        error = failed(server, security=Security.IMPLICIT)
        assert type(error) is TLSModeMismatch
        assert server.connections == 1


def test_known_ports(monkeypatch):
    """The usual port of the other mode is named."""
    from django_smtpx.smtp import mode

    assert "port 465" in str(mode.speaks_plain(options(port=587), "x"))
    assert "port 465" not in str(mode.speaks_plain(options(port=2525), "x"))
    starttls = {"security": Security.STARTTLS}
    assert "port 587" in str(mode.speaks_tls(options(port=465, **starttls), "x"))
    assert "port 587" not in str(mode.speaks_tls(options(port=587, **starttls), "x"))


def test_the_second_time(server_context):
    """Within an hour no other probe is made, and the error is the same."""
    with Server(["tls"], ["tls", "eof"], ["tls"], context=server_context) as server:
        one, two = failed(server), failed(server)
        assert type(one) is type(two) is TLSModeMismatch
        assert str(one) == str(two)
        assert server.connections == 3


def test_found_out_by_another_thread(server_context):
    """Who waits while another probe is under way hears of its finding."""
    with Server(["tls"], context=server_context) as server:
        assert probe.findings.known("127.0.0.1", server.port) is None
        found = threading.Timer(
            0.1, probe.findings.note, ("127.0.0.1", server.port, "so it was found")
        )
        found.start()
        error = failed(server)
        assert type(error) is TLSModeMismatch
        assert "(so it was found)" in str(error)
        assert server.connections == 1
        found.join()


# -- and what is none -----


def ring(event):
    """Return a step that sets the event, and goes on."""
    return lambda connection: event.set()


@pytest.mark.parametrize("second", [[], ["eof"], GREETS, [b"HTTP/1.1 400 Bad\r\n"]])
def test_slow_greeting(second):
    """A server that greets late is not mistaken for another mode."""
    probed = threading.Event()
    with Server([probed, *opening(PLAIN_HELLO), "eof"], [ring(probed), *second]) as server:
        connection = Connection.open(options(port=server.port, timeout=20))
        assert connection.protocol.idle
        connection.abort()
        assert server.connections == 2


@pytest.mark.parametrize("second", [[], ["eof"], ["tls"]])
def test_slow_handshake(server_context, second):
    """A TLS server that answers late is not mistaken for another mode."""
    probed = threading.Event()
    first = [probed, "tls", *opening(PLAIN_HELLO), "eof"]
    with Server(first, [ring(probed), *second], context=server_context) as server:
        made = options(port=server.port, timeout=20, verify=False, security=Security.IMPLICIT)
        connection = Connection.open(made)
        assert connection.facts["tls"].startswith("TLSv1.3")
        connection.abort()
        assert server.connections == 2


def test_slow_greeting_behind_tls(server_context, monkeypatch):
    """Silence behind a handshake is no question of the mode."""
    with Server(["tls", "eof"], context=server_context) as server:
        error = failed(server, security=Security.IMPLICIT, timeout=0.3)
        assert type(error) is ServerTimeout
        assert error.phase == "greeting"
        assert server.connections == 1


@pytest.mark.parametrize(
    ("security", "cls", "phase"),
    [(Security.NONE, ServerTimeout, "greeting"), (Security.IMPLICIT, TLSError, "connect")],
)
def test_silence_for_ever(security, cls, phase):
    """A server that says nothing on either connection is a timeout, in time."""
    with Server(["eof"], ["eof"]) as server:
        error = failed(server, security=security, timeout=0.3)
        assert type(error) is cls
        assert error.phase == phase
        assert server.connections == 2


@pytest.mark.parametrize(
    ("security", "cls"), [(Security.NONE, ServerDisconnected), (Security.IMPLICIT, TLSError)]
)
def test_hanging_up_for_ever(security, cls):
    """A server that hangs up on either connection has hung up."""
    with Server([b""], [b""]) as server:
        error = failed(server, security=security)
        assert type(error) is cls
        assert "closed the connection" in str(error)


@pytest.mark.parametrize("security", [Security.NONE, Security.IMPLICIT])
@pytest.mark.parametrize("first", [["eof"], [b""]])
def test_no_probe(monkeypatch, security, first):
    """Where probing is not allowed, silence and an end are what they are."""
    with Server(first) as server:
        monkeypatch.setattr(probe, "SMTP_PORT", server.port)
        error = failed(server, security=security, timeout=0.2)
        assert not isinstance(error, TLSModeMismatch)
        assert server.connections == 1


@pytest.mark.parametrize("said", [b"HTTP/1.1 408 Timeout\r\n\r\n", b"* OK IMAP\r\n", b"\0\xff\r\n"])
def test_another_protocol(said):
    """What speaks another protocol is shown, in either mode, and not probed."""
    with Server([said, "eof"], [lambda sock: sock.recv(1), said, "eof"]) as server:
        error = failed(server)
        assert type(error) is ProtocolError
        assert repr(said.partition(b"\r")[0])[2:-1] in str(error)
        error = failed(server, security=Security.IMPLICIT)
        assert type(error) is TLSError
        assert repr(said.partition(b"\r")[0])[2:-1] in str(error)
        assert server.connections == 2


# -- patience -----


def test_drip(monkeypatch):
    """A server that answers each step in time, but not all of them, ends."""
    monkeypatch.setattr(patience, "OPENING_TIMEOUTS", 0.01)
    with Server([b"220 mx\r\n", "line", b"250-", "eof"]) as server:
        error = failed(server)
    assert type(error) is ServerTimeout
    assert (error.phase, error.command, error.category) == ("ehlo", "EHLO", "timeout")
    assert "Opening the session took longer than 0.2 s in all" in str(error)


def test_drip_in_a_handshake(monkeypatch):
    """A handshake has no more time than the whole."""
    monkeypatch.setattr(patience, "OPENING_TIMEOUTS", 0.01)
    with Server([*opening(b"250-mx\r\n250 STARTTLS\r\n"), "line", b"220 go\r\n", "eof"]) as server:
        error = failed(server, security=Security.STARTTLS)
    assert type(error) is TLSError
    assert (error.phase, error.command) == ("starttls", "STARTTLS")
    assert "too long" in str(error)


def test_spoken_meanwhile(monkeypatch):
    """A server that greets while it is found out that it cannot is believed."""
    found = threading.Event()

    def other_mode(options, transport, limit, needed):
        found.set()
        assert transport.readable(5)
        return "so it was found"

    monkeypatch.setattr(probe, "other_mode", other_mode)
    with Server([found, *opening(PLAIN_HELLO), "eof"]) as server:
        Connection.open(options(port=server.port, timeout=20)).abort()


def test_watch_while_connecting():
    """Before there is a connection, only the caller has something to do."""
    watch = Watcher(threading.Event())
    ours = patience.Patience(options(timeout=0.001), watch)
    assert 0 < ours.interval <= 0.02
    watch.interval = 0.0
    assert ours.interval == 0.0
    ours.waiting(0.1)
    assert watch.told == [0.1]


class Watcher:
    """A watch that counts, and rings a bell."""

    interval = 0.02

    def __init__(self, bell, after=3):
        self.told = []
        self.bell = bell
        self.after = after

    def may_send(self, envelope):
        """Everything may."""
        return True

    def waiting(self, elapsed):
        """Note it."""
        self.told.append(elapsed)
        if len(self.told) >= self.after:
            self.bell.set()


@pytest.mark.parametrize("second", [["eof"], []])
def test_watch(second):
    """The caller is told at his own interval, also while a probe is under way."""
    bell = threading.Event()
    with Server([bell, *opening(PLAIN_HELLO), "eof"], second) as server:
        watch = Watcher(bell, after=10)
        connection = Connection.open(options(port=server.port, timeout=20), watch)
        assert len(watch.told) >= 10
        assert connection.pump.watch is watch
        connection.abort()


def test_watch_of_an_opening():
    """No content leaves while a session is opened."""
    assert not patience.Patience(options(), Watcher(threading.Event())).may_send(envelope())


def test_interrupted(monkeypatch):
    """What a watch raises leaves no connection behind."""

    class Stop(Exception):
        pass

    class Stopping(Watcher):
        def waiting(self, elapsed):
            raise Stop

    made = []
    real = Connection.__init__

    def init(self, *args):
        made.append(self)
        real(self, *args)

    monkeypatch.setattr(Connection, "__init__", init)
    with Server(["eof"]) as server, pytest.raises(Stop):
        Connection.open(options(port=server.port), Stopping(threading.Event()))
    (connection,) = made
    assert connection.closed
