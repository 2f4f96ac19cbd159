"""The words of a verdict: what a failure is about, where it happened, what is to be done."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Category(models.TextChoices):
    """What a failure is about; ``ok`` for none."""

    OK = "ok", _("ok")
    # about the recipient
    MAILBOX_UNKNOWN = "mailbox_unknown", _("mailbox unknown")
    MAILBOX_DISABLED = "mailbox_disabled", _("mailbox disabled")
    MAILBOX_FULL = "mailbox_full", _("mailbox full")
    ADDRESS_INVALID = "address_invalid", _("address invalid")
    DOMAIN_UNKNOWN = "domain_unknown", _("domain unknown")
    RECIPIENT_RATE = "recipient_rate", _("recipient receives too much just now")
    POLICY = "policy", _("recipient's policy")
    SUPPRESSED = "suppressed", _("suppressed")
    # about the sender
    SENDER_REJECTED = "sender_rejected", _("sender rejected")
    SENDER_AUTH = "sender_auth", _("sender not authenticated (SPF, DKIM, DMARC, reverse DNS)")
    REPUTATION = "reputation", _("reputation")
    RELAY_DENIED = "relay_denied", _("relay denied")
    # about the account
    AUTH_FAILED = "auth_failed", _("authentication failed")
    AUTH_REQUIRED = "auth_required", _("authentication required")
    QUOTA_EXHAUSTED = "quota_exhausted", _("quota exhausted")
    # about the pace
    GREYLISTED = "greylisted", _("greylisted")
    RATE_LIMITED = "rate_limited", _("rate limited")
    SERVER_BUSY = "server_busy", _("server busy")
    TOO_MANY_RECIPIENTS = "too_many_recipients", _("too many recipients")
    # about the message
    SPAM = "spam", _("taken for spam")
    CONTENT_REJECTED = "content_rejected", _("content rejected")
    TOO_LARGE = "too_large", _("too large")
    UNSUPPORTED = "unsupported", _("unsupported by the server")
    LOOP = "loop", _("mail loop")
    EXPIRED = "expired", _("expired")
    # about the way there
    DNS_ERROR = "dns_error", _("DNS error")
    UNREACHABLE = "unreachable", _("unreachable")
    TLS_ERROR = "tls_error", _("TLS error")
    DISCONNECTED = "disconnected", _("disconnected")
    TIMEOUT = "timeout", _("timeout")
    PROTOCOL_ERROR = "protocol_error", _("protocol error")
    # about nothing that is known
    UNKNOWN_OUTCOME = "unknown_outcome", _("unknown outcome")
    OTHER_TEMPORARY = "other_temporary", _("other temporary failure")
    OTHER_PERMANENT = "other_permanent", _("other permanent failure")

    @property
    def about(self) -> str:
        """What it is about: ``recipient``, ``sender``, ``account``, ``pace``, ``message`` or
        ``way`` (there); "" for ``ok``, and where that is not known.
        """
        return _ABOUT.get(self.value, "")


_ABOUT = {
    category.value: about
    for about, categories in {
        "recipient": (
            Category.MAILBOX_UNKNOWN,
            Category.MAILBOX_DISABLED,
            Category.MAILBOX_FULL,
            Category.ADDRESS_INVALID,
            Category.DOMAIN_UNKNOWN,
            Category.RECIPIENT_RATE,
            Category.POLICY,
            Category.SUPPRESSED,
        ),
        "sender": (
            Category.SENDER_REJECTED,
            Category.SENDER_AUTH,
            Category.REPUTATION,
            Category.RELAY_DENIED,
        ),
        "account": (Category.AUTH_FAILED, Category.AUTH_REQUIRED, Category.QUOTA_EXHAUSTED),
        "pace": (
            Category.GREYLISTED,
            Category.RATE_LIMITED,
            Category.SERVER_BUSY,
            Category.TOO_MANY_RECIPIENTS,
        ),
        "message": (
            Category.SPAM,
            Category.CONTENT_REJECTED,
            Category.TOO_LARGE,
            Category.UNSUPPORTED,
            Category.LOOP,
            Category.EXPIRED,
        ),
        "way": (
            Category.DNS_ERROR,
            Category.UNREACHABLE,
            Category.TLS_ERROR,
            Category.DISCONNECTED,
            Category.TIMEOUT,
            Category.PROTOCOL_ERROR,
        ),
    }.items()
    for category in categories
}


class Phase(models.TextChoices):
    """The part of the SMTP session in which an outcome was decided."""

    RESOLVE = "resolve", _("resolve")
    CONNECT = "connect", _("connect")
    GREETING = "greeting", _("greeting")
    EHLO = "ehlo", "EHLO"
    STARTTLS = "starttls", "STARTTLS"
    AUTH = "auth", "AUTH"
    MAIL = "mail", "MAIL FROM"
    RCPT = "rcpt", "RCPT TO"
    DATA = "data", "DATA"
    EOD = "eod", _("end of data")


class Action(models.TextChoices):
    """What a verdict asks for."""

    NONE = "none", _("none")
    RETRY = "retry", _("retry")
    NEXT_HOST = "next_host", _("next host")
    RECONNECT = "reconnect", _("reconnect")
    SPLIT = "split", _("split")
    SLOW = "slow", _("slow down")
    PAUSE = "pause", _("pause")
    HOLD = "hold", _("hold")
    FAIL = "fail", _("fail")
    SUPPRESS = "suppress", _("suppress")
