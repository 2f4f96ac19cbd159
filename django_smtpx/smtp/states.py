"""The states of a dialogue and the replies that lead from one to the next, as data.

A reply is looked up by the command that it answers and the state it is
answered in; what is not in the table is out of step. A 421 is not in the
table: it ends the dialogue wherever it comes (RFC 5321 section 3.8).
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_smtpx.smtp.envelope import Phase


class State(IntEnum):
    """Where the dialogue stands by the replies read so far."""

    GREETING = auto()
    """Connected; the server speaks first."""
    HELLO = auto()
    """EHLO or HELO is due."""
    READY = auto()
    """No transaction is open."""
    TLS = auto()
    """The server awaits the TLS handshake."""
    AUTH = auto()
    """The server awaits the answer to a challenge."""
    MAIL = auto()
    """A sender is accepted, and no recipient."""
    RCPT = auto()
    """At least one recipient is accepted."""
    CONTENT = auto()
    """The server awaits the content."""
    EMPTY = auto()
    """The server awaits a content that nobody is to receive."""
    OVER = auto()
    """The session was refused: in step, but only QUIT makes sense."""
    CLOSED = auto()
    """The dialogue has ended."""


GREETING = ""
"""Stands for the command that the greeting answers."""
CONTENT = "."
"""Stands for the content and its final dot, as a command."""
CHUNK = "BDAT"
"""BDAT with a part of the content that is not the last one (RFC 3030)."""
LAST_CHUNK = "BDAT LAST"
"""BDAT with the last part of the content, or all of it."""

_S = State

TRANSITIONS: Mapping[str, Mapping[State, Mapping[int, State]]] = {
    GREETING: {_S.GREETING: {2: _S.HELLO, 4: _S.OVER, 5: _S.OVER}},
    "EHLO": {_S.HELLO: {2: _S.READY, 4: _S.OVER, 5: _S.HELLO}},
    "HELO": {_S.HELLO: {2: _S.READY, 4: _S.OVER, 5: _S.OVER}},
    "STARTTLS": {_S.READY: {2: _S.TLS, 4: _S.READY, 5: _S.READY}},
    "AUTH": {
        _S.READY: {2: _S.READY, 3: _S.AUTH, 4: _S.READY, 5: _S.READY},
        _S.AUTH: {2: _S.READY, 3: _S.AUTH, 4: _S.READY, 5: _S.READY},
    },
    "MAIL": {_S.READY: {2: _S.MAIL, 4: _S.READY, 5: _S.READY}},
    "RCPT": {
        _S.MAIL: {2: _S.RCPT, 4: _S.MAIL, 5: _S.MAIL},
        _S.RCPT: {2: _S.RCPT, 4: _S.RCPT, 5: _S.RCPT},
        # MAIL was refused; what was sent behind it is answered all the same.
        _S.READY: {2: _S.READY, 4: _S.READY, 5: _S.READY},
    },
    "DATA": {
        _S.RCPT: {3: _S.CONTENT, 4: _S.RCPT, 5: _S.RCPT},
        # Nobody was accepted, and a server may say 354 all the same (RFC 2920 section 3.1).
        _S.MAIL: {3: _S.EMPTY, 4: _S.MAIL, 5: _S.MAIL},
        _S.READY: {3: _S.EMPTY, 4: _S.READY, 5: _S.READY},
    },
    CONTENT: {
        _S.CONTENT: {2: _S.READY, 4: _S.READY, 5: _S.READY},
        _S.EMPTY: {2: _S.READY, 4: _S.READY, 5: _S.READY},
    },
    CHUNK: {
        _S.RCPT: {2: _S.RCPT, 4: _S.RCPT, 5: _S.RCPT},
        # Sent ahead of the replies to MAIL and RCPT, and then nobody was accepted.
        _S.MAIL: {2: _S.MAIL, 4: _S.MAIL, 5: _S.MAIL},
        _S.READY: {4: _S.READY, 5: _S.READY},
    },
    LAST_CHUNK: {
        _S.RCPT: {2: _S.READY, 4: _S.RCPT, 5: _S.RCPT},
        _S.MAIL: {2: _S.READY, 4: _S.MAIL, 5: _S.MAIL},
        _S.READY: {4: _S.READY, 5: _S.READY},
    },
    "RSET": {
        _S.READY: {2: _S.READY},
        _S.MAIL: {2: _S.READY},
        _S.RCPT: {2: _S.READY},
    },
    "NOOP": {_S.READY: {2: _S.READY, 4: _S.READY, 5: _S.READY}},
    "QUIT": {
        state: dict.fromkeys((2, 4, 5), _S.CLOSED)
        for state in (_S.HELLO, _S.READY, _S.MAIL, _S.RCPT, _S.OVER)
    },
}

PHASES: Mapping[str, Phase] = {
    GREETING: "greeting",
    "EHLO": "ehlo",
    "HELO": "ehlo",
    "STARTTLS": "starttls",
    "AUTH": "auth",
    "MAIL": "mail",
    "RCPT": "rcpt",
    "DATA": "data",
    CONTENT: "eod",
    CHUNK: "eod",
    LAST_CHUNK: "eod",
    "RSET": "mail",
    "NOOP": "mail",
    "QUIT": "mail",
}
"""The phase that a failure of each command belongs to."""


def verb(command: str) -> str:
    """Return the SMTP verb that an error names: the content goes under ``DATA`` or ``BDAT``."""
    return _VERBS.get(command, command)


_VERBS = {CONTENT: "DATA", LAST_CHUNK: "BDAT"}
