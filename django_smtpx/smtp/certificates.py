"""What a certificate that was refused says of itself, in a sentence for a person."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime
from ssl import SSLCertVerificationError, SSLError, SSLSocket, cert_time_to_seconds
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_smtpx.smtp.failures import TLSFailure

# OpenSSL's verdicts: x509_vfy.h.
_UNTRUSTED = frozenset({2, 18, 19, 20, 21})
_SELF_SIGNED = frozenset({18, 19})
_NOT_YET_VALID = 9
_EXPIRED = 10
_VALIDITY = (_EXPIRED, _NOT_YET_VALID)
_WRONG_PURPOSE = 26
_OTHER_NAME = frozenset({62, 64})
_AGAINST_RFC_5280 = frozenset(range(79, 95))

_NAMES_SHOWN = 8
_DER = 2
"""The form of a certificate's bytes, as Python's own _ssl numbers them."""

Info = dict[str, Any]


class Refused(Exception):
    """Why a certificate does not hold; ``failure`` is what a report on TLS calls it."""

    def __init__(self, reason: str, failure: TLSFailure) -> None:
        super().__init__(reason)
        self.failure: TLSFailure = failure


def refusal(
    error: SSLCertVerificationError, sock: SSLSocket, host: str, names: Sequence[str] = ()
) -> str:
    """Return why the certificate of ``host`` was refused: what was expected (it, or one of
    ``names``), and what shown.
    """
    return sentence(_reason(error, shown_chain(sock)), sock, host, names)


def sentence(reason: str, sock: SSLSocket, host: str, names: Sequence[str] = ()) -> str:
    """Return ``reason``, for which a certificate was refused, with what was expected and shown."""
    return said(
        "The certificate of %(host)s does not hold: %(reason)s "
        "(expected %(names)s, shown %(shown)s)",
        host=host,
        reason=reason,
        names=alternatives(names) or host,
        shown=described(shown_chain(sock)),
    )


def alternatives(names: Sequence[str]) -> str:
    """Return "a or b or c"; "" for none."""
    text = ""
    for name in names:
        text = said("%(names)s or %(name)s", names=text, name=name) if text else name
    return text


def failure_of(error: SSLCertVerificationError) -> TLSFailure:
    """Return what a report on TLS calls it (RFC 8460 section 4.3.1)."""
    if error.verify_code in _OTHER_NAME:
        return "certificate-host-mismatch"
    if error.verify_code == _EXPIRED:
        return "certificate-expired"
    return "certificate-not-trusted"


# -- what was shown ------------------------------------------------------------------------------


def sees_chains() -> bool:
    """Whether this Python tells which certificates a server has sent beside its own.

    It is public from Python 3.13 on; 3.11 and 3.12 have it below the surface.
    """
    inner = getattr(getattr(ssl, "_ssl", None), "_SSLSocket", None)
    return any(hasattr(place, "get_unverified_chain") for place in (SSLSocket, inner))


def der_chain(sock: SSLSocket) -> tuple[bytes, ...]:
    """Return the certificates that the server has sent, in DER, its own first; that one alone
    where :func:`sees_chains` is False.
    """
    own = sock.getpeercert(binary_form=True)
    if not own:
        return ()
    inner: Any = sock if hasattr(sock, "get_unverified_chain") else getattr(sock, "_sslobj", None)
    try:
        chain = inner.get_unverified_chain() or ()
        # Python 3.13 gives bytes, an older one what makes them.
        found = (each if isinstance(each, bytes) else each.public_bytes(_DER) for each in chain)
        return tuple(found) or (own,)
    except (AttributeError, TypeError, ValueError, SSLError):
        return (own,)


def shown_chain(sock: SSLSocket) -> list[Info]:
    """Return the certificates that the server showed, its own first, as ssl describes them.

    Empty where ssl does not let one see them (with OpenSSL before 3.0).
    """
    inner: Any = getattr(sock, "_sslobj", None)
    try:
        return [certificate.get_info() for certificate in inner.get_unverified_chain()]
    except (AttributeError, TypeError, ValueError, SSLError):
        return []


def names_of(info: Info) -> list[str]:
    """Return the names that a certificate is for."""
    names = [str(value) for _, value in info.get("subjectAltName", ())]
    return list(dict.fromkeys(_printable(name) for name in (*names, *_common(info, "subject"))))


def _reason(error: SSLCertVerificationError, chain: list[Info]) -> str:
    code, message = error.verify_code, error.verify_message.rstrip(".")
    if code in _OTHER_NAME:
        return said("it is somebody else's")
    if code in _VALIDITY:
        return _wrong_time(expired=code == _EXPIRED, chain=chain)
    if code in _UNTRUSTED:
        own = code in _SELF_SIGNED
        return said(
            "%(fault)s (%(message)s); if it is the right one, name its authority's PEM file in "
            "ca_file",
            fault=said("it is self-signed") if own else said("its authority is not known here"),
            message=message,
        )
    if code == _WRONG_PURPOSE:
        return said("it is not made for a server (%(message)s)", message=message)
    if code in _AGAINST_RFC_5280:
        return said(
            "it, or its authority's, is not made as RFC 5280 wants it (%(message)s)",
            message=message,
        )
    return message


def _wrong_time(*, expired: bool, chain: list[Info]) -> str:
    """Say whose time it is not, and when it is: not always the server's own certificate."""
    now = time.time()
    key = "notAfter" if expired else "notBefore"
    for place, info in enumerate(chain):
        at = _seconds(info, key)
        if at is not None and (at < now if expired else at > now):
            whose = of_authority(", ".join(names_of(info))) if place else said("it")
            return wrong_time(whose, _utc(at), _utc(now), expired=expired)
    if chain:
        return (
            said("its authority's has expired")
            if expired
            else said("its authority's is not yet valid")
        )
    return (
        said("it, or its authority's, has expired")
        if expired
        else said("it, or its authority's, is not yet valid")
    )


def of_authority(name: str) -> str:
    """Return that it is not the server's own certificate, but the one of its authority's."""
    return said("its authority's (%(name)s)", name=name or said("no name"))


def wrong_time(whose: str, at: str, now: str, *, expired: bool) -> str:
    """Return that a certificate expired ``at`` that time, or is not valid before it."""
    if expired:
        return said(
            "%(whose)s expired on %(at)s; by the clock here it is %(now)s",
            whose=whose,
            at=at,
            now=now,
        )
    return said(
        "%(whose)s is valid only from %(at)s; by the clock here it is %(now)s",
        whose=whose,
        at=at,
        now=now,
    )


def described(chain: list[Info]) -> str:
    """Return whose certificate the first of ``chain`` is, who issued it, and its dates."""
    if not chain:
        return said("not known")
    info = chain[0]
    names = names_of(info)
    shown = ", ".join(names[:_NAMES_SHOWN]) or said("no name")
    if len(names) > _NAMES_SHOWN:
        shown = said("%(names)s and %(count)s more", names=shown, count=len(names) - _NAMES_SHOWN)
    issuer = ", ".join(_common(info, "issuer") or _common(info, "issuer", "organizationName"))
    if issuer:
        shown = said("%(names)s, issued by %(issuer)s", names=shown, issuer=_printable(issuer))
    begin, end = _seconds(info, "notBefore"), _seconds(info, "notAfter")
    if begin is not None and end is not None:
        return said(
            "%(shown)s, valid from %(begin)s until %(end)s",
            shown=shown,
            begin=_utc(begin),
            end=_utc(end),
        )
    return shown


def _common(info: Info, whose: str, field: str = "commonName") -> list[str]:
    return [str(value) for part in info.get(whose, ()) for key, value in part if key == field]


def _seconds(info: Info, key: str) -> float | None:
    try:
        return cert_time_to_seconds(info[key])
    except (KeyError, ValueError):
        return None


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _printable(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name)
