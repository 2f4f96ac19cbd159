"""The judge of reply codes: what a reply means, and what is to be done about it.

The :mod:`.rules` are tried from top to bottom: first the caller's own, then
what providers document, then what the text alone can tell, then the enhanced
status code (RFC 3463), then the code and the phase (RFC 5321 section 4.2), then
the class of the code. Scope decides: until MAIL a refusal is about the host or
the login, MAIL is about the sender, RCPT about one recipient, DATA and the
content about the message. No recipient is given up for a fault that is ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from django_smtpx.smtp.rules.rule import PHASES, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_smtpx.smtp.envelope import Phase, ResultOutcome
    from django_smtpx.smtp.errors import SMTPError
    from django_smtpx.smtp.reply import Reply

FINAL_ACTIONS = frozenset({"fail", "suppress"})


class Judged(TypedDict):
    """A verdict as the fields of an error."""

    category: str
    action: str
    temporary: bool
    rule: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reply or a failure is about (``category``) and what to do (``action``).

    ``temporary`` says whether trying again, with nothing changed, can help.
    ``rule`` is the id of the rule that says so; "" where it took none.
    """

    category: str
    action: str
    temporary: bool
    rule: str = ""

    @property
    def outcome(self) -> ResultOutcome:
        """What it makes of a recipient."""
        if self.action == "none":
            return "sent"
        if self.category == "unknown_outcome":
            return "unknown"
        return "failed" if self.action in FINAL_ACTIONS else "deferred"

    @property
    def fields(self) -> Judged:
        """It as the fields of an error that is made with it."""
        return {
            "category": self.category,
            "action": self.action,
            "temporary": self.temporary,
            "rule": self.rule,
        }

    def put_on(self, error: SMTPError) -> None:
        """Let it be the verdict on ``error``, in place of the one that it has."""
        error.category, error.action = self.category, self.action
        error.temporary, error.rule = self.temporary, self.rule


OK = Verdict("ok", "none", False)

# -- failures without a reply --------------------------------------------------------------------

UNREACHABLE = Verdict("unreachable", "next_host", True)
DNS_ERROR = Verdict("dns_error", "next_host", True)
TLS_FAILED = Verdict("tls_error", "next_host", True)
TLS_RECONNECT = Verdict("tls_error", "reconnect", True)
UNUSABLE_AUTH = Verdict("auth_failed", "hold", False)
AUTH_STUCK = Verdict("auth_failed", "pause", True)
UNREADABLE = Verdict("other_temporary", "retry", True)
UNSUPPORTED = Verdict("unsupported", "fail", False)
TOO_LARGE = Verdict("too_large", "fail", False)
ADDRESS_INVALID = Verdict("address_invalid", "fail", False)
WITHDRAWN = Verdict("other_temporary", "retry", True)
UNKNOWN_OUTCOME = Verdict("unknown_outcome", "retry", True)

_SESSION = frozenset({"resolve", "connect", "greeting", "ehlo", "starttls", "auth"})


def judge_disconnect(phase: Phase) -> Verdict:
    """Return the verdict on a connection that ended before the command got a whole reply."""
    return Verdict("disconnected", "next_host" if phase in _SESSION else "retry", True)


def judge_timeout(phase: Phase) -> Verdict:
    """Return the verdict on a command that got no whole reply in time."""
    return Verdict("timeout", "next_host" if phase in _SESSION else "retry", True)


def judge_garbage(phase: Phase) -> Verdict:
    """Return the verdict on something that is no reply, or no answer to what was asked."""
    return Verdict("protocol_error", "next_host" if phase in _SESSION else "retry", True)


# -- replies -------------------------------------------------------------------------------------

_Row: TypeAlias = "tuple[Rule, re.Pattern[str] | None, re.Pattern[str] | None]"

_AT_START = re.compile(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.])", re.ASCII)
_WITHIN = re.compile(r"(?:#|[(\[])([45]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])", re.ASCII)
_SPACE = re.compile(r"\s+")
_ATOMS = r"[^\s<>()\[\]\"',;:@.]+(?:\.[^\s<>()\[\]\"',;:@.]+)*"
_ADDRESS = re.compile(rf"{_ATOMS}@{_ATOMS}")
_SOMEBODY = "x@y"
_LOOKED_AT = 1_000
"""Characters of a text that are judged: no server says more to the point."""
_OWN_TABLES = 16


def judge_reply(
    phase: Phase, reply: Reply, *, host: str = "", relay: bool = True, own: Sequence[Rule] = ()
) -> Verdict:
    """Return what ``reply``, to a command of ``phase``, means.

    ``host`` is the server's name. ``relay`` says whether mail is submitted to
    it, so that a refusal to relay is the site's own affair, or whether it is
    the recipient's own. The rules of ``own`` are tried before those of this
    package. A 3yz, and a 2yz before the end of the content, is no refusal: it
    is judged as done.
    """
    if reply.severity < 4:
        return OK
    code = str(reply.code)
    enhanced = _enhanced_code(reply)
    text = _plain_text(reply, code, enhanced)
    # What people are called is no reason: a refusal of <spam@example.com> is not about spam.
    tables = [(_ADDRESS.sub(_SOMEBODY, text), _table(phase, relay))]
    if own:
        tables.insert(0, (text, _compiled(tuple(own), phase, relay)))
    rule = next(
        rule
        for text, table in tables
        for rule, in_text, in_host in table
        if code.startswith(rule.code)
        and (not rule.enhanced or _under(enhanced, rule.enhanced))
        and (in_host is None or in_host.search(host))
        and (in_text is None or in_text.search(text))
    )
    temporary = rule.action not in FINAL_ACTIONS and (reply.severity == 4 or rule.action != "hold")
    return Verdict(rule.category, rule.action, temporary, rule.id)


def _under(enhanced: str, prefix: str) -> bool:
    return enhanced == prefix or enhanced.startswith(f"{prefix}.")


def _enhanced_code(reply: Reply) -> str:
    """Return the enhanced code, also where it does not stand as RFC 2034 section 4 has it.

    qmail and its kin put it at the end, as ``(#5.1.1)``; others have no space
    behind it. Its class must agree with the code's in any case.
    """
    if reply.enhanced_code:
        return reply.enhanced_code
    severity = str(reply.severity)
    first = _AT_START.match(reply.lines[0])
    if first is not None:
        return first[0] if first[0][0] == severity else ""
    return next((code for code in _WITHIN.findall(reply.text) if code[0] == severity), "")


def _plain_text(reply: Reply, code: str, enhanced: str) -> str:
    """Return the lines joined by a space, without the codes that are repeated in them."""
    text = reply.text[:_LOOKED_AT]
    if code in text:
        repeated = rf"(?<![\w.]){code}[- ](?:{re.escape(enhanced)}(?![0-9.]))?"
        text = re.sub(repeated if enhanced else rf"(?<![\w.]){code}[- ]", "", text)
    return _SPACE.sub(" ", text).strip()


@cache
def _table(phase: Phase, relay: bool) -> tuple[_Row, ...]:  # noqa: FBT001 (a key)
    from django_smtpx.smtp.rules.table import RULES

    return _rows(RULES, phase, relay=relay)


@lru_cache(_OWN_TABLES * len(PHASES))
def _compiled(own: tuple[Rule, ...], phase: Phase, relay: bool) -> tuple[_Row, ...]:  # noqa: FBT001
    return _rows(own, phase, relay=relay)


def _rows(rules: Sequence[Rule], phase: Phase, *, relay: bool) -> tuple[_Row, ...]:
    return tuple(
        (rule, _pattern(rule.text), _pattern(rule.hosts))
        for rule in rules
        if rule.holds(phase, relay=relay)
    )


@cache
def _pattern(text: str) -> re.Pattern[str] | None:
    return re.compile(text, re.IGNORECASE) if text else None
