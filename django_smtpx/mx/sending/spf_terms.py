"""An SPF record, term by term (RFC 7208 sections 4.6, 5, 6 and 12), and the macros in it (7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

    Address = IPv4Address | IPv6Address

Outcome = Literal["pass", "fail", "softfail", "neutral"]

_OUTCOMES: dict[str, Outcome] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_VERSION = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_LENGTHS = re.compile(r"(.*?)(/(?:0|[1-9][0-9]{0,2}))?(//(?:0|[1-9][0-9]{0,2}))?")
_EXPAND = re.compile(r"%(?:\{([A-Za-z])([0-9]*)(r?)([.+,/_=-]*)\}|([%_-]))", re.IGNORECASE)
_LITERALS = re.compile(r"[\x21-\x24\x26-\x7e]*")
_TOP_LABEL = re.compile(r"\.(?:[A-Za-z0-9-]*[A-Za-z-][A-Za-z0-9-]*)\.?", re.ASCII)
_WITH_DOMAIN = ("a", "mx", "ptr", "include", "exists")
_NEEDS_DOMAIN = ("include", "exists")
_WITH_LENGTHS = ("a", "mx")
_LETTERS = "slodiphv"
_LONGEST_NAME = 253


class Malformed(ValueError):
    """It is no record: each receiver takes that for an error that stays (section 4.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A mechanism, or the modifier ``redirect``, as ``text``; ``outcome`` is what a match means.

    ``domain`` may hold macros, and is "" for the present one. ``network`` is that of ``ip4`` and
    ``ip6``; ``lengths`` are the bits of a network, of IPv4 and of IPv6.
    """

    text: str
    name: str
    outcome: Outcome = "pass"
    domain: str = ""
    network: IPv4Network | IPv6Network | None = None
    lengths: tuple[int, int] = (32, 128)


def is_record(text: str) -> bool:
    """Whether a TXT record is one of SPF (section 4.5)."""
    return _VERSION.match(text) is not None


def parse(record: str) -> tuple[tuple[Term, ...], Term | None]:
    """Return the mechanisms of a record, in order, and its ``redirect``, if it has one.

    Raises :class:`Malformed` for an error anywhere in it.
    """
    mechanisms: list[Term] = []
    modifiers: dict[str, Term] = {}
    for text in filter(None, record.split(" ")[1:]):
        modifier = _MODIFIER.fullmatch(text)
        if modifier is None:
            mechanisms.append(_mechanism(text))
            continue
        name, value = modifier[1].lower(), modifier[2]
        if name not in ("redirect", "exp"):
            _check_macros(value, text)
            continue
        if name in modifiers:
            raise Malformed(said("it has %(name)s= twice", name=name))
        modifiers[name] = Term(text=text, name=name, domain=_domain(value, text))
    return tuple(mechanisms), modifiers.get("redirect")


def _mechanism(text: str) -> Term:
    qualifier, plain = (text[0], text[1:]) if text[0] in _OUTCOMES else ("+", text)
    name = re.split(r"[:/]", plain, maxsplit=1)[0]
    rest, name = plain[len(name) :], name.lower()
    outcome = _OUTCOMES[qualifier]
    if name in ("ip4", "ip6"):
        return Term(text=text, name=name, outcome=outcome, network=_network(name, rest, text))
    if name == "all" and not rest:
        return Term(text=text, name=name, outcome=outcome)
    if name not in _WITH_DOMAIN:
        raise Malformed(said("%(text)s is no mechanism", text=repr(text)))
    lengths = (32, 128)
    if name in _WITH_LENGTHS:
        rest, lengths = _lengths(rest, text)
    domain = _domain(rest[1:], text) if rest.startswith(":") else ""
    if rest and not domain:
        raise Malformed(said("%(text)s is no mechanism", text=repr(text)))
    if name in _NEEDS_DOMAIN and not domain:
        raise Malformed(said("%(text)s names no domain", text=repr(text)))
    return Term(text=text, name=name, outcome=outcome, domain=domain, lengths=lengths)


def _network(name: str, rest: str, text: str) -> IPv4Network | IPv6Network:
    address, slash, length = rest[1:].partition("/")
    version, kind = (4, IPv4Network) if name == "ip4" else (6, IPv6Network)
    most = 32 if name == "ip4" else 128
    try:
        if not rest.startswith(":") or ip_address(address).version != version or "%" in address:
            raise ValueError
        bits = _bits(length, most, text) if slash else most
        return kind(f"{address}/{bits}", strict=False)
    except ValueError:
        raise Malformed(said("%(text)s names no network", text=repr(text))) from None


def _lengths(rest: str, text: str) -> tuple[str, tuple[int, int]]:
    """Take the lengths of networks off the end of a term."""
    match = _LENGTHS.fullmatch(rest)
    assert match is not None
    own, short, long = match.groups()
    four = _bits(short[1:], 32, text) if short else 32
    six = _bits(long[2:], 128, text) if long else 128
    return own, (four, six)


def _bits(text: str, most: int, term: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,2}", text, re.ASCII) or int(text) > most:
        raise Malformed(said("%(term)s has a wrong length of its network", term=repr(term)))
    return int(text)


# -- macros --------------------------------------------------------------------------------------


def _domain(text: str, term: str) -> str:
    """Return a domain-spec (section 7.1): it ends in a macro, or in a label that is no number."""
    _check_macros(text, term)
    last = list(_EXPAND.finditer(text))
    if last and last[-1].end() == len(text) and last[-1][1]:
        return text
    behind = text[text.rfind(".", 0, len(text) - 1) :] if "." in text[:-1] else ""
    label = behind.strip(".")
    if not _TOP_LABEL.fullmatch(behind) or label.startswith("-") or label.endswith("-"):
        raise Malformed(said("%(term)s names no domain", term=repr(term)))
    return text


def _check_macros(text: str, term: str) -> None:
    at = 0
    for match in _EXPAND.finditer(text):
        letter, digits = match[1], match[2]
        known = letter is None or letter.lower() in _LETTERS
        if not _LITERALS.fullmatch(text[at : match.start()]) or not known:
            raise Malformed(said("%(term)s has a macro that nobody knows", term=repr(term)))
        if digits and int(digits) == 0:
            raise Malformed(said("%(term)s has a macro that takes no label", term=repr(term)))
        at = match.end()
    if not _LITERALS.fullmatch(text[at:]):
        raise Malformed(said("%(term)s has a character that must not be there", term=repr(term)))


def expand(domain: str, value: Callable[[str], str]) -> str:
    """Return a domain-spec with its macros filled in; ``value`` has the text of each letter.

    What is longer than a name may be loses labels from its left (section 7.3).
    """

    def fill(match: re.Match[str]) -> str:
        letter, digits, backwards, delimiters, other = match.groups()
        if other:
            return {"%": "%", "_": " ", "-": "%20"}[other]
        parts = re.split(f"[{re.escape(delimiters or '.')}]", value(letter.lower()))
        if backwards:
            parts.reverse()
        if digits:
            parts = parts[-int(digits) :]
        filled = ".".join(parts)
        return quote(filled, safe="-._~") if letter.isupper() else filled

    name = _EXPAND.sub(fill, domain).removesuffix(".")
    while len(name) > _LONGEST_NAME and "." in name:
        name = name.partition(".")[2]
    return name


def dotted(address: Address) -> str:
    """Return an address as the macro ``i`` has it: of IPv6, each nibble by itself."""
    if address.version == 4:
        return str(address)
    return ".".join(address.exploded.replace(":", ""))
