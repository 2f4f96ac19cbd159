"""A rule as a value: what a reply must be like, and what it means then."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from django_smtpx.smtp.envelope import Phase

PHASES: tuple[Phase, ...] = get_args(Phase)
SESSION = "connect greeting ehlo"
MESSAGE = "mail rcpt data eod"
RECIPIENT = "rcpt data eod"

_RECIPIENT_CATEGORIES = (
    "mailbox_unknown",
    "mailbox_disabled",
    "mailbox_full",
    "address_invalid",
    "domain_unknown",
    "recipient_rate",
    "policy",
)
CATEGORIES = (
    *_RECIPIENT_CATEGORIES,
    "sender_rejected",
    "sender_auth",
    "reputation",
    "relay_denied",
    "auth_failed",
    "auth_required",
    "quota_exhausted",
    "greylisted",
    "rate_limited",
    "server_busy",
    "too_many_recipients",
    "spam",
    "content_rejected",
    "too_large",
    "unsupported",
    "loop",
    "dns_error",
    "tls_error",
    "disconnected",
    "timeout",
    "protocol_error",
    "other_temporary",
    "other_permanent",
)
"""What a refusal can be about: the documented categories without those that no reply has."""

ACTIONS = (
    "retry",
    "next_host",
    "reconnect",
    "split",
    "slow",
    "pause",
    "hold",
    "fail",
    "suppress",
)
"""What can be done about a refusal: the documented actions without ``none``."""

ID_LIMIT = 60
"""Characters of a rule's id: the column of attempts that keeps it has as many."""

_ID = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
_CODE = re.compile(r"([45]([0-9][0-9]?)?)?", re.ASCII)
_ENHANCED = re.compile(r"([45](\.[0-9]{1,3}){1,2})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a refusal is about (``category``) and what to do (``action``), when all of it fits.

    ``phases`` are names separated by spaces. ``code`` is a prefix of the three
    digits, ``enhanced`` a prefix, at a dot, of the enhanced status code
    (RFC 3463). ``text`` and ``hosts`` are regular expressions, searched for
    without regard to case: in the text of the reply, its lines joined by a
    space and without codes, and in the name of the host. ``relay`` is True for
    a server that mail is submitted to, and False for a recipient's own. What is
    left out fits anything. ``id`` is stored with each attempt that the rule
    judged; ``provider`` and ``source`` tell people whose words these are and
    where they are documented.

    Raises ``ValueError`` for a name that is none, a pattern that does not
    compile, or a prefix that no code has.
    """

    id: str
    category: str
    action: str
    text: str = ""
    code: str = ""
    enhanced: str = ""
    phases: str = ""
    hosts: str = ""
    relay: bool | None = None
    provider: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if problem := _problem(self):
            raise ValueError(f"Rule {self.id!r}: {problem}")

    def holds(self, phase: Phase, *, relay: bool) -> bool:
        """Whether it can be about a reply in ``phase``, of a server of that kind."""
        return (not self.phases or phase in self.phases.split()) and self.relay in (None, relay)


def _problem(rule: Rule) -> str:
    """Return what is wrong with ``rule``, or ""."""
    for name in ("id", "category", "action", "text", "code", "enhanced", "phases", "hosts"):
        if not isinstance(getattr(rule, name), str):
            return f"{name} must be a string, not {getattr(rule, name)!r}."
    if not _ID.fullmatch(rule.id) or len(rule.id) > ID_LIMIT:
        return (
            f"id must be up to {ID_LIMIT} lower case letters, digits, '.', '_' and '-', and begin "
            "with a letter or digit."
        )
    if rule.relay not in (None, True, False):
        return f"relay must be True, False or None, not {rule.relay!r}."
    return _vocabulary(rule) or _pattern(rule)


def _vocabulary(rule: Rule) -> str:
    for name, given, known in (
        ("category", [rule.category], CATEGORIES),
        ("action", [rule.action], ACTIONS),
        ("phases", rule.phases.split(), PHASES),
    ):
        for word in given:
            if word not in known:
                return f"{name} has {word!r}, which is none of {', '.join(known)}."
    if rule.action == "suppress" and rule.category not in _RECIPIENT_CATEGORIES:
        return f"suppress is for categories about the recipient, and {rule.category} is none."
    if rule.action == "split" and rule.phases.split() != ["rcpt"]:
        return "split is for the phase rcpt alone."
    return ""


def _pattern(rule: Rule) -> str:
    if not _CODE.fullmatch(rule.code):
        return f"code must be the first digits of a refusal, as '5' or '550', not {rule.code!r}."
    if not _ENHANCED.fullmatch(rule.enhanced):
        return f"enhanced must be as '5.7' or '5.7.1', not {rule.enhanced!r}."
    for name, pattern in (("text", rule.text), ("hosts", rule.hosts)):
        try:
            re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            return f"{name} {pattern!r} is no regular expression: {error}."
    return ""


@dataclass(frozen=True, slots=True)
class Family:
    """What rules have in common: whose words they know, and where these are documented.

    Calling it makes a rule: its name, what it says ("category action"), and
    what the text must be like.
    """

    provider: str
    source: str
    phases: str = f"{SESSION} {MESSAGE}"
    hosts: str = ""

    def __call__(
        self,
        name: str,
        verdict: str,
        text: str = "",
        *,
        code: str = "",
        enhanced: str = "",
        phases: str = "",
        relay: bool | None = None,
        source: str = "",
    ) -> Rule:
        """Return the rule ``provider-name``."""
        category, action = verdict.split()
        return Rule(
            id=f"{self.provider}-{name}",
            provider=self.provider,
            phases=phases or self.phases,
            code=code,
            enhanced=enhanced,
            text=text,
            hosts=self.hosts,
            relay=relay,
            category=category,
            action=action,
            source=source or self.source,
        )
