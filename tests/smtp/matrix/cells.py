"""The axes of the table, and the cells that there are."""

from __future__ import annotations

from typing import NamedTuple

FAULTS = (
    "4yz",
    "5yz",
    "421",
    "wrong",
    "eof",
    "rst",
    "421+eof",
    "5yz+eof",
    "silence",
    "drip",
    "garbage",
    "mixed",
    "long",
    "endless",
    "two",
    "stray",
    "bytes",
)
"""What the server does instead of its answer.

``wrong`` is a reply of the class that is none here (354 for 2yz, 250 for 354), ``drip`` a
continuation line every ten seconds, ``mixed`` one reply with two codes, ``long`` a line of 64 KB,
``endless`` a reply without a last line, ``two`` the answer and one more, ``stray`` a reply before
the command, and ``bytes`` the answer that is due, byte by byte.
"""

OPENING = ("greeting", "ehlo", "helo", "starttls", "ehlo_tls", "auth1", "auth2", "auth3")
"""Where it does so before the first transaction; AUTH is LOGIN, with a step for each line."""
BODY = ("body0", "body1", "body9", "body25", "body26", "body28")
"""After so many bytes of a content of 26, or of 29 with its dot, the server reads no more."""
CHUNK = ("chunk1", "chunk2")
"""BDAT of a part that is not the last: the content of 26 bytes goes in three."""


class Cell(NamedTuple):
    """One case. ``refused`` says that the first of three recipients is refused beforehand."""

    phase: str
    fault: str
    pipelining: bool = True
    reused: bool = False
    recipients: int = 1
    refused: bool = False
    chunked: bool = False

    def __str__(self) -> str:
        return "-".join(
            (
                self.phase,
                self.fault,
                "pipelined" if self.pipelining else "stepwise",
                "reused" if self.reused else "fresh",
                f"{self.recipients}{'refused' if self.refused else ''}",
                *(["bdat"] if self.chunked else []),
            )
        )


def opening() -> list[Cell]:
    """Return the cells up to the first transaction: such a connection is always a fresh one."""
    return [
        Cell(phase, fault, pipelining, recipients=recipients)
        for phase in OPENING
        for fault in FAULTS
        for pipelining in (True, False)
        for recipients in (1, 3)
    ]


def transaction(*, chunked: bool) -> list[Cell]:
    """Return the cells of a transaction and of the clean-up behind it."""
    return [
        Cell(phase, fault, pipelining, reused, recipients, refused, chunked)
        for recipients, refused in ((1, False), (3, False), (3, True))
        for phase in _phases(recipients, refused=refused, chunked=chunked)
        for fault in FAULTS
        if fits(phase, fault)
        for pipelining in (True, False)
        for reused in (False, True)
    ]


def _phases(recipients: int, *, refused: bool, chunked: bool) -> tuple[str, ...]:
    first = 2 if refused else 1
    rcpts = tuple(f"rcpt{index}" for index in range(first, recipients + 1))
    if chunked:
        body = tuple(phase for phase in BODY if int(phase[4:]) < 26)
        return ("mail", *rcpts, *CHUNK, *body, "bdat", "rset", "quit")
    return ("mail", *rcpts, "data", *BODY, "dot", "rset", "quit")


def fits(phase: str, fault: str) -> bool:
    """Say whether a fault can happen there: what is a stray in front of a content is one still."""
    return not (phase.startswith("body") and fault == "stray")
