from __future__ import annotations

import pytest

from django_smtpx.smtp.errors import (
    ProtocolError,
    ReplyError,
    ServerDisconnected,
    ServerTimeout,
    ServiceUnavailable,
    TLSError,
    TLSModeMismatch,
)
from django_smtpx.smtp.events import Ended, HandshakeWanted, Opened
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.protocol import Protocol
from django_smtpx.smtp.states import State
from tests.smtp.talk import LOGIN, events, feed, flush, options

SPLITS = pytest.mark.parametrize("split", ["whole", "bytes"])
STARTTLS = b"250-mx\r\n250 STARTTLS\r\n"


def begun(**changes) -> Protocol:
    """Return a protocol that has said EHLO."""
    protocol = Protocol(options(**changes))
    assert feed(protocol, b"220 mx\r\n") == b"EHLO me.example\r\n"
    return protocol


def failure(protocol, cls):
    """Return what the protocol ended with, and check its class and event."""
    assert type(protocol.failure) is cls
    assert events(protocol) == [Ended(protocol.failure)]
    assert protocol.failure.content_sent == "no"
    return protocol.failure


@SPLITS
def test_plain(split):
    """Greeting, EHLO, ready."""
    protocol = Protocol(options())
    assert feed(protocol, b"220-mx\r\n220 hello\r\n", split) == b"EHLO me.example\r\n"
    assert feed(protocol, b"250-mx\r\n250 PIPELINING\r\n", split) == b""
    assert events(protocol) == [Opened()]
    assert protocol.capabilities.pipelining
    assert protocol.idle
    assert protocol.state is State.READY


@SPLITS
@pytest.mark.parametrize(
    ("reply", "cls", "code", "category", "action"),
    [
        (b"554 go away\r\n", ReplyError, 554, "other_permanent", "next_host"),
        (b"450 later\r\n", ReplyError, 450, "server_busy", "next_host"),
        (b"421 busy\r\n", ServiceUnavailable, 421, "server_busy", "next_host"),
        (b"354 what\r\n", ProtocolError, 354, "protocol_error", "next_host"),
        (b"hello\r\n", ProtocolError, None, "protocol_error", "next_host"),
        (b"220-a\r\n250 b\r\n", ProtocolError, None, "protocol_error", "next_host"),
    ],
)
def test_greeting_refused(reply, cls, code, category, action, split):
    """A greeting other than 2yz ends the session, with its own code."""
    protocol = Protocol(options())
    feed(protocol, reply, split)
    error = failure(protocol, cls)
    assert (error.phase, error.command, error.code) == ("greeting", "", code)
    assert (error.category, error.action) == (category, action)
    assert protocol.can_quit is (cls is ReplyError)


@pytest.mark.parametrize("code", [500, 501, 502, 504])
def test_helo(code):
    """HELO is for servers that do not know EHLO."""
    protocol = begun()
    assert feed(protocol, b"%d what\r\n" % code) == b"HELO me.example\r\n"
    feed(protocol, b"250 mx\r\n")
    assert events(protocol) == [Opened()]
    assert not protocol.capabilities.keywords


def test_helo_refused():
    """A refused HELO is an error of the phase ehlo."""
    protocol = begun()
    feed(protocol, b"502 what\r\n")
    feed(protocol, b"550 no\r\n")
    error = failure(protocol, ReplyError)
    assert (error.phase, error.command, error.code) == ("ehlo", "HELO", 550)


@pytest.mark.parametrize(
    "changes",
    [{"credential": LOGIN}, {"security": Security.STARTTLS}, {"security": Security.IMPLICIT}],
)
def test_no_helo_where_more_is_needed(changes):
    """HELO can offer neither TLS nor a login."""
    protocol = begun(**changes)
    assert feed(protocol, b"502 what\r\n") == b""
    assert failure(protocol, ReplyError).code == 502


@pytest.mark.parametrize("reply", [b"550 no\r\n", b"450 no\r\n"])
def test_ehlo_refused(reply):
    """Any other refusal of EHLO ends the session; QUIT may still be said."""
    protocol = begun()
    assert feed(protocol, reply) == b""
    assert failure(protocol, ReplyError).command == "EHLO"
    assert protocol.can_quit


@SPLITS
def test_starttls(split):
    """Behind the handshake EHLO is said again, and what was known is forgotten."""
    protocol = begun(security=Security.STARTTLS)
    assert feed(protocol, b"250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n", split) == b"STARTTLS\r\n"
    assert feed(protocol, b"220 go\r\n", split) == b""
    assert events(protocol) == [HandshakeWanted()]
    protocol.tls_started()
    assert not protocol.capabilities.auth
    assert flush(protocol) == b"EHLO me.example\r\n"
    assert feed(protocol, STARTTLS, split) == b""
    assert events(protocol) == [Opened()]


@pytest.mark.parametrize("behind", [b"250 injected\r\n", b"x", b"\r\n"])
def test_starttls_injection(behind):
    """Anything in clear behind the 220 is an attack."""
    protocol = begun(security=Security.STARTTLS)
    feed(protocol, STARTTLS)
    feed(protocol, b"220 go\r\n" + behind)
    error = failure(protocol, ProtocolError)
    assert (error.phase, error.command) == ("starttls", "STARTTLS")
    assert not protocol.can_quit


def test_starttls_not_offered():
    """Required TLS that is not offered is an error; opportunistic TLS does without."""
    protocol = begun(security=Security.STARTTLS)
    feed(protocol, b"250 mx\r\n")
    error = failure(protocol, TLSError)
    assert (error.phase, error.category, error.code) == ("starttls", "tls_error", None)
    protocol = begun(security=Security.OPPORTUNISTIC)
    feed(protocol, b"250 mx\r\n")
    assert events(protocol) == [Opened()]


def test_starttls_refused():
    """A refusal keeps its code, and another connection is to do without."""
    protocol = begun(security=Security.OPPORTUNISTIC)
    assert feed(protocol, STARTTLS) == b"STARTTLS\r\n"
    feed(protocol, b"454 not now\r\n")
    error = failure(protocol, ReplyError)
    assert (error.phase, error.code, error.action) == ("starttls", 454, "reconnect")
    assert protocol.can_quit


@pytest.mark.parametrize(
    ("said", "phase", "command"),
    [
        ([], "greeting", ""),
        ([b"220 mx\r\n"], "ehlo", "EHLO"),
        ([b"220 mx\r\n", STARTTLS], "starttls", "STARTTLS"),
    ],
)
@pytest.mark.parametrize("half", [b"", b"250-"])
def test_lost(said, phase, command, half):
    """A connection that ends, or a reply that does not come, is about the command it is owed to."""
    for end, cls in (("receive_eof", ServerDisconnected), ("receive_timeout", ServerTimeout)):
        protocol = Protocol(options(security=Security.OPPORTUNISTIC))
        for piece in [*said, half]:
            feed(protocol, piece)
        getattr(protocol, end)()
        error = failure(protocol, cls)
        assert (error.phase, error.command, error.code) == (phase, command, None)
        assert error.disconnected is (cls is ServerDisconnected)


def test_silence_is_a_timeout():
    """Silence alone, on whatever port, says nothing about the mode."""
    protocol = Protocol(options(port=465))
    protocol.receive_timeout()
    assert type(failure(protocol, ServerTimeout)) is ServerTimeout


@pytest.mark.parametrize("end", ["receive_eof", "receive_timeout"])
def test_half_a_strange_greeting(end):
    """What came instead of a greeting is shown, if it never became a line."""
    protocol = Protocol(options())
    feed(protocol, b"* OK IMAP", "bytes")
    getattr(protocol, end)()
    assert "'* OK IMAP'" in str(failure(protocol, ProtocolError))


@SPLITS
def test_tls_alert_instead_of_greeting(split):
    """A TLS record where the greeting should be means TLS, too."""
    protocol = Protocol(options())
    feed(protocol, b"\x15\x03\x01\x00\x02\x02\x46", split)
    failure(protocol, TLSModeMismatch)
    protocol = Protocol(options())
    feed(protocol, b"\x15\x03\x01\n", split)
    failure(protocol, TLSModeMismatch)
