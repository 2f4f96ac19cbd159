"""The reply matrix of a batch: the next group behind each content (DATA), and several contents
unanswered at once (BDAT, ``chunking_window=3``).
"""

from __future__ import annotations

import pytest

from django_smtpx.smtp import trust
from django_smtpx.smtp.client import Client
from django_smtpx.smtp.commands import bdat
from django_smtpx.smtp.transport import Transport
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

BATCH = [
    ((round_, key), fault)
    for round_ in range(1, MAILS + 1)
    for key in ("mail", "rcpt1", "data", "dot")
    for fault in FAULTS
    if fault != "stray"
]
"""The same by DATA; a stray reply is one too many to the command in front."""
TRUE = {True: ("sent", "unknown"), False: ("deferred", "failed", "unknown", "not begun")}
"""The outcomes that are true of a content that was answered with 250, and of any other."""


@pytest.fixture
def stage(monkeypatch):
    """A connection in memory, on a clock of its own."""
    trust.forget()
    return Stage(monkeypatch)


def greeted(peer: Peer, stage: Stage) -> Wire:
    """Return a connection to ``peer``."""
    peer.greet()
    return Wire(peer, stage.clock)


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


def expected_by_data(place, fault) -> list[tuple]:
    """Return the outcomes, in order, of a batch by DATA: one content is unanswered at most."""
    (round_, key), sent = place, ("sent", 250)
    kind = fault.partition("+")[0]
    before, behind = [sent] * (round_ - 1), [sent] * (MAILS - round_)
    if fault == "bytes":
        return [*before, sent, *behind]
    if fault == "two":
        # The reply too many is taken for MAIL's, and DATA's place shows it.
        shifted = [("deferred", 250)]
        return [*before, sent, *(shifted if behind else [])] if key == "dot" else before + shifted
    if round_ > 1 and key == "mail" and kind in ("421", "eof", "rst", "silence", "drip"):
        return before
    if kind in ("4yz", "5yz", "421"):
        verdict = {"4yz": ("deferred", 451), "5yz": ("failed", 554), "421": ("deferred", 421)}[kind]
        return [*before, verdict, *(behind if fault in ("4yz", "5yz") else [])]
    code = None
    if fault == "wrong":
        code = 250 if key == "data" else 354
    return [*before, ("unknown" if key == "dot" else "deferred", code)]


def test_size():
    """No cell vanishes."""
    assert len(BATCH) == 4 * MAILS * 16 == 320
    assert len(CELLS) == (4 * MAILS - 2) * 15 == 270


def test_every_reply_in_a_window(stage):
    """At every reply of the batch: never sent without its 250, never failed where it may be."""
    wrong = []
    for place, fault in CELLS:
        outcomes, found = play(stage, place, fault, KEYWORDS)
        left = bytes(stage.wire.sent).count(bdat(len(CONTENT), last=True) + CONTENT)
        if outcomes != expected(place, fault, left):
            found.append(f"{outcomes}, not {expected(place, fault, left)}")
        wrong += [f"{place}-{fault}: {problem}" for problem in found]
    assert not wrong, f"{len(wrong)} in {len(CELLS)}\n" + "\n".join(wrong)


def test_every_reply_by_data(stage):
    """With the next group behind each content, nothing of one message becomes another's."""
    wrong = []
    for place, fault in BATCH:
        outcomes, found = play(stage, place, fault, KEYWORDS[:1])
        if outcomes != expected_by_data(place, fault):
            found.append(f"{outcomes}, not {expected_by_data(place, fault)}")
        wrong += [f"{place}-{fault}: {problem}" for problem in found]
    assert not wrong, f"{len(wrong)} in {len(BATCH)}\n" + "\n".join(wrong)


def play(stage, place, fault, keywords) -> tuple[list[tuple], list[str]]:
    """Send a batch; return its outcomes, and what cannot be."""
    trust.forget()
    peer = Peer(fault, place_of(place), keywords=keywords)
    session = stage.open(peer, chunking_window=WINDOW)
    started = stage.clock.now
    outcomes = list(session.transact([envelope() for _ in range(MAILS)]))
    told = [(each.results[0].outcome, each.results[0].code) for each in outcomes]
    found = _errors(outcomes, place, fault)
    if place_of(place) not in peer.heard:
        found.append("it was not got to")
    for round_ in range(1, MAILS + 1):
        outcome = told[round_ - 1][0] if round_ <= len(told) else "not begun"
        # What it answered behind the fault was not heard.
        if outcome not in TRUE[round_ in peer.promised]:
            found.append(f"{round_} is {outcome}, and 250 to {peer.promised}")
    if stage.clock.now - started > EOD_TIMEOUT + TIMEOUT:
        found.append(f"it took {stage.clock.now - started} s")
    healthy = fault == "bytes" or (fault in ("4yz", "5yz") and place[1] != "rset")
    if session.usable is not healthy:
        found.append(f"usable is {session.usable}")
    return told, found


def _errors(outcomes, place, fault) -> list[str]:
    """Return what the errors tell that cannot be."""
    found = []
    for round_, outcome in enumerate(outcomes, 1):
        (result,) = outcome.results
        error = result.error
        if error is None:
            continue
        own = fault == "two" and place[1] == "dot"
        if (
            round_ > place[0]
            and not own
            and (error.code, error.reply, error.enhanced_code) != (None, "", "")
        ):
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
        peers = [
            Peer(fault, place_of(place), keywords=KEYWORDS),
            *(Peer(keywords=KEYWORDS) for _ in range(MAILS)),
        ]
        waiting = iter(peers)
        monkeypatch.setattr(
            Transport, "connect", lambda *_, w=waiting, **__: greeted(next(w), stage)
        )
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
