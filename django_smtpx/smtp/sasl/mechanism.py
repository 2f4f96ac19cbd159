"""What every mechanism is to its caller, and what it is told."""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_smtpx.smtp.options import Credential
    from django_smtpx.smtp.reply import Reply


class Unusable(ValueError):
    """The mechanism cannot carry this credential; the text says why, without a secret."""


class Remedy(Enum):
    """What may be tried once more, on a fresh connection, after a refusal."""

    FRESH_TOKEN = "the bearer token"  # noqa: S105 (no password)
    """Another token: this one has expired, or was taken back."""
    WITHOUT_BINDING = "the channel binding"
    """The same hash without -PLUS: the credential itself was not refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one login is about, besides the mechanism's name.

    ``bindings`` are the connection's channel bindings by name, the best first.
    ``downgrade_flag`` says to tell the server that its -PLUS variant was not
    seen among its offers, so that it notices where somebody took it out.
    """

    credential: Credential
    host: str = ""
    port: int = 0
    token: str = field(default="", repr=False)
    bindings: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    downgrade_flag: bool = False


class Mechanism(ABC):
    """One exchange (RFC 4422 section 5); the object is used up by it.

    ``problem`` says why it gave up, or does not believe the server; it may hold
    what the server said. ``impostor`` tells that the server has not shown that
    it knows the password. ``secrets`` are those that the exchange has made.
    """

    name = ""

    def __init__(self) -> None:
        self.problem = ""
        self.impostor = False
        self.secrets: tuple[str, ...] = ()

    def initial(self) -> bytes | None:
        """Return the response that may go with the AUTH command, or None where there is none."""
        return None

    @abstractmethod
    def respond(self, challenge: str) -> bytes | None:
        """Return the answer to a challenge (its text as it came), or None to cancel."""

    def believes(self, text: str) -> bool:
        """Whether ``text``, the server's last word, ends a login that is to be relied on."""
        return True

    def remedy(self, reply: Reply) -> Remedy | None:
        """Return what may be tried after a refusal other than one of the credential itself."""
        return None


def printable(text: str, limit: int = 100) -> str:
    """Return what the server said inside of a challenge, as an error may show it."""
    return "".join(c if c.isprintable() else " " for c in text[:limit])


def decoded(challenge: str) -> bytes | None:
    """Return the bytes of a challenge, or None where it is not base64 (RFC 4954 section 4)."""
    try:
        return base64.b64decode(challenge.strip().encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
