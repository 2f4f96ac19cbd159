"""The reply matrix with several contents unanswered at once (BDAT, ``chunking_window=3``)."""

from __future__ import annotations

import pytest

from django_smtpx.smtp import trust
from django_smtpx.smtp.client import Client
from django_smtpx.smtp.commands import bdat
from tests.smtp.matrix.cells import FAULTS
from tests.smtp.matrix.drive import EOD_TIMEOUT, TIMEOUT, Stage
from tests.smtp.matrix.wire import Peer, Wire
from tests.smtp.talk import CONTENT, envelope

WINDOW, MAILS = 3, 5
KEYWORDS = ("PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES")
PLACES = [
    (round_, key)
    for round_ in range(1, MAILS + 1)
    for key in ("rset", "mail", "rcpt1", "bdat")
    if (round_, key) not in ((1, "rset"), (4, "rset"))
]
"""Every reply of the batch; the RSET in front of a transaction counts as one of its own, and where
everything was answered there is none.
"""
REFUSED = ("4yz", "5yz", "5yz+eof")
NOT_PLAYED = ("two", "stray")
"""A reply too many cannot be told from the next one that is due: BDAT has no 354 that would show
it (RFC 3030 section 2). That is the price of a window, which is why the default is 1."""
CELLS = [(place, fault) for place in PLACES for fault in FAULTS if fault not in NOT_PLAYED]

TRUE = {True: ("sent", "unknown"), False: ("deferred", "failed", "unknown", "not begun")}
"""The outcomes that are true of a content that was answered with 250, and of any other."""


@pytest.fixture
def stage(monkeypatch):
    """A connection in memory, on a clock of its own."""
    trust.forget()
    return Stage(monkeypatch)


def peer_of(place, fault) -> Peer:
    """Return a server with ``fault`` at ``place``."""
    return Peer(fault, place_of(place), keywords=KEYWORDS)


def place_of(place) -> tuple[int, str]:
    """Return what the peer calls a place: it counts by MAIL."""
    round_, key = place
    return round_ - (key == "rset"), key


def expected(place, fault, left: int) -> list[tuple]:
    """Return the outcomes, in order; an envelope behind them was not begun.

    ``left`` is how many contents left as a whole.
    """
    (round_, key), sent = place, ("sent", 250)
    kind = fault.partition("+")[0]
    before = [sent] * (round_ - 1)
    if fault == "bytes":
        return [sent] * MAILS
    if kind == "421":
        # Section 3.8: it takes nothing more; as the first answer on a connection in use it is not
        # even about this one (law 5). What is behind was not begun.
        idle = round_ > 1 and key in ("rset", "mail")
        return before if idle else [*before, ("deferred", 421)]
    lost = [("unknown", None)] * (left - round_)
    if kind in ("4yz", "5yz") and key != "rset":
        verdict = {"4yz": ("deferred", 451), "5yz": ("failed", 554)}[kind]
        if fault == "5yz+eof":
            # The refusal of the only recipient, or of the content, is its own; the hang-up is
            # everybody's behind it.
            return [*before, verdict, *lost]
        return [*before, verdict, *[sent] * (MAILS - round_)]
    code = None
    if kind in ("4yz", "5yz", "wrong"):
        # An answer that RSET does not have, or of the wrong class: RFC 1047 from here on.
        code = {"4yz": 451, "5yz": 554, "wrong": 354}[kind]
    return [*before, ("unknown", code), *lost]


def test_size():
    """No cell vanishes."""
    assert len(CELLS) == (4 * MAILS - 2) * 15 == 270


def test_every_reply(stage):
    """At every reply of the batch: never sent without its 250, never failed where it may be."""
    wrong = []
    for place, fault in CELLS:
        trust.forget()
        peer = peer_of(place, fault)
        session = stage.open(peer, chunking_window=WINDOW)
        started = stage.clock.now
        outcomes = list(session.transact([envelope() for _ in range(MAILS)]))
        found = [(each.results[0].outcome, each.results[0].code) for each in outcomes]
        left = bytes(stage.wire.sent).count(bdat(len(CONTENT), last=True) + CONTENT)
        name = f"{place[0]}-{place[1]}-{fault}"
        if place_of(place) not in peer.heard:
            wrong.append(f"{name}: it was not got to")
        if found != expected(place, fault, left):
            wrong.append(f"{name}: {found}, not {expected(place, fault, left)}")
        for round_ in range(1, MAILS + 1):
            outcome = found[round_ - 1][0] if round_ <= len(found) else "not begun"
            # What it answered behind the fault was not heard.
            if outcome not in TRUE[round_ in peer.promised]:
                wrong.append(f"{name}: {round_} is {outcome}, and 250 to {peer.promised}")
        if left - len(peer.promised) > WINDOW:
            wrong.append(f"{name}: {left} contents left")
        if stage.clock.now - started > EOD_TIMEOUT + TIMEOUT:
            wrong.append(f"{name}: it took {stage.clock.now - started} s")
        healthy = fault == "bytes" or (fault in ("4yz", "5yz") and place[1] != "rset")
        if session.usable is not healthy:
            wrong.append(f"{name}: usable is {session.usable}")
        wrong += [f"{name}: {problem}" for problem in _errors(outcomes, place, fault)]
    assert not wrong, f"{len(wrong)} of {len(CELLS)}\n" + "\n".join(wrong)


def _errors(outcomes, place, fault) -> list[str]:
    """Return what the errors tell that cannot be."""
    found = []
    for round_, outcome in enumerate(outcomes, 1):
        (result,) = outcome.results
        error = result.error
        if error is None:
            continue
        if round_ > place[0] and (error.code, error.reply, error.enhanced_code) != (None, "", ""):
            found.append(f"{round_} has {error.code} of another transaction")
        if result.outcome == "unknown" and error.content_sent != "all":
            found.append(f"{round_} is unknown, and {error.content_sent} of it had left")
        gone = fault in ("eof", "rst", "421+eof", "5yz+eof")
        if error.disconnected is not gone:
            found.append(f"{round_}: disconnected is {error.disconnected}")
    return found


def test_nothing_lost_and_nothing_twice(stage, monkeypatch):
    """A client that goes on, on a fresh connection, gives each envelope one outcome that is true."""
    wrong = []
    for place, fault in CELLS:
        trust.forget()
        peers = [peer_of(place, fault), *(Peer(keywords=KEYWORDS) for _ in range(MAILS))]
        waiting = iter(peers)

        def connect(*_, **__):
            peer = next(waiting)
            peer.greet()
            return Wire(peer, stage.clock)

        monkeypatch.setattr(Wire, "connect", connect)
        monkeypatch.setattr("django_smtpx.smtp.transport.Transport.connect", connect)
        client = Client(
            "192.0.2.1", 25, security="none", helo="me.example", timeout=TIMEOUT,
            eod_timeout=EOD_TIMEOUT, chunking_window=WINDOW, transcript="never",
        )  # fmt: skip
        mails = [envelope(sender=f"{number}@example.com") for number in range(MAILS)]
        outcomes = list(client.send_all(mails))
        client.close()
        name = f"{place[0]}-{place[1]}-{fault}"
        if [each.envelope for each in outcomes] != mails:
            wrong.append(f"{name}: {len(outcomes)} outcomes")
        promised = [peer.senders[round_] for peer in peers for round_ in peer.promised]
        for each in outcomes:
            (result,), sender = each.results, each.envelope.sender
            if promised.count(sender) > 1 or result.outcome not in TRUE[sender in promised]:
                wrong.append(f"{name}: {sender} is {result.outcome}, and 250 to {promised}")
    assert not wrong, "\n".join(wrong)
