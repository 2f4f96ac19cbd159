"""What the text of a reply says, whoever says it."""

from __future__ import annotations

from django_smtpx.smtp.rules.rule import MESSAGE, Rule

_RECIPIENT = "rcpt data eod"


def _text(
    name: str,
    phases: str,
    code: str,
    verdict: str,
    text: str,
    *,
    source: str = "",
    enhanced: str = "",
    relay: bool | None = None,
) -> Rule:
    category, action = verdict.split()
    return Rule(
        id=f"text-{name}",
        phases=phases,
        code=code,
        enhanced=enhanced,
        text=text,
        category=category,
        action=action,
        relay=relay,
        source=source,
    )


RULES: tuple[Rule, ...] = (
    _text(
        "starttls",
        MESSAGE,
        "53",
        "tls_error reconnect",
        r"\bSTARTTLS\b",
        source="RFC 3207 section 4",
    ),
    _text(
        "too-many-recipients",
        "rcpt",
        "4",
        "too_many_recipients split",
        r"\btoo many recipients\b",
        source="RFC 5321 section 4.5.3.1.10",
    ),
    _text(
        "too-many-recipients-552",
        "rcpt",
        "552",
        "too_many_recipients split",
        r"\btoo many recipients\b",
        source="RFC 5321 section 4.5.3.1.10",
    ),
    _text(
        "greylisted",
        _RECIPIENT,
        "4",
        "greylisted retry",
        r"gr[ae]y[- ]?list",
        source="RFC 6647 section 2",
    ),
    _text(
        "receiving-rate",
        "rcpt",
        "",
        "recipient_rate retry",
        r"receiving mail (at a rate|too quickly)",
    ),
    _text(
        "connections",
        "connect greeting ehlo mail",
        "4",
        "rate_limited slow",
        r"\btoo many (concurrent )?connections\b",
    ),
    _text(
        "client-hostname",
        MESSAGE,
        "4",
        "sender_auth pause",
        r"cannot find your (reverse )?hostname",
        enhanced="4.7.1",
    ),
    _text(
        "relay-denied",
        MESSAGE,
        "5",
        "relay_denied hold",
        r"\brelay(ing)? (access )?denied\b",
        relay=True,
    ),
    _text(
        "relay-denied-mx",
        MESSAGE,
        "5",
        "relay_denied fail",
        r"\brelay(ing)? (access )?denied\b",
        relay=False,
    ),
)
