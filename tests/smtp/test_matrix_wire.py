"""The reply matrix over real sockets, in clear and in TLS: a sample of the same cells."""

from __future__ import annotations

import socket

import pytest

from django_smtpx.smtp import connection as connection_module
from django_smtpx.smtp.errors import ConnectError, ResolveError, TLSError
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.session import Session
from tests.smtp.matrix import cells, model
from tests.smtp.matrix.drive import play
from tests.smtp.matrix.socketed import SocketStage
from tests.smtp.matrix.wire import FLOOD, LONG, TEXTS
from tests.smtp.talk import Server, envelope, error_of, opening, options

MODES = (Security.NONE, Security.STARTTLS, Security.IMPLICIT)
FAULTS = (
    "4yz", "5yz", "421", "wrong", "eof", "rst", "421+eof", "5yz+eof", "garbage", "mixed", "long",
    "endless", "two", "bytes",
)  # fmt: skip
OPENINGS = ("greeting", "ehlo", "starttls", "ehlo_tls", "auth3")


def _sample(mode: Security) -> list[cells.Cell]:
    # What was said before a reset may be lost with it: nothing is said in one go there.
    found = [
        cells.Cell(phase, fault, fault != "rst", phase == "rcpt2", 3, refused=phase == "data")
        for phase in ("mail", "rcpt2", "data", "dot", "rset", "quit")
        for fault in FAULTS
    ]
    found += [
        cells.Cell("bdat", fault, fault != "rst", recipients=3, chunked=True) for fault in FAULTS
    ]
    found += [cells.Cell(phase, "silence") for phase in ("mail", "dot")]
    if mode is Security.NONE:
        found += [cells.Cell(phase, fault) for phase in OPENINGS for fault in FAULTS]
        # The system may see the reset before it tells of the connection.
        found.remove(cells.Cell("greeting", "rst"))
    return found


@pytest.mark.parametrize("mode", MODES)
def test_sample(mode, server_context, monkeypatch):
    """On a real connection every cell is what it is in memory."""
    monkeypatch.setattr(connection_module, "LINGER", 0.01)
    stage = SocketStage(server_context, mode)
    wrong = []
    sample = _sample(mode)
    for cell in sample:
        seen, expected = play(cell, stage), model.expect(cell)
        if (seen.ends, seen.usable) != (expected.ends, expected.usable):
            wrong.append(f"{cell}: {seen.ends}, {seen.usable}, not {expected}")
        assert seen.seconds < 5, cell
    stage.close()
    assert not wrong, f"{len(wrong)} of {len(sample)}\n" + "\n".join(wrong)


def test_size():
    """No cell vanishes."""
    assert [len(_sample(mode)) for mode in MODES] == [169, 100, 100]


SAID = {
    **TEXTS, "5yz+eof": TEXTS["5yz"], "eof": b"", "2yz": b"220 mx.example\r\n", "3yz": b"354 go\r\n",
    "long": LONG, "endless": FLOOD, "two": b"220 a\r\n220 b\r\n",
}  # fmt: skip


@pytest.mark.parametrize("fault", SAID)
@pytest.mark.parametrize("mode", [Security.IMPLICIT, Security.STARTTLS])
def test_handshake(mode, fault):
    """Whatever comes instead of a handshake is an error of TLS, in the phase it belongs to."""
    steps = [SAID[fault]] if fault in ("eof", "5yz+eof") else [SAID[fault], "eof"]
    if mode is Security.STARTTLS:
        steps = [
            *opening(b"250-mx\r\n250 STARTTLS\r\n"), "line", b"220 go\r\n",
            # Not ahead of the client's first bytes: that would be an attack.
            lambda connection: connection.recv(1), *steps,
        ]  # fmt: skip
    with Server(steps) as server:
        opts = options(port=server.port, security=mode, timeout=5, probe=False)
        error = error_of(Session.open, opts, first=envelope())
    implicit = mode is Security.IMPLICIT
    assert isinstance(error, TLSError)
    assert (error.phase, error.command) == (
        ("connect", "") if implicit else ("starttls", "STARTTLS")
    )
    assert (error.category, error.action, error.temporary) == ("tls_error", "next_host", True)
    assert (error.code, error.enhanced_code, error.reply, error.content_sent) == (
        None,
        "",
        "",
        "no",
    )
    assert [result.outcome for result in error.results] == ["deferred"]


@pytest.mark.parametrize("mode", [Security.IMPLICIT, Security.STARTTLS])
def test_silent_handshake(mode):
    """A handshake that is not answered ends with its timeout."""
    steps = ["eof"]
    if mode is Security.STARTTLS:
        steps = [*opening(b"250-mx\r\n250 STARTTLS\r\n"), "line", b"220 go\r\n", "eof"]
    with Server(steps) as server:
        opts = options(port=server.port, security=mode, timeout=0.1, probe=False)
        error = error_of(Session.open, opts)
    assert type(error) is TLSError
    assert (error.category, error.code, error.content_sent) == ("tls_error", None, "no")


def test_connect():
    """Where there is no connection there is no reply: unreachable, or without an address."""
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    error = error_of(Session.open, options(port=port), first=envelope())
    assert type(error) is ConnectError
    assert (error.phase, error.command, error.code, error.category, error.action) == (
        "connect", "", None, "unreachable", "next_host",
    )  # fmt: skip
    error = error_of(Session.open, options(host="a..b"), first=envelope())
    assert type(error) is ResolveError
    assert (error.phase, error.category, error.action) == ("resolve", "dns_error", "next_host")
    assert error.results[0].outcome == "deferred"
