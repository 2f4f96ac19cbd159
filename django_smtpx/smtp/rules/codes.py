"""What a reply means by its codes alone: the enhanced code, then the code, then its class.

An enhanced code counts only where its class agrees with the code's (RFC 2034
section 4). The last rules fit everything, so that each refusal has a verdict.
"""

from __future__ import annotations

from django_smtpx.smtp.rules import phrases
from django_smtpx.smtp.rules.rule import MESSAGE, SESSION, Rule

_RECIPIENT = "rcpt data eod"

_RFC3463 = "RFC 3463 section 3"
_RFC4954 = "RFC 4954 section 6"
_RFC5321 = "RFC 5321 section 4.2"
_RFC7372 = "RFC 7372 section 3"


def _enhanced(
    phases: str,
    enhanced: str,
    verdict: str,
    source: str = _RFC3463,
    *,
    code: str = "",
    name: str = "",
    relay: bool | None = None,
) -> Rule:
    category, action = verdict.split()
    return Rule(
        id=f"enhanced-{name or enhanced}",
        phases=phases,
        relay=relay,
        code=code or enhanced[0],
        enhanced=enhanced,
        category=category,
        action=action,
        source=source,
    )


def _code(
    name: str,
    phases: str,
    code: str,
    verdict: str,
    source: str = _RFC5321,
    *,
    relay: bool | None = None,
    text: str = "",
) -> Rule:
    category, action = verdict.split()
    return Rule(
        id=f"code-{name}",
        phases=phases,
        code=code,
        text=text,
        category=category,
        action=action,
        relay=relay,
        source=source,
    )


# The order of commands, the login and TLS, whatever is said of them.
FIRST: tuple[Rule, ...] = (
    _code("555", MESSAGE, "555", "unsupported fail", "RFC 5321 section 4.1.1.11"),
    _code("503", MESSAGE, "503", "protocol_error reconnect"),
    _code("starttls-421", "starttls", "421", "server_busy pause", "RFC 5321 section 3.8"),
    _code("starttls-4yz", "starttls", "4", "tls_error reconnect", "RFC 3207 section 4"),
    _code("starttls-5yz", "starttls", "5", "tls_error reconnect", "RFC 3207 section 4"),
    _code("auth-421", "auth", "421", "server_busy pause", "RFC 5321 section 3.8"),
    _code("auth-432", "auth", "432", "auth_failed hold", _RFC4954),
    _code("auth-538", "auth", "538", "tls_error reconnect", "RFC 2554 section 6"),
    _code("auth-4yz", "auth", "4", "auth_failed pause", _RFC4954),
    _code("auth-5yz", "auth", "5", "auth_failed hold", _RFC4954),
    _code("530", MESSAGE, "530", "auth_required hold", _RFC4954, relay=True),
    _code("530-mx", MESSAGE, "530", "relay_denied fail", _RFC4954, relay=False),
)

ENHANCED: tuple[Rule, ...] = (
    # Addressing status (3.2).
    _enhanced(
        _RECIPIENT, "5.1.10", "domain_unknown fail", "RFC 7505", code="556", name="556-5.1.10"
    ),
    _enhanced(_RECIPIENT, "5.1.10", "mailbox_unknown suppress"),
    _enhanced("mail", "5.1", "sender_rejected hold", name="mail-5.1"),
    _enhanced(_RECIPIENT, "5.1.0", "mailbox_unknown fail"),
    _enhanced("rcpt", "5.1.1", "mailbox_full fail", code="552", name="552-5.1.1"),
    _enhanced(_RECIPIENT, "5.1.1", "mailbox_unknown suppress"),
    _enhanced(_RECIPIENT, "5.1.2", "domain_unknown fail"),
    _enhanced(_RECIPIENT, "5.1.4", "address_invalid fail"),
    _enhanced(_RECIPIENT, "5.1.6", "mailbox_unknown suppress"),
    _enhanced(MESSAGE, "5.1.7", "sender_rejected hold"),
    _enhanced(MESSAGE, "5.1.8", "sender_rejected hold"),
    _enhanced(_RECIPIENT, "4.1.1", "mailbox_unknown retry"),
    _enhanced(_RECIPIENT, "4.1.2", "domain_unknown retry"),
    _enhanced(MESSAGE, "4.1.7", "sender_rejected hold"),
    _enhanced(MESSAGE, "4.1.8", "sender_rejected hold"),
    # Mailbox status (3.3).
    _enhanced(_RECIPIENT, "5.2.1", "mailbox_disabled suppress"),
    _enhanced(_RECIPIENT, "5.2.2", "mailbox_full fail"),
    _enhanced(MESSAGE, "5.2.3", "too_large fail"),
    _enhanced(_RECIPIENT, "4.2.1", "mailbox_disabled retry"),
    _enhanced(_RECIPIENT, "4.2.2", "mailbox_full retry"),
    # Mail system status (3.4).
    _enhanced(MESSAGE, "5.3.4", "too_large fail"),
    _enhanced(MESSAGE, "4.3.1", "server_busy next_host"),
    _enhanced("", "4.3.2", "server_busy next_host", code="421"),
    _enhanced(MESSAGE, "4.3.5", "other_temporary retry"),
    _enhanced(MESSAGE, "4.3", "server_busy retry"),
    _enhanced(MESSAGE, "5.3", "other_permanent fail"),
    # Network and routing status (3.5).
    _enhanced(_RECIPIENT, "5.4.4", "domain_unknown fail"),
    _enhanced(_RECIPIENT, "5.4.6", "loop fail"),
    _enhanced("", "4.4.2", "disconnected reconnect"),
    _enhanced(MESSAGE, "4.4.5", "server_busy retry"),
    _enhanced(_RECIPIENT, "5.2", "other_permanent fail"),
    _enhanced(_RECIPIENT, "5.4", "other_permanent fail"),
    # Mail delivery protocol status (3.6).
    _enhanced("rcpt", "5.5.3", "too_many_recipients split", "RFC 5321 section 4.5.3.1.10"),
    _enhanced("rcpt", "4.5.3", "too_many_recipients split", "RFC 5321 section 4.5.3.1.10"),
    _enhanced("rcpt", "5.5.4", "address_invalid fail", name="rcpt-5.5.4"),
    _enhanced(MESSAGE, "5.5.1", "protocol_error hold"),
    _enhanced(MESSAGE, "5.5.2", "protocol_error hold"),
    _enhanced(MESSAGE, "5.5.4", "protocol_error hold"),
    # Message content or media status (3.7).
    _enhanced(MESSAGE, "5.6.3", "unsupported fail"),
    _enhanced(MESSAGE, "5.6.7", "unsupported fail", "RFC 6531 section 4.3"),
    _enhanced(MESSAGE, "5.6", "content_rejected fail"),
    # Security and policy status (3.8).
    _enhanced("mail rcpt", "5.7.8", "auth_failed hold", _RFC4954, relay=True),
    _enhanced("mail rcpt", "5.7.9", "auth_failed hold", _RFC4954, relay=True),
    _enhanced(MESSAGE, "5.7.10", "tls_error reconnect", "RFC 5248 section 2.4"),
    _enhanced(MESSAGE, "5.7.11", "tls_error reconnect", "RFC 4954 section 6"),
    *(
        _enhanced(MESSAGE, f"{severity}.7.{detail}", f"sender_auth {action}", _RFC7372)
        for severity, action in ((5, "fail"), (4, "pause"))
        for detail in (20, 21, 22, 23, 24, 25, 26, 29)
    ),
    _enhanced(MESSAGE, "5.7.27", "sender_rejected hold", "RFC 7505 section 4.2"),
    _enhanced("", "4.7.28", "rate_limited slow", "RFC 8996"),
    _enhanced("rcpt", "4.7.1", "greylisted retry", "RFC 6647 section 2", code="45"),
    _enhanced(MESSAGE, "5.7", "policy fail"),
)

CODES: tuple[Rule, ...] = (
    _code("ehlo-501", "ehlo", "501", "protocol_error hold", "RFC 5321 section 4.1.1.1"),
    _code("ehlo-504", "ehlo", "504", "protocol_error hold", "RFC 5321 section 4.1.1.1"),
    _code("session-421", SESSION, "421", "server_busy next_host", "RFC 5321 section 3.8"),
    _code("session-4yz", SESSION, "4", "server_busy next_host"),
    _code("421", MESSAGE, "421", "server_busy retry", "RFC 5321 section 3.8"),
    # Words that are about the server, or about nothing, are not about the mailbox.
    _code("no-reason", "rcpt", "55", "other_permanent fail", text=phrases.NO_REASON),
    _code("rcpt-550", "rcpt", "550", "mailbox_unknown fail"),
    _code("rcpt-551", "rcpt", "551", "mailbox_unknown fail", "RFC 5321 section 3.4"),
    _code("rcpt-501", "rcpt", "501", "address_invalid fail"),
    _code("rcpt-553", "rcpt", "553", "address_invalid fail"),
    _code("rcpt-556", "rcpt", "556", "domain_unknown fail", "RFC 7504 section 4"),
    _code("rcpt-51x", "rcpt", "51", "mailbox_unknown fail", "RFC 1846 section 2"),
    _code("571", MESSAGE, "571", "policy fail", "RFC 3463 section 3.8"),
    _code("500", "mail rcpt data", "500", "protocol_error hold"),
    _code("502", MESSAGE, "502", "protocol_error hold"),
    _code("504", MESSAGE, "504", "protocol_error hold"),
    _code("mail-501", "mail", "501", "protocol_error hold"),
    _code("rcpt-552", "rcpt", "552", "mailbox_full fail"),
    _code("552", MESSAGE, "552", "too_large fail", "RFC 1870 section 6.1"),
    _code("mail-553", "mail", "553", "sender_rejected hold"),
    _code("452", MESSAGE, "452", "server_busy retry"),
    _code("4yz", "", "4", "other_temporary retry", "RFC 5321 section 4.2.1"),
    _code("message-5yz", MESSAGE, "5", "other_permanent fail", "RFC 5321 section 4.2.1"),
    _code("5yz", "", "5", "other_permanent next_host", "RFC 5321 section 4.2.1"),
)

RULES: tuple[Rule, ...] = (*FIRST, *ENHANCED, *CODES)
