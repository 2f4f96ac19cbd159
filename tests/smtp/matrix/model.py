"""What the laws say of each cell: written from them, and knowing nothing of the code.

The sections are those of RFC 5321 where no other is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.smtp.matrix.cells import CHUNK, OPENING
from tests.smtp.matrix.drive import EOD_TIMEOUT, TIMEOUT, End

if TYPE_CHECKING:
    from tests.smtp.matrix.cells import Cell

CLEANUP = 5.0
"""Seconds that RSET may cost, whatever becomes of it."""
GOODBYE = 2.0
"""Seconds that QUIT may cost."""
GRACE = 0.2
"""Seconds that a server which ended the session has for hanging up itself."""


class Place(NamedTuple):
    """A command: the phase of its failure, its name there, and the class of its refusal."""

    phase: str
    command: str
    refused: str
    scope: str
    good: int = 2


PLACES = {
    "greeting": Place("greeting", "", "ReplyError", "host"),
    "ehlo": Place("ehlo", "EHLO", "ReplyError", "host"),
    "helo": Place("ehlo", "HELO", "ReplyError", "host"),
    "starttls": Place("starttls", "STARTTLS", "ReplyError", "tls"),
    "ehlo_tls": Place("ehlo", "EHLO", "ReplyError", "host"),
    "auth1": Place("auth", "AUTH", "AuthenticationError", "login", 3),
    "auth2": Place("auth", "AUTH", "AuthenticationError", "login", 3),
    "auth3": Place("auth", "AUTH", "AuthenticationError", "login"),
    "mail": Place("mail", "MAIL", "SenderRefused", "message"),
    "rcpt": Place("rcpt", "RCPT", "RecipientsRefused", "message"),
    "data": Place("data", "DATA", "DataRefused", "message", 3),
    # The verb that carries the content is what fails at its end.
    "dot": Place("eod", "DATA", "DataRefused", "message"),
    "bdat": Place("eod", "BDAT", "DataRefused", "message"),
}

# Scope decides what a refusal touches: category and action, and whether trying again can help.
REFUSALS = {
    ("host", "4yz"): ("server_busy", "next_host", True),
    ("host", "5yz"): ("other_permanent", "next_host", True),
    ("host", "421"): ("server_busy", "next_host", True),
    ("tls", "4yz"): ("tls_error", "reconnect", True),
    ("tls", "5yz"): ("tls_error", "reconnect", True),
    ("tls", "421"): ("server_busy", "pause", True),
    ("login", "4yz"): ("auth_failed", "pause", True),
    ("login", "5yz"): ("auth_failed", "hold", False),
    ("login", "421"): ("server_busy", "pause", True),
    ("message", "4yz"): ("other_temporary", "retry", True),
    ("message", "5yz"): ("other_permanent", "fail", False),
    ("message", "421"): ("server_busy", "retry", True),
}
STRANGE = ("protocol_error", "retry", True)
NOTHING = Place("mail", "", "", "message")
"""Where no command is under way, in an open session."""
REPLIES = {
    "4yz": (451, "4.0.0", "not now"),
    "5yz": (554, "5.0.0", "never"),
    "421": (421, "4.0.0", "closing"),
}
NO_REPLY = (None, "", "")
UNKNOWN = ("unknown_outcome", "retry", True)
WRONG = {2: (354, "", "go on"), 3: (250, "2.0.0", "well")}
UNASKED = (250, "2.0.0", "unasked")
LOST = {
    "eof": ("ServerDisconnected", "disconnected"),
    "rst": ("ServerDisconnected", "disconnected"),
    "silence": ("ServerTimeout", "timeout"),
    "drip": ("ServerTimeout", "timeout"),
    "garbage": ("ProtocolError", "protocol_error"),
    "mixed": ("ProtocolError", "protocol_error"),
    "long": ("ProtocolError", "protocol_error"),
    "endless": ("ProtocolError", "protocol_error"),
}
REFUSING = ("4yz", "5yz", "5yz+eof")
GONE = ("eof", "rst", "421+eof", "5yz+eof")
"""Faults with which the server has hung up: that is known at the end of the clean-up."""


class Expected(NamedTuple):
    """An end for each recipient: none where nothing was attempted; behind them what was raised."""

    ends: tuple[End, ...]
    opened: bool
    usable: bool
    seconds: float


def expect(cell: Cell) -> Expected:
    """Return what has to come of a cell."""
    if cell.phase in OPENING:
        return _opening(cell)
    if cell.fault == "bytes" and not cell.phase.startswith("body"):
        # However a reply is cut, it is the same reply.
        return _well(cell)
    if cell.phase in ("rset", "quit"):
        return _cleaned_up(cell)
    if cell.fault in ("two", "stray"):
        return _out_of_step(cell)
    return _transaction(cell)


# -- one failure ---------------------------------------------------------------------------------


def _failure(fault: str, place: Place, content: str = "no") -> End:
    """Return what the failing command says (law 1: its own reply, and never another one)."""
    kind = fault.partition("+")[0]
    session = place.scope != "message"
    if kind in REPLIES:
        cls = "ServiceUnavailable" if kind == "421" else place.refused
        reply, judged = REPLIES[kind], REFUSALS[place.scope, kind]
    else:
        if fault == "wrong":
            cls, category, reply = "ProtocolError", "protocol_error", WRONG[place.good]
        else:
            (cls, category), reply = LOST[fault], NO_REPLY
        # The connection failed, not the message: another host, or the same one again.
        judged = category, "next_host" if session else "retry", True
        if content == "all":
            # Law 3 (RFC 1047): behind the end of the content only a whole reply says anything.
            judged = UNKNOWN
    return _end(cls, place, reply, judged, content, gone=fault in GONE)


def _end(cls, place, reply, judged, content="no", *, gone=False) -> End:
    category, action, temporary = judged
    outcome = "deferred"
    if category == "unknown_outcome":
        outcome = "unknown"
    elif action in ("fail", "suppress"):
        outcome = "failed"
    return End(
        outcome, cls, place.phase, place.command, *reply, category, action, temporary, content, gone
    )


def _no_such_user(*, gone: bool) -> End:
    """Return the end of a recipient that was refused beforehand."""
    judged = "mailbox_unknown", "suppress", False
    return _end("RecipientsRefused", PLACES["rcpt"], (550, "5.1.1", "unknown"), judged, gone=gone)


def _sent(cell: Cell) -> End:
    command = "BDAT" if cell.chunked else "DATA"
    return End(
        "sent", "", "eod", command, 250, "2.6.0", "queued", "ok", "none", False, "all", False
    )


# -- the opening ---------------------------------------------------------------------------------


BEHIND = {
    ("ehlo", "two"),
    ("helo", "two"),
    ("ehlo_tls", "two"),
    ("auth3", "two"),
    ("starttls", "stray"),
    ("ehlo_tls", "stray"),
    ("auth1", "stray"),
}
"""Everything was answered, and one reply is there too many (law 6).

Behind EHLO that comes first: which of two is the list of extensions nobody knows, and the lack of
an extension must not be told from the wrong one (a mailer would be held for want of AUTH).
"""


def _opening(cell: Cell) -> Expected:
    place, fault = PLACES[cell.phase], cell.fault
    if fault == "bytes":
        return _well(cell)
    if (cell.phase, fault) in BEHIND:
        return _not_begun(cell)
    if fault == "wrong" and cell.phase in ("auth1", "auth2"):
        # RFC 4954 section 4: 235 says that it is done, and is no answer of the wrong class;
        # 250 is as good, by its first digit (4.2.1).
        return _well(cell)
    if fault == "wrong" and cell.phase == "auth3":
        # One challenge too many is cancelled, and the server agrees (RFC 4954 section 4); the
        # credential was not refused, so that nothing is held.
        reply, judged = (501, "5.7.0", "cancelled"), ("auth_failed", "pause", True)
        return _raised(cell, _end("AuthenticationError", place, reply, judged), 0.0)
    if fault in ("two", "stray"):
        return _raised(cell, _unasked(cell), GRACE)
    seconds = {"silence": TIMEOUT, "drip": TIMEOUT, "endless": 0.0}.get(fault, GRACE)
    if fault in GONE or fault in REFUSING:
        # Gone already; or in step, and told QUIT, and that is answered.
        seconds = 0.0
    return _raised(cell, _failure(fault, place), seconds)


def _unasked(cell: Cell) -> End:
    """Return the end of an opening in which a reply comes ahead of a command (law 6).

    It is booked as what it would be taken for: the answer to the command that is due.
    """
    judged = "protocol_error", "next_host", True
    where = cell.phase if cell.fault == "stray" else _next(cell)
    reply = UNASKED
    if where == "greeting":
        # It is taken for the greeting, and the greeting is the reply too many.
        where, reply = "ehlo", (220, "2.0.0", "mx.example")
    if where == "starttls" and cell.fault == "two":
        # RFC 3207 section 6: somebody sits on the way.
        reply = NO_REPLY
    return _end("ProtocolError", PLACES[where], reply, judged)


def _next(cell: Cell) -> str:
    """Return the command that follows; behind STARTTLS it is that itself (law 9)."""
    order = {"greeting": "ehlo", "starttls": "starttls", "ehlo_tls": "auth1"}
    return order.get(cell.phase) or f"auth{int(cell.phase[4:]) + 1}"


def _raised(cell: Cell, end: End, seconds: float) -> Expected:
    recipients = (end,) * cell.recipients
    return Expected((*recipients, end._replace(outcome="raised")), False, False, seconds)


def _not_begun(cell: Cell) -> Expected:
    return _raised(cell, _end("ProtocolError", NOTHING, NO_REPLY, STRANGE), GRACE)


# -- a transaction -------------------------------------------------------------------------------


def _well(cell: Cell) -> Expected:
    if cell.phase == "rset":
        return Expected((_no_such_user(gone=False),) * cell.recipients, True, True, 0.0)
    ends = tuple(
        _no_such_user(gone=False) if cell.refused and index == 0 else _sent(cell)
        for index in range(cell.recipients)
    )
    return Expected(ends, True, True, 0.0)


def _cleaned_up(cell: Cell) -> Expected:
    """Law 1: the clean-up never replaces the first error; law 4: QUIT is noise."""
    well = _well(cell)
    if cell.phase == "quit":
        seconds = GOODBYE if cell.fault in ("silence", "drip") else 0.0
        # What is there uninvited is seen: the session is not to be used any more (law 6).
        return well._replace(seconds=seconds, usable=cell.fault != "stray")
    gone = cell.fault in GONE
    ends = (_no_such_user(gone=gone),) * cell.recipients
    seconds = 0.0 if gone or cell.fault == "endless" else GRACE
    if cell.fault in ("silence", "drip"):
        seconds = CLEANUP
    # RSET has no other answer than 250 (4.1.1.5); after any other the session is dropped.
    return Expected(ends, True, False, seconds)


def _transaction(cell: Cell) -> Expected:
    fault, phase = cell.fault, cell.phase
    seconds = GRACE
    if fault in GONE or fault in REFUSING or fault == "endless":
        seconds = 0.0
    elif fault in ("silence", "drip"):
        # 4.5.3.2.6: ten minutes behind the end of the content, by default.
        seconds = EOD_TIMEOUT if phase in ("dot", "bdat") else TIMEOUT
    if phase == "mail" and cell.reused and fault in ("eof", "rst", "421", "421+eof", *LOST_IDLE):
        # Law 5: an idle drop costs one fresh connection, and no attempt.
        return Expected((), True, False, seconds)
    usable = fault in ("4yz", "5yz")
    if phase.startswith("body") or phase in CHUNK:
        return _in_the_content(cell)
    if phase.startswith("rcpt") and fault in REFUSING:
        return _recipient_refused(cell)
    place = PLACES["rcpt" if phase.startswith("rcpt") else phase]
    end = _failure(fault, place, "all" if phase in ("dot", "bdat") else "no")
    return Expected(_shared(cell, end), True, usable, seconds)


LOST_IDLE = ("silence", "drip")
"""A connection that a firewall has forgotten is silent: nothing was answered on it, so it counts
as an idle drop. Nothing can be lost by that, and no message is blamed."""


def _shared(cell: Cell, end: End) -> tuple[End, ...]:
    """Give every recipient the end of the transaction but those that were refused by themselves.

    Where a whole reply came out of step before the content, the replies before it may have been
    others' as well (law 6: dropped, not believed): those are not believed either.
    """
    believed = not (
        end.cls == "ProtocolError" and end.code is not None and end.content_sent == "no"
    )
    if cell.refused and believed and cell.phase != "mail":
        return (_no_such_user(gone=end.disconnected), *[end] * (cell.recipients - 1))
    return (end,) * cell.recipients


def _recipient_refused(cell: Cell) -> Expected:
    """Law 8: some refused is not all refused."""
    gone = cell.fault in GONE
    refused = _failure(cell.fault, PLACES["rcpt"])
    at = int(cell.phase[4:])
    first = 1 if cell.refused else 0
    others: dict[int, End] = {}
    for index in range(1, cell.recipients + 1):
        if index == at:
            others[index] = refused
        elif index <= first:
            others[index] = _no_such_user(gone=gone)
        elif gone:
            # The server hung up: what is owed next is not answered.
            lost = PLACES["rcpt"] if at < cell.recipients else PLACES["data"]
            if cell.chunked and at == cell.recipients:
                lost = Place("data", "BDAT", "", "message")
            others[index] = _failure("eof", lost)
        else:
            others[index] = _sent(cell)
    return Expected(tuple(others.values()), True, not gone, 0.0)


def _in_the_content(cell: Cell) -> Expected:
    """Law 2 and 3: an early reply is read, and what is not whole was not delivered."""
    fault, phase = cell.fault, cell.phase
    place = PLACES["bdat" if cell.chunked else "dot"]
    content = "no" if phase == "body0" and not cell.chunked else "partial"
    if fault == "bytes":
        fault = "5yz"
    if fault == "two":
        fault = "5yz" if phase.startswith("body") else fault
    seconds = GRACE
    if fault in GONE or fault == "endless":
        seconds = 0.0
    elif fault in ("silence", "drip"):
        seconds = TIMEOUT
    if phase in CHUNK and fault in ("silence", "drip", "endless"):
        # The answer to a chunk is not waited for (RFC 3030 section 2): the whole has left when it
        # is missed, and ten minutes are waited as behind any content.
        content, seconds = "all", 0.0 if fault == "endless" else EOD_TIMEOUT
    end = _failure(fault, place, content)
    if content == "no" and fault in REFUSING:
        # Not a byte of the content had left: whatever is refused there, it is not the content.
        end = _end("ProtocolError", place, REPLIES[fault[:3]], STRANGE, gone=fault in GONE)
        seconds = 0.0 if fault in GONE else GRACE
    return Expected(_shared(cell, end), True, False, seconds)


def _out_of_step(cell: Cell) -> Expected:
    """Law 6: what nobody asked for is not believed, and the session is dropped.

    In a group that went out at once a reply too many is taken for the next command's: 354 is what
    shows it, at DATA at the latest. Command by command it is seen at once.
    """
    phase, last = cell.phase, f"rcpt{cell.recipients}"
    if cell.fault == "two" and phase in ("dot", "bdat"):
        # The 250 settles it.
        return _well(cell)._replace(usable=False)
    if phase.startswith("body"):
        return _in_the_content(cell)
    if cell.fault == "stray" and phase == "mail":
        if cell.reused:
            return Expected((), True, False, 0.0)
        end = _end("ProtocolError", NOTHING, NO_REPLY, STRANGE)
        return Expected((end,) * cell.recipients, True, False, 0.0)
    where = phase
    if cell.fault == "two":
        end_of_group = "chunk1" if cell.chunked else "data"
        where = {
            "mail": "rcpt1",
            last: end_of_group,
            "data": "dot",
            "chunk1": "chunk2",
            "chunk2": "bdat",
        }.get(phase)
        where = where or f"rcpt{int(phase[4:]) + 1}"
    if where == "dot":
        # Behind the 354, and before the content: DATA has two answers.
        end = _end("ProtocolError", PLACES["data"], UNASKED, STRANGE)
        return Expected(_shared(cell, end), True, False, GRACE)
    if (phase in CHUNK and cell.fault == "two") or phase == "chunk2":
        end = _end("ProtocolError", PLACES["bdat"], UNASKED, STRANGE, "partial")
        return Expected(_shared(cell, end), True, False, GRACE)
    reply = UNASKED
    if where.startswith("rcpt") and cell.pipelining:
        # The answer to the last RCPT is what comes where DATA's is due. Only BDAT in a window has
        # no such place: a reply too many cannot be seen there.
        where, reply = "bdat" if cell.chunked else "data", (250, "2.1.5", "recipient ok")
    if where in CHUNK:
        where = "bdat"
    place = PLACES["rcpt" if where.startswith("rcpt") else where]
    end = _end("ProtocolError", place, reply, STRANGE)
    return Expected(_shared(cell, end), True, False, GRACE)
