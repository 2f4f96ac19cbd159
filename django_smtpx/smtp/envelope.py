"""What goes in and what comes out: an envelope, and a result for each of its recipients."""

from __future__ import annotations

import copy
import io
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple, get_args

from django_smtpx.smtp.content import Body, header, inspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_smtpx.smtp.errors import SMTPError

_TLS_REQUIRED_NO = re.compile(rb"^TLS-Required:[ \t]*No[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)

Phase = Literal[
    "resolve", "connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "eod"
]
ContentSent = Literal["no", "partial", "all"]
ResultOutcome = Literal["sent", "deferred", "failed", "unknown"]


Notify = Literal["SUCCESS", "FAILURE", "DELAY", "NEVER"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DSN:
    """What is asked of delivery status notifications (RFC 3461), where the server knows them.

    ``ret`` is how much of the message a report of failure returns, ``envid``
    names the transaction in reports (up to 100 characters), ``notify`` says
    when to report, for each recipient. With ``orcpt`` the recipients' addresses
    are named as the original ones.

    Raises ``ValueError`` for what no command can say.
    """

    ret: Literal["FULL", "HDRS"] | None = None
    envid: str = ""
    notify: tuple[Notify, ...] = ()
    orcpt: bool = True

    def __post_init__(self) -> None:
        if self.ret not in (None, "FULL", "HDRS"):
            raise ValueError(f"ret must be 'FULL' or 'HDRS', not {self.ret!r}.")
        unknown = [word for word in self.notify if word not in get_args(Notify)]
        if unknown:
            raise ValueError(
                f"notify holds {unknown[0]!r}, which is none of {', '.join(get_args(Notify))}."
            )
        if "NEVER" in self.notify and len(self.notify) > 1:
            raise ValueError("notify has NEVER beside other words; it stands alone.")
        if not (self.envid.isascii() and self.envid.isprintable() and len(self.envid) <= 100):
            raise ValueError(
                f"envid must be up to 100 printable ASCII characters, not {self.envid!r}."
            )


@dataclass(frozen=True, slots=True, init=False)
class Envelope:
    """One mail transaction (RFC 5321 section 3.3): a reverse path, forward paths and the content.

    ``sender`` may be "" (the null reverse path). ``content`` has no
    dot-stuffing: bytes, or a seekable binary file, which is read from where it
    stands now to its end, in blocks, whenever it is sent. ``ident`` is the
    caller's own; it is never sent. ``dsn`` asks for status notifications.
    With ``require_tls`` the message travels over verified TLS only, and only
    through servers that promise the same (RFC 8689).

    Raises ``ValueError`` when there is no recipient, and ``TypeError`` for a
    content that is neither bytes nor a binary file.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes | BinaryIO = field(repr=False)
    ident: object = None
    dsn: DSN | None = None
    require_tls: bool = False
    start: int = field(default=0, repr=False)

    def __init__(
        self,
        sender: str,
        recipients: Iterable[str],
        content: bytes | bytearray | memoryview | BinaryIO,
        ident: object = None,
        *,
        dsn: DSN | None = None,
        require_tls: bool = False,
    ) -> None:
        if isinstance(recipients, str):
            recipients = (recipients,)
        put = object.__setattr__
        put(self, "sender", sender)
        put(self, "recipients", tuple(recipients))
        put(self, "ident", ident)
        put(self, "dsn", dsn)
        put(self, "require_tls", require_tls)
        if isinstance(content, bytes):
            put(self, "content", content)
            put(self, "start", 0)
        elif isinstance(content, (bytearray, memoryview)):
            put(self, "content", bytes(content))
            put(self, "start", 0)
        else:
            put(self, "content", _binary(content))
            put(self, "start", content.tell())
        if not self.recipients:
            raise ValueError("An envelope needs at least one recipient.")

    def to(self, recipients: Iterable[str]) -> Envelope:
        """Return the same envelope for other recipients."""
        other = copy.copy(self)
        object.__setattr__(other, "recipients", tuple(recipients))
        return other

    def inspect(self) -> Body:
        """Look through the content; a file is read for that. Raises what reading it raises."""
        return inspect(self.content, self.start)

    @property
    def ascii_paths(self) -> bool:
        """Whether the addresses are ASCII, so that no one of them needs SMTPUTF8 (RFC 6531)."""
        return self.sender.isascii() and all(map(str.isascii, self.recipients))

    @property
    def tls_optional(self) -> bool:
        """Whether the message says ``TLS-Required: No``: that it is to arrive even where TLS cannot
        be verified (RFC 8689 section 5). ``require_tls`` is stronger.
        """
        if self.require_tls:
            return False
        return _TLS_REQUIRED_NO.search(header(self.content, self.start)) is not None

    @property
    def needs_8bitmime(self) -> bool:
        """Whether the content holds bytes above 127 (RFC 6152)."""
        return self.inspect().eight_bit

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address or a header holds what only SMTPUTF8 can carry (RFC 6531)."""
        return not self.ascii_paths or self.inspect().eight_bit_header


class Result(NamedTuple):
    """What became of one recipient in one transaction.

    ``code``, ``enhanced_code`` and ``reply`` are the server's answer to the
    command that decided it; ``code`` is None when there was none. For a
    ``sent`` recipient that is the reply after the content. ``error`` is None
    exactly when ``outcome`` is ``sent``. ``rule`` is the id of the rule that
    judged a refusal, "" where there was no reply to judge.
    """

    recipient: str
    outcome: ResultOutcome
    category: str
    action: str
    phase: Phase
    command: str
    code: int | None = None
    enhanced_code: str = ""
    reply: str = ""
    host: str = ""
    ip: str = ""
    port: int = 0
    tls: str = ""
    tls_verified_by: str = ""
    error: SMTPError | None = None
    rule: str = ""


NO_PHASES: Mapping[str, float] = MappingProxyType({})


class Outcome(NamedTuple):
    """What became of one transaction: a result per recipient, in the envelope's order.

    ``duration`` is in seconds. ``transcript`` is redacted, and "" where none is kept. ``phases``
    are the seconds that each phase was waited for. The first transaction of a session has its
    opening in both, which ``duration`` leaves out: ``tls`` is the handshake, in either mode.
    """

    envelope: Envelope
    results: tuple[Result, ...]
    duration: float = 0.0
    transcript: str = ""
    phases: Mapping[str, float] = NO_PHASES

    @property
    def error(self) -> SMTPError | None:
        """What to raise for it: None when at least one recipient was sent, as with smtplib.

        Its ``results`` are those of all recipients.
        """
        first = self.results[0].error
        if first is None or any(result.outcome == "sent" for result in self.results):
            return None
        error = copy.copy(first)
        error.results = self.results
        error.transcript = self.transcript
        return error


def _binary(content: BinaryIO) -> BinaryIO:
    """Return a file that can be read as bytes from anywhere."""
    given: object = content
    if isinstance(given, io.TextIOBase):
        raise TypeError("content must be bytes or a binary file: open the file in mode 'rb'.")
    if not (hasattr(given, "read") and hasattr(given, "seek")):
        raise TypeError(
            f"content must be bytes or a binary file, not {type(given).__name__}: encode it."
        )
    if not content.seekable():
        raise TypeError(
            "content must be a file that can be read twice (seekable): its size is declared "
            "before it is sent."
        )
    return content
