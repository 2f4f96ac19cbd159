"""The large mailbox providers: Google, Microsoft, Yahoo with AOL, Apple."""

from __future__ import annotations

from django_smtpx.smtp.rules.rule import MESSAGE, RECIPIENT, Family, Rule

_google = Family("google", "https://support.google.com/a/answer/3726730")
_RELAY = "https://support.google.com/a/answer/6140680"
_SENDERS = "https://support.google.com/mail/answer/81126"

GOOGLE: tuple[Rule, ...] = (
    _google("no-such-user", "mailbox_unknown suppress",
            r"account that you tried to reach does not exist|\?p=NoSuchUser",
            code="5", phases=RECIPIENT),
    _google("disabled-user", "mailbox_disabled suppress",
            r"account that you tried to reach is (disabled|inactive)|\?p=DisabledUser",
            code="5", phases=RECIPIENT),
    _google("over-quota", "mailbox_full fail",
            r"account that you tried to reach is over ?quota|inbox is out of storage|\?p=OverQuota",
            code="5", phases=RECIPIENT),
    _google("over-quota-now", "mailbox_full retry",
            r"account that you tried to reach is over ?quota|inbox is out of storage|\?p=OverQuota",
            code="4", phases=RECIPIENT),
    _google("recipient-syntax", "mailbox_unknown suppress",
            r"recipient address \S+ is not a valid RFC[- ]?5321 address",
            code="5", phases=RECIPIENT),
    _google("receiving-rate", "recipient_rate retry",
            r"you are trying to contact is receiving mail (at a rate|too quickly)"
            r"|\?p=ReceivingRate",
            phases=RECIPIENT),
    _google("unsolicited-rate", "rate_limited slow",
            r"unusual rate of (unsolicited )?mail|\?p=UnsolicitedRateLimitError", code="4"),
    _google("unsolicited-ip", "reputation fail",
            r"unusual rate of (unsolicited )?mail|\?p=UnsolicitedIPError", code="5",
            source=_SENDERS),
    _google("reputation", "reputation fail", r"very low reputation of the sending", code="5"),
    _google("reputation-now", "reputation pause", r"very low reputation of the sending", code="4"),
    _google("suspicious-content", "spam fail",
            r"suspicious due to the nature of the content|likely unsolicited mail"
            r"|\?p=UnsolicitedMessageError", code="5"),
    _google("suspicious-content-now", "spam retry",
            r"suspicious due to the nature of the content|likely unsolicited mail", code="4"),
    _google("same-message-id", "rate_limited slow", r"messages with the same Message-ID", code="4"),
    _google("not-over-tls", "tls_error reconnect",
            r"TLS required for RCPT domain|not sent over (a )?TLS|wasn't sent over a TLS|senders "
            r"to use TLS"),
    _google("unauthenticated", "sender_auth fail",
            r"senders to authenticate|\?p=DmarcRejection|IPv6 sending guidelines"
            r"|is not accepted due to domain's DMARC policy", code="5", source=_SENDERS),
    _google("unauthenticated-now", "sender_auth pause",
            r"senders to authenticate|is(n't| not) aligned with|no DMARC alignment"
            r"|rate limited because it is unauthenticated", code="4", source=_SENDERS),
    _google("size", "too_large fail", r"exceed\w* Google's (limit|message|header)|\?p=MaxSizeError",
            code="5"),
    _google("blocked-content", "content_rejected fail",
            r"content presents a potential security issue|illegal attachment on your message"
            r"|\?p=BlockedMessage|unicode character in a disallowed header", code="5"),
    _google("not-rfc-5322", "content_rejected fail",
            r"not RFC[- ]?5322 compliant|\?p=RfcMessageNonCompliant|missing a valid (address"
            r"|Message-ID)|multiple addresses in From: header"
            r"|Encoded-word syntax is not permitted", code="5"),
    _google("one-domain-at-a-time", "too_many_recipients split",
            r"Multiple destination domains per transaction|policy size per transaction exceeded",
            code="4", phases="rcpt"),
    _google("not-in-whitelist", "policy retry", r"IP not in whitelist for RCPT domain", code="4"),
    _google("try-again", "rate_limited slow", r"^Try again later, closing connection", code="421",
            phases="ehlo mail rcpt"),
    _google("relay-rate", "rate_limited slow", r"Peak SMTP relay limit exceeded", code="4",
            source=_RELAY),
    _google("daily-quota", "quota_exhausted hold",
            r"(?<!domain )(?<!domains )Daily (user |SMTP relay )?(sending )?(limit|quota) exceeded"
            r"|^Email quota exceeded|Daily user sending (limit|quota)",
            source=_RELAY),
    _google("relay-credentials", "relay_denied hold",
            r"Mail relay denied|Invalid credentials for relay", code="5", source=_RELAY),
    _google("sending-denied", "sender_rejected hold", r"Mail Sending denied", code="5",
            source=_RELAY),
    _google("not-a-server", "reputation fail",
            r"not authorized to send email directly to our servers|\?p=NotAuthorizedError",
            code="5"),
)  # fmt: skip

_microsoft = Family(
    "microsoft",
    "https://learn.microsoft.com/exchange/mail-flow-best-practices/"
    "non-delivery-reports-in-exchange-online/non-delivery-reports-in-exchange-online",
)
_OUTLOOK = "https://sendersupport.olc.protection.outlook.com/pm/troubleshooting.aspx"
_THROTTLING = "https://learn.microsoft.com/exchange/mail-flow/message-rate-limits"

MICROSOFT: tuple[Rule, ...] = (
    _microsoft("recipient-access-denied", "mailbox_unknown suppress",
               r"recipient address(es)? rejected ?: Access denied", code="5", enhanced="5.4.1",
               phases=RECIPIENT),
    _microsoft("recipient-access-denied-504", "mailbox_unknown suppress",
               r"recipient address(es)? rejected ?: Access denied", code="5", enhanced="5.7.504",
               phases=RECIPIENT),
    _microsoft("recipient-not-found", "mailbox_unknown suppress",
               r"RESOLVER\.ADR\.(Ex)?Recip(ient)?NotFound|not found by SMTP address lookup",
               code="5", phases=RECIPIENT),
    _microsoft("recipient-size", "too_large fail", r"RESOLVER\.RST\.(Recip|Send)(ient)?SizeLimit",
               code="5", phases=MESSAGE),
    _microsoft("recipient-restricted", "policy fail",
               r"RESOLVER\.RST\.|sender not authenticated for (group|mailbox|public folder)",
               code="5", phases=MESSAGE),
    _microsoft("receive-limit", "recipient_rate retry",
               r"recipient has exceeded their limit|limit for the number of messages they can"
               r"|recipient thread limit exceeded|per hour message receive limit", phases=MESSAGE),
    _microsoft("banned-ip", "reputation fail", r"banned sending IP|banned sender ?\[", code="5"),
    _microsoft("block-list", "reputation fail",
               r"part of their network is on our block ?list|\(S3150\)|\(S3140\)", code="5",
               source=_OUTLOOK),
    _microsoft("domain-block-list", "reputation fail",
               r"domain is listed in Spamhaus|\(S800[0-9]\)",
               code="5", source=_OUTLOOK),
    _microsoft("customer-block-list", "policy fail",
               r"using Customer Block ?list|Access denied, rejected by recipient"
               r"|Access denied, banned recipient", code="5"),
    _microsoft("spam-abuse", "sender_rejected hold",
               r"Access denied, (spam abuse detected|banned sender)", code="5", relay=True),
    _microsoft("spam-abuse-mx", "reputation fail",
               r"Access denied, (spam abuse detected|banned sender)", code="5", relay=False),
    _microsoft("traffic-not-accepted", "reputation fail", r"traffic not accepted from this IP",
               code="5"),
    _microsoft("tenant-threshold", "quota_exhausted hold", r"tenant has exceeded threshold",
               code="5"),
    _microsoft("ip-reputation", "rate_limited slow",
               r"temporarily rate limited due to IP reputation",
               code="4", source=_OUTLOOK),
    _microsoft("server-busy", "rate_limited slow",
               r"Server busy\. Please try again later", code="4",
               enhanced="4.7", source=_OUTLOOK),
    _microsoft("restricted", "rate_limited slow", r"Access denied, please try again later",
               code="4"),
    _microsoft("permitted-limits", "rate_limited slow", r"has exceeded permitted limits within",
               code="5"),
    _microsoft("outlook-rate", "rate_limited slow", r"\bRP-00[0-9]\b", source=_OUTLOOK),
    _microsoft("outlook-reputation", "reputation fail", r"\b(DY|OU|SC)-00[0-9]\b", code="5",
               source=_OUTLOOK),
    _microsoft("connections", "rate_limited slow",
               r"maximum number of concurrent (\w+ )?connections|sender thread limit exceeded"
               r"|exceeded the maximum number of connections|Concurrent connections limit",
               source=_THROTTLING, phases="connect greeting ehlo auth mail rcpt data eod"),
    _microsoft("submission-rate", "rate_limited slow",
               r"Message submission rate for this client has exceeded", source=_THROTTLING),
    _microsoft("organization-queue", "server_busy retry", r"Organization queue quota exceeded",
               code="4"),
    _microsoft("authentication-level", "sender_auth fail",
               r"does not (meet the required authentication level|pass DMARC verification)",
               code="5"),
    _microsoft("not-rfc-5322", "content_rejected fail",
               r"message must be RFC ?5322|Multiple From addresses are not allowed", code="5",
               phases=MESSAGE),
    _microsoft("daily-recipients", "quota_exhausted hold",
               r"reached your daily limit for message recipients|Submission ?(quota ?)?exceeded",
               code="5", source="https://learn.microsoft.com/office365/servicedescriptions/"
               "exchange-online-service-description/exchange-online-limits"),
    _microsoft("sent-items-full", "quota_exhausted hold",
               r"STOREDRV\.Submission\.Exception: ?QuotaExceeded", relay=True, phases=MESSAGE,
               source="https://learn.microsoft.com/exchange/troubleshoot/send-emails/"
               "smtp-submission-improvements"),
    _microsoft("outbound-spam", "sender_rejected hold",
               r"OutboundSpamException|bad outbound sender", code="5", phases=MESSAGE),
    _microsoft("send-as", "sender_rejected hold",
               r"SendAsDenied|permissions? to send (as|on behalf)|not allowed to send as"
               r"|from unregistered domains", code="5", phases=MESSAGE),
    _microsoft("submission-disabled", "quota_exhausted hold",
               r"Submission has been disabled for this account", code="5"),
    _microsoft("submit", "relay_denied hold", r"permissions? to submit to this server", code="5",
               relay=True),
    _microsoft("server-authentication", "auth_failed hold",
               r"Cannot achieve Exchange Server authentication", relay=True, phases=MESSAGE),
    _microsoft("anonymous", "auth_failed hold", r"Client was not authenticated", code="5",
               relay=True, phases=MESSAGE),
    _microsoft("anonymous-mx", "policy fail", r"Client was not authenticated", code="5",
               relay=False, phases=MESSAGE),
    _microsoft("old-tls", "tls_error reconnect", r"TLS 1\.0 and 1\.1 are not supported",
               phases="ehlo auth mail rcpt data eod"),
)  # fmt: skip

_yahoo = Family("yahoo", "https://senders.yahooinc.com/smtp-error-codes/")

YAHOO: tuple[Rule, ...] = (
    _yahoo("permanently-deferred", "reputation fail", r"will be permanently deferred"),
    _yahoo("deferred", "rate_limited pause",
           r"temporarily deferred due to (unexpected volume|user complaints)"
           r"|\[(IPTS|TSS?)0?\d+\].{0,80}deferred", code="4"),
    _yahoo("greylisted", "greylisted retry", r"\[GL\d+\]", code="4"),
    _yahoo("open-relay", "reputation pause",
           r"Excessive unknown recipients|\bVS\d+-(IP|MF)", code="4"),
    _yahoo("open-relay-5yz", "reputation fail", r"\bVS\d+-(IP|MF)", code="5"),
    _yahoo("block-list", "reputation fail",
           r"\[(BL|TSS07)\d*\]|connections (will )?not (be )?accepted from (IP|\d|x)", code="5"),
    _yahoo("unauthenticated", "sender_auth fail", r"blocked because the sender is unauthenticated",
           code="5"),
    _yahoo("policy", "policy fail", r"Message not allowed - \[(PH|\d+\])|\[PH\d+\]", code="5"),
    _yahoo("headers", "content_rejected fail", r"Headers are not RFC compliant", code="5"),
    _yahoo("not-accepted", "policy fail", r"not accepted for policy reasons", code="5"),
    _yahoo("sender-domain", "sender_rejected hold", r"unresolvable RFC\.?5321 (from )?domain"),
    _yahoo("no-account", "mailbox_unknown suppress",
           r"user doesn't have an? \S+ account|delivery error: dd not a valid recipient", code="5",
           phases=RECIPIENT),
    _yahoo("no-longer-valid", "mailbox_disabled suppress",
           r"delivery error: dd \S+ is no longer valid", code="5", phases=RECIPIENT),
    _yahoo("mailbox-disabled", "mailbox_disabled suppress",
           r"mailbox is disabled|\(554\.30\)"
           r"|account has been disabled or discontinued", code="5", phases=RECIPIENT),
)  # fmt: skip

_aol = Family("aol", "https://postmaster.aol.com/error-codes")

AOL: tuple[Rule, ...] = (
    _aol("dynamic-ip", "reputation fail", r"\bRTR:(BB|DU|SC|BL|CH)|\bRLY:(BL|IR|B[123])", code="5"),
    _aol("refused", "policy fail", r"AOL will not accept delivery", code="5", phases=MESSAGE),
    _aol("reverse-dns", "sender_auth fail", r"\bRTR:RD", code="5"),
    _aol("reverse-dns-now", "sender_auth pause", r"\bDNS:N[RC]", code="4"),
    _aol("rate", "rate_limited slow", r"\b(DYN:T\d|RLY:CH\d?|RTR:GE)", code="4"),
    _aol("connection-blocked", "reputation fail", r"\bCON:B1", code="5"),
    _aol("connection-blocked-now", "reputation pause", r"\bCON:B1", code="4"),
    _aol("content", "spam fail", r"\bHVU:B\d|\bRLY:BD", code="5"),
    _aol("sender", "sender_rejected hold", r"\bRLY:SN", code="5"),
)  # fmt: skip

_apple = Family("apple", "https://support.apple.com/en-us/102322")

APPLE: tuple[Rule, ...] = (
    _apple("volume", "rate_limited slow",
           r"deferred due to excessive volume|\[HCM\d\] Your mail from", code="4"),
    _apple("listed-domain", "reputation fail",
           r"rejected due to having a domain present in|rejected due to listing in", code="5"),
    _apple("local-policy", "policy fail", r"\[CS01\]", code="5", phases=MESSAGE),
    _apple("alias", "mailbox_unknown suppress", r"unknown or illegal alias", code="5",
           phases=RECIPIENT),
    _apple("inactive", "mailbox_disabled suppress", r"inactive email address", code="5",
           phases=RECIPIENT),
    _apple("gone", "mailbox_unknown suppress", r"recipient no longer on server", code="5",
           phases=RECIPIENT),
)  # fmt: skip

RULES: tuple[Rule, ...] = (*GOOGLE, *MICROSOFT, *YAHOO, *AOL, *APPLE)
