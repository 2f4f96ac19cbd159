"""Where codes and rules are documented: sections of RFCs, and providers' own pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django_smtpx.smtp.rules.table import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_smtpx.smtp import Rule

REGISTRY = "https://www.iana.org/assignments/smtp-enhanced-status-codes/"
"""What enhanced codes have been given out since RFC 3463 (RFC 5248)."""

_RFC = "https://www.rfc-editor.org/rfc/rfc{}.html"
_NAMED = re.compile(r"RFC (\d{3,5})(?: section ([0-9]+(?:\.[0-9]+)*))?")
_ENHANCED = re.compile(r"[245]\.([0-9]{1,3})\.([0-9]{1,3})")

_CODES = {
    432: "RFC 4954 section 6",
    454: "RFC 4954 section 6",
    521: "RFC 7504 section 3",
    530: "RFC 4954 section 6",
    534: "RFC 4954 section 6",
    535: "RFC 4954 section 6",
    538: "RFC 4954 section 6",
    556: "RFC 7504 section 4",
}
"""Replies that have their meaning from elsewhere than RFC 5321."""

_NUMBERED = {
    *(211, 214, 220, 221, 250, 251, 252, 354, 421, 450, 451, 452, 455),
    *(500, 501, 502, 503, 504, 550, 551, 552, 553, 554, 555),
}
"""Those that RFC 5321 section 4.2.3 lists."""

_SECTIONS = {"0": 9, "1": 9, "2": 5, "3": 6, "4": 8, "5": 6, "6": 6, "7": 8}
"""How many details of each subject are in RFC 3463; its section is 3.1 for subject 0, and so on."""

_LATER = {
    "1.9": "RFC 3886 section 3.3.4",
    "1.10": "RFC 7505 section 4.2",
    "5.6": "RFC 4954 section 6",
    "6.6": "RFC 4468",
    "6.7": "RFC 6531 section 4.3",
    "6.8": "RFC 6531 section 4.3",
    "6.9": "RFC 6531 section 4.3",
    "7.8": "RFC 4954 section 6",
    "7.9": "RFC 4954 section 6",
    "7.10": "RFC 5248 section 2.4",
    "7.11": "RFC 4954 section 6",
    "7.12": "RFC 4954 section 6",
    "7.13": "RFC 5248 section 2.4",
    "7.14": "RFC 5248 section 2.4",
    "7.20": "RFC 7372 section 3.1",
    "7.21": "RFC 7372 section 3.1",
    "7.22": "RFC 7372 section 3.1",
    "7.23": "RFC 7372 section 3.2",
    "7.24": "RFC 7372 section 3.2",
    "7.25": "RFC 7372 section 3.3",
    "7.26": "RFC 7372 section 3.4",
    "7.27": "RFC 7505 section 4.1",
}
"""What was added to the subjects of RFC 3463, by subject and detail."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A page on the Web, and what it is called: "RFC 5321 section 4.2.3", "docs.example.com"."""

    url: str
    title: str


def for_code(code: int | None) -> Reference | None:
    """Return where the meaning of a reply's code stands."""
    if code is None:
        return None
    default = "RFC 5321 section 4.2.3" if code in _NUMBERED else "RFC 5321 section 4.2.1"
    return _named(_CODES.get(code, default))


def for_enhanced_code(code: str) -> Reference | None:
    """Return where an enhanced code is defined; the registry for what is not known here."""
    match = _ENHANCED.fullmatch(code)
    if match is None:
        return None
    subject, detail = match.groups()
    later = _LATER.get(f"{subject}.{detail}")
    if later is not None:
        return _named(later)
    if int(detail) < _SECTIONS.get(subject, 0):
        return _named(f"RFC 3463 section 3.{int(subject) + 1}")
    return Reference(REGISTRY, "IANA")


def for_rule(name: str, own: Iterable[Rule] = ()) -> Reference | None:
    """Return where the words that a rule knows are documented, if that is on the Web.

    ``own`` are the site's own rules, which come before those of the package.
    """
    rule = next((rule for rule in own if rule.id == name), None) or _by_id().get(name)
    return None if rule is None else _source(rule.source)


def _source(text: str) -> Reference | None:
    if _NAMED.fullmatch(text):
        return _named(text)
    parts = urlsplit(text)
    # Nobody is sent to a page that somebody on the way could have written.
    return Reference(text, parts.hostname) if parts.scheme == "https" and parts.hostname else None


def _named(text: str) -> Reference | None:
    match = _NAMED.fullmatch(text)
    if match is None:
        return None
    anchor = f"#section-{match[2]}" if match[2] else ""
    return Reference(f"{_RFC.format(match[1])}{anchor}", text)


@cache
def _by_id() -> dict[str, Rule]:
    return {rule.id: rule for rule in RULES}
