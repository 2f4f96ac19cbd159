"""What a domain asks of receivers whose mail claims to be from it: DMARC (RFC 9989).

The record is that of the domain itself or, where it has none, of the organisation it is part of.
That one is found by walking up the tree of names (section 4.10), without a list of public suffixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from django_smtpx.mx.sending import tags
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_smtpx.mx.answers import Answer

Policy = Literal["none", "quarantine", "reject"]

MOST_STEPS = 8
"""Names that are asked about, at most, on the way up (section 4.10)."""

_POLICIES: dict[str, Policy] = {"none": "none", "quarantine": "quarantine", "reject": "reject"}


class Texts(Protocol):
    """As much of a :class:`~django_smtpx.mx.dns.Resolver` as is needed here."""

    def txt(self, name: str) -> Answer[str]:
        """Return the TXT records at ``name``."""


class BadRecord(ValueError):
    """What is there is no record, and receivers take no heed of it; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A domain's record. ``policy`` is for mail from that domain, ``below`` from those below it.

    ``strict_dkim`` and ``strict_spf``: the domains have to be the same, and not only of the same
    organisation. ``psd`` is "y" for a public suffix, "n" for an organisation's own, "u" else.
    """

    domain: str
    text: str
    policy: Policy = "none"
    below: Policy = "none"
    strict_dkim: bool = False
    strict_spf: bool = False
    psd: str = "u"


def discover(resolver: Texts, domain: str) -> tuple[Record, Policy] | None:
    """Return the record that holds for mail from ``domain``, and its policy for that; None where
    there is none.

    Raises :class:`BadRecord` where the domain's own is none, and
    :class:`~django_smtpx.smtp.errors.ResolveError` where nobody can say.
    """
    own = record_of(resolver, domain)
    if own is not None:
        return own, own.policy
    above = _record_at(resolver, organisation(resolver, domain))
    return None if above is None else (above, above.below)


def organisation(resolver: Texts, domain: str) -> str:
    """Return the organisational domain of ``domain`` (section 4.10.2): itself, where no record
    tells of another.
    """
    found = domain
    for name in _upwards(domain):
        record = _record_at(resolver, name)
        if record is None:
            continue
        if record.psd == "n":
            return name
        if record.psd == "y" and name != domain:
            return ".".join(domain.split(".")[-name.count(".") - 2 :])
        found = name
    return found


def aligned(resolver: Texts, domain: str, other: str, *, strict: bool) -> bool:
    """Whether what was verified for ``other`` counts for mail from ``domain`` (section 4.10)."""
    if domain == other or strict:
        return domain == other
    return organisation(resolver, domain) == organisation(resolver, other)


def record_of(resolver: Texts, domain: str) -> Record | None:
    """Return the record at a domain, None where there is none. Raises :class:`BadRecord`."""
    texts = [one for one in resolver.txt(f"_dmarc.{domain}").records if _claims(one)]
    if len(texts) > 1:
        raise BadRecord(
            said(
                "There are %(count)s DMARC records at _dmarc.%(domain)s",
                count=len(texts),
                domain=domain,
            )
        )
    return parse(domain, texts[0]) if texts else None


def parse(domain: str, text: str) -> Record:
    """Return a record (section 4.7). Raises :class:`BadRecord`."""
    try:
        found = tags.parse(text)
    except tags.Malformed as error:
        raise BadRecord(
            said(
                "The record at _dmarc.%(domain)s is malformed: %(error)s",
                domain=domain,
                error=error,
            )
        ) from error
    policy = _POLICIES.get(found.get("p", "none").lower())
    below = _POLICIES.get(found.get("sp", policy or "none").lower())
    if policy is None or below is None:
        raise BadRecord(
            said("The record at _dmarc.%(domain)s has a policy that nobody knows", domain=domain)
        )
    return Record(
        domain=domain,
        text=text,
        policy=policy,
        below=below,
        strict_dkim=found.get("adkim", "r").lower() == "s",
        strict_spf=found.get("aspf", "r").lower() == "s",
        psd=found.get("psd", "u").lower(),
    )


def _claims(text: str) -> bool:
    name, _, value = text.partition(";")[0].partition("=")
    return name.strip() == "v" and value.strip() == "DMARC1"


def _record_at(resolver: Texts, domain: str) -> Record | None:
    """Return the record at a domain on the way up; what is none there is passed over."""
    try:
        return record_of(resolver, domain)
    except BadRecord:
        return None


def _upwards(domain: str) -> Iterator[str]:
    """Give the domain, and those above it; of long ones the seventh from the top comes next."""
    labels = domain.split(".")
    yield domain
    rest = labels[1:] if len(labels) <= MOST_STEPS else labels[1 - MOST_STEPS :]
    for at in range(len(rest)):
        yield ".".join(rest[at:])
