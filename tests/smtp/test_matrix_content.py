"""The reply matrix in the content: after every byte of it, in one piece and block by block."""

from __future__ import annotations

import io

import pytest

from tests.smtp.matrix import cells, model
from tests.smtp.matrix.drive import Stage, play
from tests.smtp.matrix.wire import TEXTS, Peer
from tests.smtp.talk import CONTENT, envelope

SIZE = len(CONTENT)
FAULTS = tuple(fault for fault in cells.FAULTS if cells.fits("body", fault))


@pytest.fixture
def stage(monkeypatch):
    """A connection in memory, on a clock of its own."""
    return Stage(monkeypatch)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("chunked", [False, True], ids=["data", "bdat"])
def test_after_every_byte(chunked, streamed, stage):
    """What is not whole was not delivered, wherever it ends; what is said into it is the verdict."""
    # Of the final dot and its line end two bytes may have left as well.
    places = range(SIZE if chunked else SIZE + 3)
    played = 0
    for place in places:
        for fault in FAULTS:
            cell = cells.Cell(f"body{place}", fault, chunked=chunked)
            seen = play(cell, stage, streamed=streamed)
            assert seen.ends == model.expect(cell).ends, cell
            assert seen.usable is False
            assert seen.peer.complete == seen.peer.promised
            assert seen.round not in seen.peer.complete
            played += 1
    assert played == len(places) * len(FAULTS) == (26 if chunked else 29) * 16


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("chunked", [False, True], ids=["data", "bdat"])
def test_accepted_too_early(chunked, streamed, stage, monkeypatch):
    """250 before the end of the content is not believed, and the end is never sent."""
    monkeypatch.setitem(TEXTS, "early", b"250 2.6.0 queued\r\n")
    for place in range(SIZE if chunked else SIZE + 3):
        cell = cells.Cell(f"body{place}", "early", chunked=chunked)
        seen = play(cell, stage, streamed=streamed)
        (end,) = seen.ends
        sent = "partial" if place or chunked else "no"
        assert (end.outcome, end.content_sent, seen.usable) == ("deferred", sent, False)
        assert seen.round not in seen.peer.complete
        # Within a chunk that is not the last, 250 is its answer, if a hasty one.
        hasty = chunked and streamed and place < 20
        assert end.cls == ("ServerTimeout" if hasty else "ProtocolError")


@pytest.mark.parametrize("fault", ["4yz", "5yz", "421", "5yz+eof", "eof", "garbage", "wrong"])
@pytest.mark.parametrize("phase", cells.CHUNK)
def test_refused_chunk_heard_late(phase, fault, stage):
    """A chunk refused with the rest behind it on its way: its own reply is the verdict."""
    cell = cells.Cell(phase, fault, chunked=True)
    seen = play(cell, stage, slow=True)
    (end,) = seen.ends
    (early,) = model.expect(cell).ends
    # A server that has hung up is told by the write that fails: not all of it leaves.
    left = "partial" if "eof" in fault and phase == "chunk1" else "all"
    if left == "all" and fault in ("eof", "garbage", "wrong"):
        early = early._replace(
            outcome="unknown", category="unknown_outcome", action="retry", temporary=True
        )
    assert end == early._replace(content_sent=left)
    assert seen.usable is (fault in ("4yz", "5yz"))


def test_refused_chunk_and_accepted_whole(stage):
    """250 to the last chunk behind a refused one: nobody can say what the server has."""
    peer = Peer("5yz", (1, "chunk1"), keywords=("CHUNKING", "PIPELINING"), forgiving=True)
    session = stage.open(peer)
    stage.wire.slow = True
    (outcome,) = session.transact([envelope(content=io.BytesIO(CONTENT))])
    (result,) = outcome.results
    assert (result.outcome, result.phase, result.command, result.code) == (
        "unknown", "eod", "BDAT", 250,
    )  # fmt: skip
    assert result.error.content_sent == "all"
    assert not session.usable
