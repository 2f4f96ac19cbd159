from __future__ import annotations

import socket
import ssl
import threading

import pytest

from django_smtpx.smtp import probe
from django_smtpx.smtp.errors import ServerDisconnected
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.transport import Transport
from tests.smtp.talk import Server, options


@pytest.fixture
def look(server_context):
    """Connect once, then probe; return the sign."""

    def run(script, *, security=Security.NONE, limit=5.0, needed=lambda: True, context=None, **kw):
        with Server(["eof"], script, context=context or server_context) as server:
            made = options(port=server.port, security=security, **kw)
            transport = Transport.connect(made)
            try:
                return probe.other_mode(made, transport, limit, needed)
            finally:
                transport.close()

    return run


TLS_FOUND = "a second connection was answered in TLS"


def test_tls_is_found(look):
    """Who awaits a greeting learns of a server that shakes hands, whatever its certificate."""
    assert look(["tls", "eof"]) == TLS_FOUND


def test_alert_is_tls(look):
    """A server that speaks no TLS in common with us speaks TLS all the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert look(["tls"], context=context) == TLS_FOUND


@pytest.mark.parametrize(
    "script", [["eof"], [b""], [b"220 mx ESMTP\r\n", "eof"], [b"HTTP/1.1 400 Bad\r\n", "eof"]]
)
def test_no_tls(look, script):
    """Silence, an end and an answer in clear are no TLS."""
    assert look(script, limit=0.2) == ""


GREETED = "a second connection was greeted with "


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([b"220-mx\r\n220 ESMTP\r\n", "eof"], GREETED + "'220-mx'"),
        ([b"22", b"0 mx\r\n", "eof"], GREETED + "'220 mx'"),
        ([b"554 no SMTP here\r\n"], GREETED + "'554 no SMTP here'"),
        ([b"220 mx"], GREETED + "'220 mx'"),
        ([b"* OK IMAP\r\n", "eof"], ""),
        ([b"\x16\x03\x01\r\n"], ""),
        ([b"220", "eof"], ""),
        ([b"x" * 1000, "eof"], ""),
        ([b""], ""),
        (["eof"], ""),
    ],
)
def test_greeting(look, script, expected):
    """Who shakes hands in vain learns of a server that greets in clear."""
    assert look(script, security=Security.IMPLICIT, limit=0.3) == expected


def test_polite(server_context):
    """A server that has greeted the probe is told QUIT."""
    with Server(["eof"], [b"220 mx\r\n", "line"]) as server:
        made = options(port=server.port, security=Security.IMPLICIT)
        transport = Transport.connect(made)
        assert probe.other_mode(made, transport, 5, lambda: True)
        transport.close()
    assert server.heard == [b"QUIT"]


def test_farewell_fails():
    """A server that does not want to hear QUIT does not hear it."""

    class Gone:
        def send(self, data):
            raise ServerDisconnected("gone")

    assert probe._take_leave(Gone()) is None


@pytest.mark.parametrize("security", [Security.NONE, Security.IMPLICIT])
def test_no_longer_needed(look, security):
    """A probe ends as soon as it is not needed any more."""
    assert look(["eof"], security=security, limit=60, needed=lambda: False) == ""


def test_nothing_is_sent():
    """A probe sends no content."""
    assert not probe._Needed(lambda: True).may_send(None)


def test_refused():
    """A server that takes no second connection tells nothing."""
    with Server(["eof"]) as server:
        made = options(port=server.port)
        transport = Transport.connect(made)
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        assert probe.other_mode(made, transport, 5, lambda: True) == ""
        transport.close()


def test_not_allowed(monkeypatch):
    """Port 25 is never probed, nor is who asks for none."""
    assert probe.allowed(options(port=587))
    for changes in ({"port": 25}, {"port": 587, "probe": False}):
        assert not probe.allowed(options(**changes))
        assert probe.other_mode(options(**changes), None, 5, lambda: True) == ""


def test_once(look, monkeypatch):
    """What was found is known for an hour, without another connection."""
    with Server(["eof"], ["eof"], [b"220 mx\r\n", "eof"]) as server:
        made = options(port=server.port, security=Security.IMPLICIT)
        transport = Transport.connect(made)
        assert probe.other_mode(made, transport, 0.1, lambda: True) == ""
        assert probe.other_mode(made, transport, 5, lambda: True) == ""
        assert server.connections == 2
        probe.findings.forget()
        found = probe.other_mode(made, transport, 5, lambda: True)
        assert found == probe.other_mode(made, transport, 5, lambda: True) != ""
        transport.close()
        assert server.connections == 3


def test_findings():
    """Who asks first is to look; the others get what was found, until it is an hour old."""
    now = [0.0]
    findings = probe.Findings(lambda: now[0])
    assert findings.known("mx", 587) is None
    assert findings.known("mx", 587) == ""
    findings.note("mx", 587, "seen")
    assert findings.known("mx", 587) == "seen"
    assert findings.known("mx", 588) is None
    assert findings.known("my", 587) is None
    now[0] = probe.REMEMBERED - 1
    assert findings.known("mx", 587) == "seen"
    now[0] = probe.REMEMBERED
    assert findings.known("mx", 587) is None
    assert findings.known("mx", 587) == ""
    findings.forget()
    assert findings.known("mx", 587) is None


def test_findings_are_bounded(monkeypatch):
    """The oldest finding makes room for the newest."""
    monkeypatch.setattr(probe, "_MOST", 2)
    findings = probe.Findings()
    for host in "abc":
        assert findings.known(host, 1) is None
    assert findings.known("c", 1) == ""
    assert findings.known("a", 1) is None


def test_findings_of_many_threads():
    """Of many that ask at once, one looks."""
    findings = probe.Findings()
    gate = threading.Barrier(8)
    answers = []

    def ask():
        gate.wait(5)
        answers.append(findings.known("mx", 1))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert answers.count(None) == 1
    assert answers.count("") == 7
