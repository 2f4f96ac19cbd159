"""Write into categories.md, for each category, an example and what is done about it by itself.

Run it as ``python docs/make_categories.py`` when the rules or what they lead to change; a test
compares the two. Examples are judged, and what is done is asked of the code, not of a table here.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import django
from django.conf import settings

if not settings.configured:
    settings.configure(INSTALLED_APPS=["django_smtpx"])
    django.setup()

from django_smtpx.ledger.suppressing import condemns
from django_smtpx.models import Category
from django_smtpx.pacing.routes import HOLDS, PAUSES, PROBES
from django_smtpx.retry.deciding import GREYLIST_STEPS
from django_smtpx.smtp import Reply, verdict
from django_smtpx.smtp.rules.rule import PHASES
from django_smtpx.smtp.rules.table import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent / "categories.md"
_NAMED = 2
SESSION = ("resolve", "connect", "greeting", "ehlo", "starttls", "auth")

EXAMPLES: dict[str, tuple[str, str, bool]] = {
    "ok": ("eod", "250 2.0.0 Ok: queued as B128E1E063", True),
    "mailbox_unknown": (
        "rcpt",
        (
            "550 5.1.1 <ann@example.com>: Recipient address rejected: User unknown "
            "in virtual mailbox "
            "table"
        ),
        True,
    ),
    "mailbox_disabled": (
        "rcpt",
        "550 5.2.1 The email account that you tried to reach is disabled. - gsmtp",
        False,
    ),
    "mailbox_full": ("rcpt", "452 4.2.2 <ann@example.com>: user is over quota", True),
    "address_invalid": ("rcpt", "501 5.1.3 Bad recipient address syntax", True),
    "domain_unknown": (
        "rcpt",
        (
            "556 5.1.10 <ann@example.com>: Recipient address rejected: Domain example.com does not "
            "accept mail (nullMX)"
        ),
        True,
    ),
    "recipient_rate": ("rcpt", "450 4.2.1 User is receiving mail too quickly", False),
    "policy": (
        "eod",
        (
            "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; "
            "authentication required; sender "
            "not authenticated for group"
        ),
        False,
    ),
    "sender_rejected": (
        "eod",
        (
            "554 Message rejected: Email address is not verified. The following "
            "identities failed the "
            "check in region EU-WEST-1: shop@example.com"
        ),
        True,
    ),
    "sender_auth": (
        "eod",
        (
            "550 5.7.26 This message does not have authentication information or fails to pass "
            "authentication checks (SPF or DKIM)."
        ),
        False,
    ),
    "reputation": (
        "rcpt",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
        False,
    ),
    "relay_denied": ("rcpt", "554 5.7.1 <ann@example.net>: Relay access denied", True),
    "auth_failed": ("auth", "535 5.7.8 Error: authentication failed", True),
    "auth_required": ("mail", "530 5.7.0 Authentication required", True),
    "quota_exhausted": ("eod", "454 Throttling failure: Daily message quota exceeded.", True),
    "greylisted": (
        "rcpt",
        "451 4.7.1 <ann@example.com>: Recipient address rejected: Greylisted for 5 minutes",
        False,
    ),
    "rate_limited": ("eod", "454 Throttling failure: Maximum sending rate exceeded.", True),
    "server_busy": ("mail", "452 4.3.1 Insufficient system storage", True),
    "too_many_recipients": ("rcpt", "452 4.5.3 Error: too many recipients", True),
    "spam": ("eod", "554 5.7.1 Message rejected as spam", False),
    "content_rejected": (
        "eod",
        (
            "552 5.7.0 This message was blocked because its content presents a potential security "
            "issue."
        ),
        False,
    ),
    "too_large": ("mail", "552 5.3.4 Message size exceeds fixed limit", True),
    "unsupported": ("mail", "555 5.5.4 Unsupported option: SMTPUTF8", True),
    "loop": ("eod", "554 5.4.6 Too many hops", True),
    "dns_error": ("rcpt", "451 4.4.0 DNS query failed for example.com", True),
    "tls_error": ("mail", "530 5.7.0 Must issue a STARTTLS command first", True),
    "disconnected": ("mail", "421 4.4.2 mx.example.com Error: timeout exceeded", True),
    "protocol_error": ("mail", "503 5.5.1 Error: nested MAIL command", True),
    "other_temporary": ("eod", "451 4.0.0 Try again later", True),
    "other_permanent": ("eod", "554 Transaction failed", True),
}
"""A reply of each category that a reply can have: its phase, and whether a relay says it."""

HEARD_NOTHING: tuple[tuple[str, str, verdict.Verdict], ...] = (
    ("no address of the host lets itself be connected to", "connect", verdict.UNREACHABLE),
    ("the DNS says nothing that could be used", "resolve", verdict.DNS_ERROR),
    ("TLS cannot be had, or the certificate does not hold", "starttls", verdict.TLS_FAILED),
    ("a login breaks off half way", "auth", verdict.AUTH_STUCK),
    ("credentials, and no mechanism that both sides have", "auth", verdict.UNUSABLE_AUTH),
    ("the server hangs up before MAIL", "ehlo", verdict.judge_disconnect("ehlo")),
    ("it hangs up later, before the end of the content", "data", verdict.judge_disconnect("data")),
    ("no answer in time before MAIL", "ehlo", verdict.judge_timeout("ehlo")),
    ("none later, before the end of the content", "data", verdict.judge_timeout("data")),
    ("what comes before MAIL is not SMTP", "ehlo", verdict.judge_garbage("ehlo")),
    ("what comes later is not SMTP", "data", verdict.judge_garbage("data")),
    ("the content has left, and no reply comes", "eod", verdict.UNKNOWN_OUTCOME),
    ("the mail needs an extension that the server has not", "mail", verdict.UNSUPPORTED),
    ("the mail is larger than the server has announced", "mail", verdict.TOO_LARGE),
    ("the address cannot be said in SMTP", "rcpt", verdict.ADDRESS_INVALID),
    ("the stored content cannot be read now", "data", verdict.UNREADABLE),
)
"""What is judged without a reply, and how."""

DECIDED: dict[str, str] = {
    "expired": "It is `failed`: nobody refused it, its time was over.",
    "suppressed": "It is `suppressed`, and no server was asked.",
}
"""What no verdict says, and the outbox itself decides."""

ALSO: dict[str, tuple[str, str]] = {
    "domain_unknown": ("the DNS says that there is no such domain, or that it takes no mail",
                       "fail"),
    "loop": ("this machine is the best mail server of the domain", "fail"),
}  # fmt: skip
"""What the search for a domain's own servers finds, with ``transport="mx"``."""


def parts() -> dict[str, str]:
    """Return, by category, what is written into its section; by "words" what stands above all."""
    return {"words": _words()} | {category.value: _part(category.value) for category in Category}


def actions() -> dict[str, set[str]]:
    """Return, by category, what can be asked for about it."""
    found: dict[str, set[str]] = defaultdict(set)
    for one in _verdicts():
        found[one.category].add(one.action)
    return found


class _Can(NamedTuple):
    """What can be: a category and an action, in which phases, by which class of codes, or why."""

    category: str
    action: str
    phases: tuple[str, ...]
    code: str = ""
    why: str = ""
    rule: str = ""


def _words() -> str:
    *first, last = (f"{pause.total_seconds() / 60:.0f}" for pause in PAUSES)
    probe, then = (_length(probe.total_seconds()) for probe in PROBES)
    short = ", ".join(f"{step / 60:.0f}" for step in GREYLIST_STEPS[:-1])
    return "\n".join(
        [
            "rests",
            (
                f": No mail of that mailer leaves for {', '.join(first)}, then {last} "
                f"minutes, after "
                "the first, the second, … failure in a row. Then one message probes "
                "it. Mail behind it "
                "waits untried, and no step of its schedule is used."
            ),
            "",
            "is held",
            (
                f": The same, but the first probe comes after {probe}, the next ones each "
                f"{then.removeprefix('1 ')}, or, where a person has to decide, none."
            ),
            "",
            "is tried again",
            (
                ": By the mailer’s schedule, [`retry`](retries.md), until it is sent "
                "or too old. After "
                f"greylisting when the reply says, and else after {short} and "
                f"{GREYLIST_STEPS[-1] / 60:.0f} minutes at the latest."
            ),
            "",
            "has failed",
            ": For good, and at once. Nothing more happens by itself.",
            "",
        ]
    )


def _part(category: str) -> str:
    lines = _example(category)
    rows = _rows(category)
    if rows:
        lines += [
            "| when | action | what is done by itself | by rules |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    if category in DECIDED:
        lines += [DECIDED[category], ""]
    return "\n".join(lines)


def _example(category: str) -> list[str]:
    if category not in EXAMPLES:
        return []
    phase, text, relay = EXAMPLES[category]
    code, _, words = text.partition(" ")
    judged = verdict.judge_reply(phase, Reply(int(code), (words,)), relay=relay)
    assert judged.category == category, (category, judged)
    by = f", by the rule `{judged.rule}`" if judged.rule else ""
    return [
        "```text",
        text,
        "```",
        "",
        f"In answer to {_said(phase)}: action `{judged.action}`{by}.",
        "",
    ]


def _said(phase: str) -> str:
    return {"eod": "the content", "connect": "the connection", "greeting": "the connection"}.get(
        phase, phase.upper()
    )


def _rows(category: str) -> list[str]:
    """Return the rows of a category's table: from MAIL on first, then before it."""
    found = [one for one in _verdicts() if one.category == category]
    rows = []
    for in_session in (False, True):
        by: dict[str, list[_Can]] = defaultdict(list)
        for one in found:
            phases = tuple(each for each in one.phases if (each in SESSION) is in_session)
            if phases:
                by_dns = one.why and category in ALSO and one.why == ALSO[category][0]
                done = (
                    _BY_ACTION[one.action]
                    if by_dns
                    else _done(category, one.action, in_session=in_session)
                )
                by[done].append(one._replace(phases=phases))
        for done, group in by.items():
            asked = ", ".join(f"`{action}`" for action in sorted({one.action for one in group}))
            rows.append(f"| {_when(group)} | {asked} | {done} | {_rules(group)} |")
    return rows


def _rules(group: list[_Can]) -> str:
    """Name the rules that say so, or how many there are, and the most general ones."""
    names = list(dict.fromkeys(one.rule for one in group if one.rule))
    shown = ", ".join(f"`{name}`" for name in names[-_NAMED:])
    return shown if len(names) <= _NAMED else f"{len(names)}, such as {shown}"


def _when(group: list[_Can]) -> str:
    heard = [one for one in group if not one.why]
    parts = [one.why for one in group if one.why]
    if heard:
        named = {phase for one in heard for phase in one.phases}
        said = dict.fromkeys(_said(phase) for phase in PHASES if phase in named)
        codes = {one.code for one in heard}
        kind = f"a {codes.pop()}yz" if len(codes) == 1 and codes != {""} else "a reply"
        parts.insert(0, f"{kind} to {', '.join(said)}")
    return "; ".join(parts)


def _verdicts() -> Iterator[_Can]:
    """Yield all that can be."""
    for rule in RULES:
        # Nobody replies before there is a connection.
        phases = [phase for phase in rule.phases.split() or PHASES if phase != "resolve"]
        code = (rule.code or rule.enhanced)[:1]
        yield _Can(rule.category, rule.action, tuple(phases), code, rule=rule.id)
    for why, phase, judged in HEARD_NOTHING:
        yield _Can(judged.category, judged.action, (phase,), why=why)
    for category, (why, action) in ALSO.items():
        # What the DNS says is final at once, though it comes before any session.
        yield _Can(category, action, ("rcpt",), why=why)
    yield _Can("ok", verdict.OK.action, ("eod",), why="the server takes the content")


def _done(category: str, action: str, *, in_session: bool) -> str:
    """Say what becomes of the delivery, and of what it is about."""
    if action == "hold" and category in HOLDS:
        return "The mailer is held; nothing bounces."
    if in_session:
        return "The next host is tried; where there is none, the mailer rests."
    if action == "hold" and category == "sender_rejected":
        return (
            "All mail of this sender is held, and nobody else’s: after a 4yz with probes, after a "
            "5yz until a person lets it go."
        )
    if action == "retry" and category == "unknown_outcome":
        return (
            'It is tried again, three times at most, or, with `on_unknown="hold"`, not at all; '
            "then a person decides."
        )
    return _BY_ACTION[action] + _suppressed(category, action)


_BY_ACTION = {
    "none": "It is sent.",
    "retry": "It is tried again.",
    "next_host": (
        "Another host gets it at once (not behind the content); where there is none, it is tried "
        "again, and after three such messages in a row the mailer rests."
    ),
    "reconnect": "It goes over a fresh connection, at once the first time; then it is tried again.",
    "split": "These recipients go in a transaction of their own, at once.",
    "slow": "It is tried again, and the mailer sends half as fast for a while.",
    "pause": "It is tried again, and the mailer rests.",
    "hold": "It waits for a person; other mail goes on.",
    "fail": "It has failed.",
    "suppress": "It has failed.",
}


def _suppressed(category: str, action: str) -> str:
    """Ask the code which refusals put the address on the suppression list, and say so."""
    if action not in verdict.FINAL_ACTIONS:
        return ""
    said = {"outcome": "failed", "action": action, "category": category}
    feeding = [
        phase
        for phase in ("rcpt", "eod")
        if condemns(SimpleNamespace(phase=phase, **said))  # type: ignore[arg-type]
    ]
    behind = " behind RCPT" if feeding == ["rcpt"] else ""
    return f" The address is [suppressed](suppression.md){behind}, where that is on." * bool(
        feeding
    )


def _length(seconds: float) -> str:
    return "1 hour" if seconds == 3600 else f"{seconds / 60:.0f} minutes"


def page(text: str) -> str:
    """Return ``text`` with each part as it is now."""
    for name, part in parts().items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->\n"
        before, found, rest = text.partition(begin)
        assert found, f"There is no {begin!r}"
        text = f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
