"""The judge of reply codes: what a reply means, and what is to be done about it.

The rules are rows of a table, tried from top to bottom: first what the text
alone can tell, then the enhanced status code (RFC 3463), then the code and the
phase (RFC 5321 section 4.2), then the class of the code. Scope decides: until
MAIL a refusal is about the host or the login, MAIL is about the sender, RCPT
about one recipient, DATA and the content about the message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_smtpx.smtp.envelope import Phase, ResultOutcome
    from django_smtpx.smtp.errors import SMTPError
    from django_smtpx.smtp.reply import Reply

FINAL_ACTIONS = frozenset({"fail", "suppress"})


class Judged(TypedDict):
    """A verdict as the fields of an error."""

    category: str
    action: str
    temporary: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reply or a failure is about (``category``) and what to do (``action``).

    ``temporary`` says whether trying again, with nothing changed, can help.
    """

    category: str
    action: str
    temporary: bool

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
        return {"category": self.category, "action": self.action, "temporary": self.temporary}

    def put_on(self, error: SMTPError) -> None:
        """Let it be the verdict on ``error``, in place of the one that it has."""
        error.category, error.action = self.category, self.action
        error.temporary = self.temporary


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


class Rule(NamedTuple):
    """One row: when phase, code, enhanced code and text fit, this is the verdict.

    ``phases`` are separated by spaces and "" fits any. ``code`` is a prefix of
    the three digits, ``enhanced`` a prefix, at a dot, of the enhanced code
    with its class left out. ``text`` is a pattern searched for without regard
    to case.
    """

    phases: str
    code: str
    enhanced: str
    text: str
    category: str
    action: str


_RECIPIENT = "rcpt data eod"
_MESSAGE = "mail rcpt data eod"

# fmt: off
RULES: tuple[Rule, ...] = (
    # The text says what no code can.
    Rule(_MESSAGE, "53", "", r"\bSTARTTLS\b", "tls_error", "reconnect"),
    Rule("rcpt", "452", "", r"\btoo many recipients\b", "too_many_recipients", "split"),
    Rule("rcpt", "552", "", r"\btoo many recipients\b", "too_many_recipients", "split"),
    Rule(_RECIPIENT, "4", "", r"gr[ae]y[- ]?list", "greylisted", "retry"),
    Rule("rcpt", "", "", r"receiving mail (at a rate|too quickly)", "recipient_rate", "retry"),
    Rule("greeting ehlo mail", "4", "", r"\btoo many (concurrent )?connections\b",
         "rate_limited", "slow"),
    Rule(_MESSAGE, "4", "7.1", r"cannot find your (reverse )?hostname", "sender_auth", "pause"),
    Rule(_MESSAGE, "5", "", r"\brelay(ing)? (access )?denied\b", "relay_denied", "fail"),
    # The login, whatever it is called.
    Rule("auth", "421", "", "", "server_busy", "pause"),
    Rule("auth", "4", "", "", "auth_failed", "pause"),
    Rule("auth", "5", "", "", "auth_failed", "hold"),
    Rule("starttls", "421", "", "", "server_busy", "pause"),
    Rule("starttls", "", "", "", "tls_error", "reconnect"),
    Rule(_MESSAGE, "5", "7.8", "", "auth_failed", "hold"),
    Rule(_MESSAGE, "5", "7.9", "", "auth_failed", "hold"),
    Rule(_MESSAGE, "5", "7.10", "", "tls_error", "reconnect"),
    Rule(_MESSAGE, "5", "7.11", "", "tls_error", "reconnect"),
    Rule(_MESSAGE, "530", "", "", "auth_required", "hold"),
    # Addressing status (RFC 3463 section 3.2).
    Rule(_RECIPIENT, "556", "1.10", "", "domain_unknown", "fail"),
    Rule(_RECIPIENT, "5", "1.0", "", "mailbox_unknown", "fail"),
    Rule("rcpt", "552", "1.1", "", "mailbox_full", "fail"),
    Rule(_RECIPIENT, "5", "1.1", "", "mailbox_unknown", "suppress"),
    Rule(_RECIPIENT, "5", "1.2", "", "domain_unknown", "fail"),
    Rule(_RECIPIENT, "5", "1.3", "", "address_invalid", "fail"),
    Rule(_RECIPIENT, "5", "1.6", "", "mailbox_unknown", "suppress"),
    Rule(_RECIPIENT, "5", "1.10", "", "mailbox_unknown", "suppress"),
    Rule(_RECIPIENT, "4", "1.1", "", "mailbox_unknown", "retry"),
    Rule(_RECIPIENT, "4", "1.2", "", "domain_unknown", "retry"),
    Rule(_MESSAGE, "", "1.7", "", "sender_rejected", "hold"),
    Rule(_MESSAGE, "", "1.8", "", "sender_rejected", "hold"),
    # Mailbox status (3.3).
    Rule(_RECIPIENT, "5", "2.1", "", "mailbox_disabled", "suppress"),
    Rule(_RECIPIENT, "4", "2.1", "", "mailbox_disabled", "retry"),
    Rule(_RECIPIENT, "5", "2.2", "", "mailbox_full", "fail"),
    Rule(_RECIPIENT, "4", "2.2", "", "mailbox_full", "retry"),
    Rule(_MESSAGE, "5", "2.3", "", "too_large", "fail"),
    # Mail system status (3.4).
    Rule(_MESSAGE, "4", "3.1", "", "server_busy", "next_host"),
    Rule("", "4", "3.2", "", "server_busy", "next_host"),
    Rule(_MESSAGE, "4", "3.0", "", "server_busy", "retry"),
    Rule(_MESSAGE, "5", "3.4", "", "too_large", "fail"),
    Rule(_MESSAGE, "4", "3.4", "", "server_busy", "retry"),
    # Network and routing status (3.5).
    Rule("", "4", "4.2", "", "disconnected", "reconnect"),
    Rule(_RECIPIENT, "5", "4.4", "", "domain_unknown", "fail"),
    Rule(_RECIPIENT, "5", "4.6", "", "loop", "fail"),
    # Mail delivery protocol status (3.6).
    Rule("rcpt", "", "5.3", "", "too_many_recipients", "split"),
    # Message content or media status (3.7).
    Rule(_MESSAGE, "5", "6.3", "", "unsupported", "fail"),
    Rule(_MESSAGE, "5", "6.7", "", "unsupported", "fail"),
    Rule(_MESSAGE, "5", "6", "", "content_rejected", "fail"),
    # Security and policy status (3.8; RFC 7372; RFC 7505).
    Rule(_MESSAGE, "5", "7.27", "", "sender_rejected", "fail"),
    *(Rule(_MESSAGE, "5", f"7.{detail}", "", "sender_auth", "fail")
      for detail in (20, 21, 22, 23, 24, 25, 26, 29)),
    *(Rule(_MESSAGE, "4", f"7.{detail}", "", "sender_auth", "pause")
      for detail in (20, 21, 22, 23, 24, 25, 26, 29)),
    Rule(_MESSAGE, "5", "7", "", "policy", "fail"),
    Rule("", "4", "7.28", "", "rate_limited", "slow"),
    Rule("rcpt", "450", "7.1", "", "greylisted", "retry"),
    Rule("rcpt", "451", "7.1", "", "greylisted", "retry"),
    # The code and the phase.
    Rule("greeting ehlo", "421", "", "", "server_busy", "pause"),
    Rule(_MESSAGE, "421", "", "", "server_busy", "retry"),
    Rule("greeting ehlo", "4", "", "", "server_busy", "next_host"),
    Rule("greeting ehlo", "5", "", "", "other_permanent", "next_host"),
    Rule(_MESSAGE, "503", "", "", "protocol_error", "reconnect"),
    Rule("rcpt", "550", "", "", "mailbox_unknown", "fail"),
    Rule("rcpt", "551", "", "", "mailbox_unknown", "fail"),
    Rule("rcpt", "501", "", "", "address_invalid", "fail"),
    Rule("rcpt", "553", "", "", "address_invalid", "fail"),
    Rule("rcpt", "556", "", "", "domain_unknown", "fail"),
    Rule("rcpt", "552", "", "", "mailbox_full", "fail"),
    Rule("mail data eod", "552", "", "", "too_large", "fail"),
    Rule("mail", "553", "", "", "sender_rejected", "fail"),
    Rule(_MESSAGE, "555", "", "", "unsupported", "fail"),
    Rule(_MESSAGE, "452", "", "", "server_busy", "retry"),
    # The class of the code.
    Rule("", "4", "", "", "other_temporary", "retry"),
    Rule(_MESSAGE, "5", "", "", "other_permanent", "fail"),
    Rule("", "5", "", "", "other_permanent", "next_host"),
)
# fmt: on


def judge_reply(phase: Phase, reply: Reply) -> Verdict:
    """Return what ``reply``, to a command of ``phase``, means.

    A 3yz, and a 2yz before the end of the content, is no refusal: it is judged as done.
    """
    if reply.severity < 4:
        return OK
    code, enhanced, text = str(reply.code), reply.enhanced_code[2:], reply.text
    for rule, pattern in _BY_PHASE[phase]:
        if (
            code.startswith(rule.code)
            and (not rule.enhanced or _under(enhanced, rule.enhanced))
            and (pattern is None or pattern.search(text))
        ):
            break
    temporary = rule.action not in FINAL_ACTIONS and (reply.severity == 4 or rule.action != "hold")
    return Verdict(rule.category, rule.action, temporary)


def _under(enhanced: str, prefix: str) -> bool:
    return enhanced == prefix or enhanced.startswith(f"{prefix}.")


_PHASES: tuple[Phase, ...] = (
    "resolve",
    "connect",
    "greeting",
    "ehlo",
    "starttls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "eod",
)


def _rules_of(phase: Phase) -> Iterator[tuple[Rule, re.Pattern[str] | None]]:
    for rule in RULES:
        if not rule.phases or phase in rule.phases.split():
            yield rule, re.compile(rule.text, re.IGNORECASE) if rule.text else None


_BY_PHASE = {phase: tuple(_rules_of(phase)) for phase in _PHASES}
