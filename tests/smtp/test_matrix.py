"""The reply matrix: everything a server can do wrong, everywhere, and what is known of it then."""

from __future__ import annotations

import pytest

from tests.smtp.matrix import cells, model, wire
from tests.smtp.matrix.drive import Seen, Stage, play
from tests.smtp.talk import envelope, feed, flush, opened

TABLES = {
    "opening": cells.opening(),
    "data": cells.transaction(chunked=False),
    "bdat": cells.transaction(chunked=True),
}
SIZES = {"opening": 544, "data": 2580, "bdat": 2400}
ANSWERED_LATE = ("dot", "bdat", "chunk1", "chunk2")
"""The places at which the whole content may have left before something goes wrong."""

UNCUT = ("long", "endless", "drip", "two", "stray")


@pytest.fixture
def stage(monkeypatch):
    """A connection in memory, on a clock of its own."""
    return Stage(monkeypatch)


@pytest.mark.parametrize("name", TABLES)
def test_size(name):
    """No cell vanishes: every phase has every fault that can happen there, on every axis."""
    table = TABLES[name]
    assert len(table) == SIZES[name]
    assert len({str(cell) for cell in table}) == len(table)
    for phase in {cell.phase for cell in table}:
        here = {cell.fault for cell in table if cell.phase == phase}
        assert here == {fault for fault in cells.FAULTS if cells.fits(phase, fault)}
    for cell in table:
        assert cell._replace(pipelining=not cell.pipelining) in table
        assert name == "opening" or cell._replace(reused=not cell.reused) in table


@pytest.mark.parametrize("name", TABLES)
def test_table(name, stage):
    """In every cell the errors, the results and the session are what the laws say."""
    wrong = []
    seen: dict[cells.Cell, Seen] = {}
    for cell in TABLES[name]:
        seen[cell] = play(cell, stage)
        wrong += _told(cell, _compare(model.expect(cell), seen[cell]))
        if name != "opening":
            wrong += _told(cell, _untrue(cell, seen[cell]))
    for cell, have in seen.items():
        other = seen[cell._replace(pipelining=not cell.pipelining)]
        if _verdicts(have) != _verdicts(other):
            wrong.append(f"{cell}: {_verdicts(have)}, not {_verdicts(other)}")
    assert not wrong, f"{len(wrong)} of {len(TABLES[name])}\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", TABLES)
def test_byte_by_byte(name, stage):
    """However the replies are cut, every cell is the same.

    All but those of a reply too many, and of a reply into the content: what has not come yet
    cannot be seen. How long the end of the connection is waited for is left out, too.
    """
    wrong = []
    for cell in TABLES[name]:
        late = cell.phase.startswith(("body", "chunk"))
        if cell.pipelining == cell.reused or cell.fault in UNCUT or late:
            continue
        seen = play(cell, stage, bytewise=True)
        expected = model.expect(cell)
        wrong += _told(cell, _compare(expected, seen._replace(seconds=expected.seconds)))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("refused", ["4.4.2", "4.4.2+eof"])
def test_goodbye_by_its_enhanced_code(pipelining, refused, stage):
    """4.4.2 as the first answer on a connection in use is an idle drop; on a fresh one a refusal."""
    for reused in (False, True):
        cell = cells.Cell("mail", refused, pipelining, reused)
        seen = play(cell, stage, settle=False)
        assert seen.seconds == pytest.approx(0.2 if reused and refused == "4.4.2" else 0, abs=1e-3)
        if reused:
            assert seen.ends == ()
        else:
            (end,) = seen.ends
            assert (end.cls, end.outcome, end.code, end.enhanced_code, end.category) == (
                "SenderRefused", "deferred", 451, "4.4.2", "disconnected",
            )  # fmt: skip


@pytest.mark.parametrize("pipelining", [True, False])
def test_refusal_moved_to_data(pipelining, stage):
    """A reply too many moves the last recipient's refusal to DATA: nobody is suppressed by it."""
    keywords = ("PIPELINING",) * pipelining
    peer = wire.Peer("two", (1, "mail"), keywords=("SIZE", *keywords), refuse=(3,))
    session = stage.open(peer)
    (outcome,) = session.transact([envelope("a@example.net", "b@example.net", "c@example.net")])
    told = {(each.outcome, each.category, each.action) for each in outcome.results}
    assert told == {("deferred", "protocol_error", "retry")}
    assert not session.usable
    assert not peer.complete


NOOP = {
    "4yz": None,
    "5yz": None,
    "bytes": None,
    "421": ("ServiceUnavailable", 421, "server_busy"),
    "wrong": ("ProtocolError", 354, "protocol_error"),
    "eof": ("ServerDisconnected", None, "disconnected"),
    "silence": ("ServerTimeout", None, "timeout"),
    "garbage": ("ProtocolError", None, "protocol_error"),
    "mixed": ("ProtocolError", None, "protocol_error"),
    "long": ("ProtocolError", None, "protocol_error"),
    "endless": ("ProtocolError", None, "protocol_error"),
    "two": ("ProtocolError", None, "protocol_error"),
    "stray": ("ProtocolError", 250, "protocol_error"),
}
"""What ends the dialogue at NOOP, which no session says: whatever its answer, it changes nothing."""


@pytest.mark.parametrize("split", ["whole", "bytes"])
@pytest.mark.parametrize("fault", NOOP)
def test_noop(fault, split):
    """NOOP may be refused (RFC 5321 section 4.1.1.9); what is no answer ends the dialogue."""
    protocol = opened()
    protocol.noop()
    if fault == "stray":
        protocol.receive_data(wire.EXTRA)
    flush(protocol)
    if fault == "eof":
        protocol.receive_eof()
    elif fault == "silence":
        protocol.receive_timeout()
    else:
        fine = b"250 2.0.0 yes\r\n"
        said = {**wire.TEXTS, "wrong": b"354 go on\r\n", "two": fine + wire.EXTRA}
        said |= {"bytes": fine, "stray": fine, "endless": wire.FLOOD * 3}
        feed(protocol, said[fault], split if fault not in UNCUT else "whole")
    failure = protocol.failure
    assert protocol.idle is (NOOP[fault] is None)
    if NOOP[fault] is not None:
        assert (type(failure).__name__, failure.code, failure.category) == NOOP[fault]
        assert (failure.phase, failure.action, failure.content_sent) == ("mail", "retry", "no")


def _compare(expected: model.Expected, seen: Seen) -> list[str]:
    """Return in what a cell differs from what the laws say."""
    found = [
        f"{name} is {getattr(seen, name)}, not {getattr(expected, name)}"
        for name in ("opened", "usable", "seconds")
        if getattr(seen, name) != pytest.approx(getattr(expected, name), abs=1e-3)
    ]
    if len(seen.ends) != len(expected.ends):
        return [*found, f"{len(seen.ends)} ends, not {len(expected.ends)}: {seen.ends}"]
    for index, (have, want) in enumerate(zip(seen.ends, expected.ends, strict=True)):
        found += [
            f"{index}.{name} is {getattr(have, name)!r}, not {getattr(want, name)!r}"
            for name in have._fields
            if getattr(have, name) != getattr(want, name)
        ]
    return found


def _untrue(cell: cells.Cell, seen: Seen) -> list[str]:
    """Return what is told otherwise than it is: the server knows what it has taken."""
    peer, found = seen.peer, []
    whole, promised = seen.round in peer.complete, seen.round in peer.promised
    accepted = peer.accepted.get(seen.round, set())
    for index, end in enumerate(seen.ends, 1):
        if (end.outcome == "sent") != (promised and index in accepted):
            found.append(f"{index} is {end.outcome}, and 250 was {'' if promised else 'not '}said")
        if end.outcome == "unknown" and cell.phase not in ANSWERED_LATE:
            found.append(f"{index} is unknown, and its content had not left")
        refused = end.code is not None and end.code >= 400 and end.content_sent == "all"
        if end.outcome in ("failed", "deferred") and index in accepted and whole and not refused:
            found.append(f"{index} is {end.outcome}, and the server has all of it")
    if whole and cell.phase not in (*ANSWERED_LATE, "quit") and not promised:
        found.append("the end of the content left behind a failure")
    return found


def _verdicts(seen: Seen) -> list[tuple]:
    return [(end.outcome, end.category, end.action, end.code) for end in seen.ends]


def _told(cell: cells.Cell, found: list[str]) -> list[str]:
    return [f"{cell}: {'; '.join(found)}"] if found else []
