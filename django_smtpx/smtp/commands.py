"""The writer of command lines, and the one place that refuses what must not be in them.

Every line that goes to a server is made here (RFC 5321 section 4.1). Nothing
that could end a line, hide a character or leave the angle brackets of a path
passes: each function raises ``ValueError`` for it.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

STARTTLS = b"STARTTLS\r\n"
DATA = b"DATA\r\n"
RSET = b"RSET\r\n"
NOOP = b"NOOP\r\n"
QUIT = b"QUIT\r\n"
CANCEL = b"*\r\n"
"""Ends an AUTH exchange (RFC 4954 section 4)."""
INITIAL_RESPONSE_LIMIT = 512
"""Longest AUTH command, in bytes with its CRLF, that may hold an initial response."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_HELO = re.compile(r"[!-~]+")
_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}")
# A dot-string, or a quoted string whose quotes and backslashes are escaped; then a domain or an
# address literal. Wider than RFC 5321 in the characters of an atom, because real addresses are,
# but no space, bracket, quote or control gets through outside of a quoted string.
_PATH = re.compile(
    r"""(?:[^\x00-\x20\x7f-\xa0"<>()\[\]\\,;:@]+|"(?:[^\x00-\x1f\x7f-\x9f"\\]|\\[\x20-\x7e])*")"""
    r"""(?:@(?:[^\x00-\x20\x7f-\xa0"<>()\[\]\\,;:@]+|\[[!-Z^-~]+\]))?"""
)


def ehlo(name: str) -> bytes:
    """Return EHLO with the client's name (RFC 5321 section 4.1.1.1)."""
    return f"EHLO {_helo_name(name)}\r\n".encode("ascii")


def helo(name: str) -> bytes:
    """Return HELO with the client's name (RFC 5321 section 4.1.1.1)."""
    return f"HELO {_helo_name(name)}\r\n".encode("ascii")


def auth(mechanism: str, initial: bytes | None = None) -> bytes:
    """Return AUTH, with the initial response where there is one (RFC 4954 section 4).

    An empty initial response is written as ``=``.
    """
    if _MECHANISM.fullmatch(mechanism) is None:
        raise ValueError(f"{mechanism!r} is no name of a SASL mechanism.")
    if initial is None:
        return b"AUTH %s\r\n" % mechanism.encode("ascii")
    return b"AUTH %s %s\r\n" % (mechanism.encode("ascii"), base64.b64encode(initial) or b"=")


def auth_response(response: bytes) -> bytes:
    """Return a line that answers a challenge (RFC 4954 section 4)."""
    return base64.b64encode(response) + b"\r\n"


def mail(
    sender: str, *, size: int | None = None, eight_bit: bool = False, smtputf8: bool = False
) -> bytes:
    """Return MAIL with its parameters (RFC 5321 section 4.1.1.2).

    ``sender`` may be "", the null reverse path. ``size`` is in bytes (RFC
    1870), ``eight_bit`` says BODY=8BITMIME (RFC 6152), ``smtputf8`` lets
    addresses be more than ASCII (RFC 6531).
    """
    line = f"MAIL FROM:<{check_path(sender, smtputf8=smtputf8) if sender else ''}>"
    if size is not None:
        line += f" SIZE={size}"
    if eight_bit:
        line += " BODY=8BITMIME"
    if smtputf8:
        line += " SMTPUTF8"
    return line.encode() + b"\r\n"


def rcpt(recipient: str, *, smtputf8: bool = False) -> bytes:
    """Return RCPT (RFC 5321 section 4.1.1.3)."""
    return f"RCPT TO:<{check_path(recipient, smtputf8=smtputf8)}>\r\n".encode()


def rcpts(recipients: Iterable[str], *, smtputf8: bool = False) -> list[bytes]:
    """Return a RCPT line for each of ``recipients``."""
    return [rcpt(recipient, smtputf8=smtputf8) for recipient in recipients]


def check_path(address: str, *, smtputf8: bool = False) -> str:
    """Return ``address`` when it may stand between angle brackets.

    Without ``smtputf8`` it must be ASCII: an internationalised domain arrives as A-labels.
    """
    if _PATH.fullmatch(address) is None:
        raise ValueError(f"The address {address!r} {_why(address)}")
    if not smtputf8 and not address.isascii():
        raise ValueError(
            f"The address {address!r} is not ASCII: write its domain as A-labels (xn--...), or "
            "use SMTPUTF8 for its local part."
        )
    return address


def _why(address: str) -> str:
    if _CONTROL.search(address):
        return "holds a control character."
    return "cannot be written as an SMTP path."


def _helo_name(name: str) -> str:
    if _HELO.fullmatch(name) is None:
        raise ValueError(f"{name!r} cannot be said in EHLO: it must be a host name in ASCII.")
    return name
