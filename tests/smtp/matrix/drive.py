"""Plays a cell: a session, or the protocol alone, over the connection in memory."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, NamedTuple

from django_smtpx.smtp import content, trust
from django_smtpx.smtp.errors import SMTPError
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.session import Session
from django_smtpx.smtp.transport import Transport
from tests.smtp.matrix.cells import CHUNK, OPENING
from tests.smtp.matrix.wire import Clock, Peer, Wire
from tests.smtp.talk import CONTENT, LOGIN, envelope, options

if TYPE_CHECKING:
    from tests.smtp.matrix.cells import Cell

NAMES = ("a@example.net", "b@example.net", "c@example.net")
TIMEOUT, EOD_TIMEOUT = 60.0, 600.0


class End(NamedTuple):
    """What is told of a recipient, or of an opening (whose ``outcome`` is its recipients')."""

    outcome: str
    cls: str
    phase: str
    command: str
    code: int | None
    enhanced_code: str
    reply: str
    category: str
    action: str
    temporary: bool
    content_sent: str
    disconnected: bool


class Seen(NamedTuple):
    """What came of a cell: an end for each recipient, or none where nothing was attempted."""

    ends: tuple[End, ...]
    opened: bool
    usable: bool
    seconds: float
    peer: Peer
    round: int


class Stage:
    """A clock and a connection that every part of the client takes for the real ones."""

    def __init__(self, monkeypatch) -> None:
        self.clock = Clock()
        self.wire: Wire | None = None
        for name, module in list(sys.modules.items()):
            if name.startswith("django_smtpx.smtp.") and hasattr(module, "time"):
                monkeypatch.setattr(module, "time", self.clock)
        monkeypatch.setattr(Transport, "connect", lambda *_, **__: self.wire)
        monkeypatch.setattr(content, "BLOCK", 10)

    def open(self, peer: Peer, **changes) -> Session:
        """Open a session with ``peer``."""
        self.wire = Wire(peer, self.clock)
        peer.greet()
        given = {"timeout": TIMEOUT, "eod_timeout": EOD_TIMEOUT, "transcript": "never"}
        first = changes.pop("first", None)
        return Session.open(options(**{**given, **changes}), first=first)


def play(
    cell: Cell,
    stage: Stage,
    *,
    bytewise: bool = False,
    settle: bool = True,
    streamed: bool = False,
    slow: bool = False,
) -> Seen:
    """Play a cell.

    ``bytewise`` cuts all that the server says. Without ``settle`` it is not tried whether the
    session may be used again. ``streamed`` sends the content ten bytes at a time, and with ``slow``
    no answer is there before it is waited for.
    """
    trust.forget()
    peer = _peer(cell)
    peer.bytewise = bytewise
    mail = _envelope(cell, streamed=streamed or cell.phase in CHUNK)
    started = stage.clock.now
    try:
        session = stage.open(peer, first=mail, **_changes(cell))
    except SMTPError as error:
        ends = tuple(_end(result.outcome, result.error) for result in error.results)
        ends += (_end("raised", error),)
        return Seen(ends, False, False, stage.clock.now - started, peer, 0)
    if cell.reused:
        (outcome,) = session.transact([envelope()])
        assert outcome.error is None
    target = peer.round + 1
    assert stage.wire is not None
    stage.wire.slow = slow
    if cell.fault == "stray" and cell.phase == "mail":
        peer.say(b"250 2.0.0 unasked\r\n")
    started = stage.clock.now
    outcomes = list(session.transact([mail]))
    usable = session.usable
    if cell.phase == "quit":
        session.quit()
        assert not session.usable
    ends = tuple(
        _end(result.outcome, result.error, result) for each in outcomes for result in each.results
    )
    seconds = stage.clock.now - started
    if settle:
        _check_reuse(session, peer, usable=usable and cell.phase != "quit")
    return Seen(ends, True, usable, seconds, peer, target)


def _check_reuse(session: Session, peer: Peer, *, usable: bool) -> None:
    """See that a session that may be used again can be, and that one that may not is not."""
    promised = len(peer.promised)
    found = list(session.transact([envelope()]))
    assert len(found) == usable
    assert len(peer.promised) == promised + usable
    assert all(outcome.error is None for outcome in found)
    session.quit()
    assert session._connection.closed


def _peer(cell: Cell) -> Peer:
    keywords = ["SIZE", "ENHANCEDSTATUSCODES", "STARTTLS", "AUTH LOGIN"]
    keywords += ["PIPELINING"] if cell.pipelining else []
    keywords += ["CHUNKING"] if cell.chunked else []
    round_ = 0 if cell.phase in OPENING else 1 + cell.reused
    refuse = tuple(range(1, cell.recipients + 1)) if cell.phase == "rset" else (1,) * cell.refused
    before = _before(cell) if cell.fault == "stray" else ""
    return Peer(
        cell.fault,
        (round_, cell.phase),
        keywords=tuple(keywords),
        refuse=refuse,
        helo_only=cell.phase == "helo",
        before=(round_, before),
        after=int(cell.phase[4:]) if cell.phase.startswith("body") else None,
    )


def _before(cell: Cell) -> str:
    """Return the place whose answer a stray reply, in front of another command, comes behind."""
    phase = cell.phase
    last = f"rcpt{cell.recipients}"
    if phase.startswith("rcpt"):
        return f"rcpt{int(phase[4:]) - 1}" if phase != "rcpt1" else "mail"
    end = "bdat" if cell.chunked else "dot"
    rset = "data"
    if cell.chunked or (not cell.pipelining):
        rset = last
    return {
        "greeting": "connect",
        "ehlo": "greeting",
        "helo": "ehlo",
        "starttls": "ehlo",
        "ehlo_tls": "handshake",
        "auth1": "ehlo_tls",
        "auth2": "auth1",
        "auth3": "auth2",
        "mail": "",
        "data": last,
        "chunk1": last,
        "chunk2": "chunk1",
        "bdat": last,
        "dot": "data",
        "rset": rset,
        "quit": end,
    }[phase]


def _changes(cell: Cell) -> dict[str, object]:
    changes: dict[str, object] = {"pipelining": cell.pipelining, "chunking": cell.chunked}
    if cell.phase in ("starttls", "ehlo_tls", "auth1", "auth2", "auth3"):
        changes |= {"security": Security.STARTTLS, "credential": LOGIN}
    return changes


def _envelope(cell: Cell, *, streamed: bool):
    body = io.BytesIO(CONTENT) if streamed else CONTENT
    return envelope(*NAMES[: cell.recipients], content=body)


def _end(outcome: str, error: SMTPError | None, result=None) -> End:
    if error is None:
        return End(
            outcome, "", result.phase, result.command, result.code, result.enhanced_code,
            result.reply, result.category, result.action, False, "all", False,
        )  # fmt: skip
    if result is not None:
        # The result and its error tell the same.
        for name in ("phase", "command", "code", "enhanced_code", "reply", "category", "action"):
            assert getattr(result, name) == getattr(error, name), name
    return End(
        outcome, type(error).__name__, error.phase, error.command, error.code,
        error.enhanced_code, error.reply, error.category, error.action, error.temporary,
        error.content_sent, error.disconnected,
    )  # fmt: skip
