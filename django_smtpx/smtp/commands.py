"""The writer of command lines, and the one place that refuses what must not be in them.

Every line that goes to a server is made here (RFC 5321 section 4.1). Nothing
that could end a line, hide a character or leave the angle brackets of a path
passes: each function raises ``ValueError`` for it.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Literal

from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_smtpx.smtp.envelope import DSN

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
_NOT_XTEXT = re.compile(r"[^!-*,-<>-~]")
_NOT_UNITEXT = re.compile(r"[\x00-\x20\x7f\\+=]")
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
        raise ValueError(
            said("%(mechanism)s is no name of a SASL mechanism.", mechanism=repr(mechanism))
        )
    if initial is None:
        return b"AUTH %s\r\n" % mechanism.encode("ascii")
    return b"AUTH %s %s\r\n" % (mechanism.encode("ascii"), base64.b64encode(initial) or b"=")


def auth_response(response: bytes) -> bytes:
    """Return a line that answers a challenge (RFC 4954 section 4)."""
    return base64.b64encode(response) + b"\r\n"


def mail(
    sender: str,
    *,
    size: int | None = None,
    body: Literal["", "8BITMIME", "BINARYMIME"] = "",
    smtputf8: bool = False,
    requiretls: bool = False,
    dsn: DSN | None = None,
) -> bytes:
    """Return MAIL with its parameters (RFC 5321 section 4.1.1.2).

    ``sender`` may be "", the null reverse path. ``size`` is in bytes (RFC
    1870), ``body`` names what the content is (RFC 6152, RFC 3030), ``smtputf8``
    lets addresses be more than ASCII (RFC 6531), ``requiretls`` asks for TLS
    all the way (RFC 8689), ``dsn`` for status notifications (RFC 3461).
    """
    line = f"MAIL FROM:<{check_path(sender, smtputf8=smtputf8) if sender else ''}>"
    if size is not None:
        line += f" SIZE={size}"
    if body:
        line += f" BODY={body}"
    if smtputf8:
        line += " SMTPUTF8"
    if requiretls:
        line += " REQUIRETLS"
    if dsn is not None:
        line += f" RET={dsn.ret}" if dsn.ret else ""
        line += f" ENVID={xtext(dsn.envid)}" if dsn.envid else ""
    return line.encode() + b"\r\n"


def rcpt(recipient: str, *, smtputf8: bool = False, dsn: DSN | None = None) -> bytes:
    """Return RCPT (RFC 5321 section 4.1.1.3), with what ``dsn`` asks for (RFC 3461 section 4)."""
    line = f"RCPT TO:<{check_path(recipient, smtputf8=smtputf8)}>"
    if dsn is not None:
        line += f" NOTIFY={','.join(dsn.notify)}" if dsn.notify else ""
        line += f" ORCPT={_original(recipient)}" if dsn.orcpt else ""
    return line.encode() + b"\r\n"


def rcpts(
    recipients: Iterable[str], *, smtputf8: bool = False, dsn: DSN | None = None
) -> list[bytes]:
    """Return a RCPT line for each of ``recipients``."""
    return [rcpt(recipient, smtputf8=smtputf8, dsn=dsn) for recipient in recipients]


def bdat(size: int, *, last: bool) -> bytes:
    """Return BDAT, to be followed by ``size`` bytes (RFC 3030 section 2)."""
    return b"BDAT %d LAST\r\n" % size if last else b"BDAT %d\r\n" % size


def xtext(text: str) -> str:
    """Return printable ASCII as xtext (RFC 3461 section 4)."""
    return _NOT_XTEXT.sub(lambda match: f"+{ord(match[0]):02X}", text)


def _original(recipient: str) -> str:
    """Return the value of ORCPT; what is not ASCII goes as ``utf-8-addr-unitext`` (RFC 6533)."""
    if recipient.isascii():
        return f"rfc822;{xtext(recipient)}"
    plain = _NOT_UNITEXT.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", recipient)
    return f"utf-8;{plain}"


def check_path(address: str, *, smtputf8: bool = False) -> str:
    """Return ``address`` when it may stand between angle brackets.

    Without ``smtputf8`` it must be ASCII: an internationalised domain arrives as A-labels.
    """
    if _PATH.fullmatch(address) is None:
        raise ValueError(_why(address))
    if not smtputf8 and not address.isascii():
        raise ValueError(
            said(
                "The address %(address)s is not ASCII: write its domain as A-labels "
                "(xn--...), or use SMTPUTF8 for its local part.",
                address=repr(address),
            )
        )
    return address


def _why(address: str) -> str:
    if _CONTROL.search(address):
        return said("The address %(address)s holds a control character.", address=repr(address))
    return said("The address %(address)s cannot be written as an SMTP path.", address=repr(address))


def _helo_name(name: str) -> str:
    if _HELO.fullmatch(name) is None:
        raise ValueError(
            said(
                "%(name)s cannot be said in EHLO: it must be a host name in ASCII.", name=repr(name)
            )
        )
    return name
