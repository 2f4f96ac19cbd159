"""What a server says it can do, as a value made from its EHLO reply (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_smtpx.smtp.reply import Reply

_KEYWORD = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:[ \t=]+(.*))?", re.DOTALL)
_LIMIT = re.compile(r"(RCPTMAX|RCPTDOMAINMAX|MAILMAX)=([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions of one EHLO reply; empty after HELO.

    ``keywords`` maps each keyword, in upper case, to its parameters. ``auth``
    names the SASL mechanisms in the server's order. ``size_limit`` is in
    bytes, and None where the server names none. ``rcpt_max`` recipients, of
    ``rcpt_domain_max`` domains, go in one transaction, and ``mail_max``
    transactions over one connection (RFC 9422); None where nothing is said.
    """

    keywords: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, ...] = ()
    size_limit: int | None = None
    size: bool = False
    pipelining: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    starttls: bool = False
    enhanced_status_codes: bool = False
    chunking: bool = False
    binarymime: bool = False
    dsn: bool = False
    requiretls: bool = False
    rcpt_max: int | None = None
    rcpt_domain_max: int | None = None
    mail_max: int | None = None

    @classmethod
    def from_reply(cls, reply: Reply) -> Capabilities:
        """Read an EHLO reply: its first line is a greeting, each further one an extension.

        Keywords are case-blind. ``AUTH=PLAIN``, an old draft's spelling, counts as ``AUTH PLAIN``.
        Lines that are no keyword are passed over.
        """
        keywords: dict[str, str] = {}
        mechanisms: list[str] = []
        for line in reply.lines[1:]:
            match = _KEYWORD.fullmatch(line.strip())
            if match is None:
                continue
            keyword, parameters = match[1].upper(), (match[2] or "").strip()
            if keyword == "AUTH":
                mechanisms += parameters.upper().replace("=", " ").split()
            keywords.setdefault(keyword, parameters)
        return cls(
            keywords=keywords,
            auth=tuple(dict.fromkeys(mechanisms)),
            size_limit=_size(keywords.get("SIZE", "")),
            size="SIZE" in keywords,
            pipelining="PIPELINING" in keywords,
            eight_bit_mime="8BITMIME" in keywords,
            smtputf8="SMTPUTF8" in keywords,
            starttls="STARTTLS" in keywords,
            enhanced_status_codes="ENHANCEDSTATUSCODES" in keywords,
            chunking="CHUNKING" in keywords,
            binarymime="BINARYMIME" in keywords,
            dsn="DSN" in keywords,
            requiretls="REQUIRETLS" in keywords,
            **_limits(keywords.get("LIMITS", "")),
        )


class _Limits(TypedDict, total=False):
    rcpt_max: int
    rcpt_domain_max: int
    mail_max: int


def _limits(value: str) -> _Limits:
    """Read ``RCPTMAX=100 MAILMAX=50``; what is no number above 0 limits nothing (RFC 9422 4)."""
    found: _Limits = {}
    for word in value.upper().split():
        match = _LIMIT.fullmatch(word)
        if match is None:
            continue
        number = int(match[2])
        if match[1] == "RCPTMAX":
            found["rcpt_max"] = number
        elif match[1] == "RCPTDOMAINMAX":
            found["rcpt_domain_max"] = number
        else:
            found["mail_max"] = number
    return found


def _size(value: str) -> int | None:
    """Return SIZE's limit; 0 means that there is no fixed one (RFC 1870 section 4)."""
    if re.fullmatch(r"[0-9]{1,20}", value) is None:
        return None
    return int(value) or None
