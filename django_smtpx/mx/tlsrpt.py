"""Reports on TLS (RFC 8460): what became of our sessions with a domain's servers, for the domain.

A domain that has a TXT record ``_smtp._tls`` wants to hear, once a day, how many sessions with its
servers had the TLS that its policy asks for, and how the others failed. Of the mail itself a report
says nothing.

1. Whoever has tried to open a session makes facts of it with :func:`facts`, one for each policy
   that the session was under, and books them: ``ledger.book_tls_session(*facts(…))``. Sessions
   that ended before TLS could (nobody there, a greeting of 421) are none; nor are those of mail
   that says ``TLS-Required: No``, as the reports themselves do: a report must not be the reason of
   the next one (section 5.3).
2. Facts are counted by day, policy, server and result, and written by
   ``ledger.flush_tls_sessions()`` where no byte moves.
3. Of the counts of a day, a :class:`Report` is made for each domain (section 4.4), and sent where
   its record says (:func:`parse_record`).
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from django_smtpx.mx.mta_sts import Found, Policy
    from django_smtpx.smtp.dane import TLSA
    from django_smtpx.smtp.errors import SMTPError

PolicyType = Literal["sts", "tlsa", "no-policy-found"]

MEDIA_TYPE = "application/tlsrpt+gzip"

NO_TLS = "starttls-not-supported"

MOST_DETAILS = 500
"""Failures that a report lists one by one; those of which there were most come first."""

_RECORD = re.compile(r"v=TLSRPTv1[ \t]*;")
_FIELD = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})=([\x21-\x3a\x3c\x3e-\x7e][ \x21-\x3a\x3c-\x7e]*)"
)
_OF_DANE = frozenset({"tlsa-invalid", "dnssec-invalid", "dane-required"})
_MOST_TARGETS = 10
_WORDS = 300


class BadRecord(ValueError):
    """A TXT record is not what RFC 8460 section 3 has."""


# -- facts ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFacts:
    """A policy, as a report names it: of which ``domain``, and in which ``lines``.

    ``mx`` are the names that an MTA-STS policy has for the servers. The domain
    is always the recipients', whose record is asked for where reports go.
    """

    type: PolicyType
    domain: str
    lines: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One try to have a session with a server, as seen by one policy.

    ``failure`` is a result type of section 4.3, "" where nothing failed. With
    ``counts`` the session is one of the total, as a success or a failure;
    without, it adds what else was wrong (section 4.5: one session may have
    several failures). ``reason`` says it in words, for the report's reader.
    """

    policy: PolicyFacts
    host: str = ""
    ip: str = ""
    sending_ip: str = ""
    failure: str = ""
    counts: bool = True
    reason: str = field(default="", compare=False)


def sts_facts(policy: Policy) -> PolicyFacts:
    """Return what a report says of an MTA-STS policy."""
    return PolicyFacts(type="sts", domain=policy.domain, lines=policy.lines, mx=policy.mx)


def tlsa_facts(domain: str, records: Iterable[TLSA]) -> PolicyFacts:
    """Return what a report says of TLSA records, in the form that the DNS shows them in."""
    lines = sorted(
        f"{one.usage} {one.selector} {one.mtype} {one.data.hex().upper()}" for one in records
    )
    return PolicyFacts(type="tlsa", domain=domain, lines=tuple(lines))


def facts(
    domain: str,
    host: str,
    *,
    tlsa: Sequence[TLSA] = (),
    found: Found | None = None,
    ip: str = "",
    sending_ip: str = "",
    tls: bool = True,
    error: SMTPError | None = None,
) -> tuple[Session, ...]:
    """Return what to book of one try to have a session with ``host``, a server of ``domain``.

    ``tlsa`` are the records that its certificate is judged by, and ``found`` is what was known of
    the domain's MTA-STS policy, None where nobody looked. Of a session, ``tls`` says whether it has
    TLS; of one that could not be had, ``error`` is why: without a ``tls_failure`` it is none of
    TLS, and nothing is to be booked. Where a policy is only tested, the try that was to show what
    it asks for is booked, and the one that then goes without is not. An address literal has no
    policies, and nobody to report to.
    """
    if domain.startswith("["):
        return ()
    failure = "" if tls else NO_TLS
    reason = ""
    if error is not None:
        if not error.tls_failure:
            return ()
        failure, reason, ip = error.tls_failure, error.message, error.ip or ip
    sessions = [
        Session(
            policy=policy, host=host, ip=ip, sending_ip=sending_ip, failure=failure, reason=reason
        )
        for policy in _policies(domain, tlsa, found, failure)
    ]
    if found is not None and found.failure is not None:
        sessions.append(
            Session(
                policy=_unfetched(domain, found),
                failure=found.failure.tls_failure,
                counts=False,
                reason=found.failure.text,
            )
        )
    return tuple(sessions)


def _policies(
    domain: str, tlsa: Sequence[TLSA], found: Found | None, failure: str
) -> list[PolicyFacts]:
    """Return the policies that a session is under: both kinds, where a domain has both."""
    policies: list[PolicyFacts] = []
    if tlsa or failure in _OF_DANE:
        policies.append(tlsa_facts(domain, tlsa))
    if found is not None and found.policy is not None and found.policy.mode != "none":
        policies.append(sts_facts(found.policy))
    return policies or [PolicyFacts(type="no-policy-found", domain=domain)]


def _unfetched(domain: str, found: Found) -> PolicyFacts:
    if found.policy is not None and found.policy.mode != "none":
        return sts_facts(found.policy)
    return PolicyFacts(type="sts", domain=domain)


# -- reports -------------------------------------------------------------------------------------


class Counted(NamedTuple):
    """How many sessions of a day were alike."""

    session: Session
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who reports: an organization, an address to write to, and the domain that submits."""

    organization: str
    contact: str
    domain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one domain is told of one day, in UTC."""

    domain: str
    day: date
    sender: Sender
    counted: tuple[Counted, ...]

    @property
    def id(self) -> str:
        """What tells it from other reports; the same each time that it is made."""
        return f"{self.day:%Y%m%d}.{self.domain}@{self.sender.domain}"

    @property
    def begins(self) -> datetime:
        """The first second of the day."""
        return datetime.combine(self.day, time(), UTC)

    @property
    def ends(self) -> datetime:
        """Its last second."""
        return datetime.combine(self.day, time(23, 59, 59), UTC)

    @property
    def file_name(self) -> str:
        """The name of its file (section 5.1), without what says that it is compressed."""
        span = f"{self.begins.timestamp():.0f}!{self.ends.timestamp():.0f}"
        return f"{self.sender.domain}!{self.domain}!{span}!001.json".replace("/", "_")

    def sessions(self, *, failed: bool) -> int:
        """Return how many sessions failed, or did not, each policy's counted by itself."""
        return _sessions(self.counted, failed=failed)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it (section 4.4)."""
        by_policy: dict[PolicyFacts, list[Counted]] = {}
        for one in self.counted:
            by_policy.setdefault(one.session.policy, []).append(one)
        return {
            "organization-name": self.sender.organization,
            "date-range": {
                "start-datetime": f"{self.begins:%Y-%m-%dT%H:%M:%SZ}",
                "end-datetime": f"{self.ends:%Y-%m-%dT%H:%M:%SZ}",
            },
            "contact-info": self.sender.contact,
            "report-id": self.id,
            "policies": [_of_policy(*item) for item in by_policy.items()],
        }

    def compressed(self) -> bytes:
        """Return it as it is sent, the same bytes each time."""
        text = json.dumps(self.as_dict(), ensure_ascii=False, indent=1)
        return gzip.compress(text.encode(), mtime=0)


def _of_policy(policy: PolicyFacts, counted: Sequence[Counted]) -> dict[str, Any]:
    shown: dict[str, Any] = {"policy-type": policy.type}
    if policy.type != "no-policy-found":
        shown["policy-string"] = list(policy.lines)
    shown["policy-domain"] = policy.domain
    if policy.mx:
        shown["mx-host"] = list(policy.mx)
    said: dict[str, Any] = {
        "policy": shown,
        "summary": {
            "total-successful-session-count": _sessions(counted, failed=False),
            "total-failure-session-count": _sessions(counted, failed=True),
        },
    }
    failures = sorted((one for one in counted if one.session.failure), key=_by_weight)
    if failures:
        said["failure-details"] = [_detail(*one) for one in failures[:MOST_DETAILS]]
    return said


def _sessions(counted: Iterable[Counted], *, failed: bool) -> int:
    return sum(
        one.times for one in counted if one.session.counts and bool(one.session.failure) is failed
    )


def _by_weight(one: Counted) -> tuple[int, str, str, str]:
    return -one.times, one.session.failure, one.session.host, one.session.ip


def _detail(session: Session, count: int) -> dict[str, Any]:
    detail = {
        "result-type": session.failure,
        "sending-mta-ip": session.sending_ip,
        "receiving-mx-hostname": session.host,
        "receiving-ip": session.ip,
        "failed-session-count": count,
        "failure-reason-code": session.reason[:_WORDS],
    }
    return {key: value for key, value in detail.items() if value}


# -- where they go -------------------------------------------------------------------------------


class Target(NamedTuple):
    """Where a domain wants its reports: an address, or the parts of an https URL."""

    uri: str
    address: str = ""
    host: str = ""
    port: int = 443
    path: str = ""


def parse_record(records: Sequence[str]) -> tuple[str, ...]:
    """Return the URIs that the TXT records at ``_smtp._tls`` tell, none where there is no record.

    Raises :class:`BadRecord` where there are several, or it is none (section 3). Fields that are
    not known are passed over.
    """
    ours = [record for record in records if _RECORD.match(record)]
    if not ours:
        return ()
    if len(ours) > 1:
        raise BadRecord(f"there are {len(ours)} TXT records for reports on TLS, and one is allowed")
    fields: dict[str, str] = {}
    parts = [part.strip(" \t") for part in ours[0].split(";")]
    if not parts[-1]:
        parts.pop()
    for part in parts:
        found = _FIELD.fullmatch(part)
        if found is None:
            raise BadRecord(f"its TXT record has the field {part[:80]!r}")
        fields.setdefault(found[1], found[2])
    uris = [uri.strip(" \t") for uri in fields.get("rua", "").split(",")]
    if not all(uris):
        raise BadRecord("its TXT record says not where reports are to go (rua)")
    return tuple(dict.fromkeys(uris))[:_MOST_TARGETS]


def parse_target(uri: str) -> Target:
    """Return where ``uri`` leads. Raises :class:`BadRecord` where nothing can be sent."""
    try:
        parts = urlsplit(uri)
        port = parts.port or 443
    except ValueError as error:
        raise BadRecord(f"{uri!r} is no URI: {error}") from error
    if parts.scheme == "mailto" and parts.path:
        return Target(uri, address=unquote(parts.path))
    if parts.scheme == "https" and parts.hostname and parts.username is None:
        path = parts.path or "/"
        query = f"?{parts.query}" if parts.query else ""
        return Target(uri, host=parts.hostname.lower(), port=port, path=path + query)
    raise BadRecord(f"{uri!r} is neither a mailto nor an https URI that reports can go to")
