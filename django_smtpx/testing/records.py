"""What a scripted server has seen, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from email.message import EmailMessage

Ended = Literal["", "quit", "client", "server", "lost", "stopped"]


class Command(NamedTuple):
    """One command line as it came.

    ``verb`` is upper case; the client's answers within AUTH have the verb
    ``"(AUTH)"``. ``arg`` is the rest of the line. ``code`` is that of the reply
    (None where none was given). ``at`` is ``time.monotonic()``.
    """

    verb: str
    arg: str
    tls: bool
    code: int | None
    at: float


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message whose content came whole.

    ``recipients`` are those that the server had accepted. ``content`` has CRLF
    line ends and no dot-stuffing. ``code`` is that of the reply after the
    content: None where the script left it out, and so the client cannot know.
    ``session`` is the number of the session, ``at`` is ``time.monotonic()``.
    ``verb`` is what carried the content, ``"DATA"`` or ``"BDAT"``, and ``chunks``
    are the sizes in bytes of the chunks that it came in with BDAT (RFC 3030).
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    mail_params: tuple[str, ...] = ()
    rcpt_params: tuple[tuple[str, ...], ...] = ()
    session: int = 0
    number: int = 0
    tls: bool = False
    user: str = ""
    code: int | None = 250
    at: float = 0.0
    verb: str = "DATA"
    chunks: tuple[int, ...] = ()

    @property
    def confirmed(self) -> bool:
        """Whether the server said that it has taken the message."""
        return self.code is not None and self.code // 100 == 2

    def parsed(self) -> EmailMessage:
        """Return the content as the standard library's ``EmailMessage``."""
        return message_from_bytes(self.content, policy=policy.default)


@dataclass(frozen=True, slots=True)
class ReceivedSession:
    """One connection, so far or to its end.

    ``tls`` is the protocol version, or "". ``user`` is who logged in. ``ended``
    says how it ended: ``"quit"``, ``"client"`` (closed without QUIT),
    ``"server"`` (by the script), ``"lost"`` (reset, or no TLS), ``"stopped"``
    (the server was stopped); "" while it lasts. ``error`` is why it was lost.
    """

    number: int
    peer: tuple[str, int]
    helo: str = ""
    tls: str = ""
    user: str = ""
    commands: tuple[Command, ...] = ()
    messages: tuple[ReceivedMessage, ...] = ()
    ended: Ended = ""
    error: str = ""

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs of the commands, in order."""
        return tuple(command.verb for command in self.commands)
