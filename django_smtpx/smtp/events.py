"""What a dialogue has to tell, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_smtpx.smtp.errors import SMTPError
    from django_smtpx.smtp.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Opened:
    """The session is ready for transactions."""


@dataclass(frozen=True, slots=True)
class HandshakeWanted:
    """The server awaits TLS: shake hands, then call :meth:`Protocol.tls_started`."""


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """The login needs a bearer token: call :meth:`Protocol.use_token`, or say that there is none
    by :meth:`Protocol.refuse_token`.
    """


@dataclass(frozen=True, slots=True)
class ContentWanted:
    """The server awaits the content: call :meth:`Protocol.send_content`, or withdraw."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Finished:
    """No reply can change the transaction any more."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Ended:
    """The dialogue is over, because of ``error``."""

    error: SMTPError


Event = Opened | HandshakeWanted | TokenWanted | ContentWanted | Finished | Ended
