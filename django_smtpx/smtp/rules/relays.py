"""Services that mail is submitted to: what they say of the account, its senders and its quota."""

from __future__ import annotations

from django_smtpx.smtp.rules.rule import Family, Rule

_EVERYWHERE = "connect greeting ehlo auth mail rcpt data eod"

_ses = Family(
    "ses", "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html", _EVERYWHERE
)
_SES_ERRORS = "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html"
_SES_QUOTAS = "https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html"
_sendgrid = Family(
    "sendgrid",
    "https://www.twilio.com/docs/sendgrid/for-developers/sending-email/"
    "smtp-errors-and-troubleshooting",
    _EVERYWHERE,
)
_mailgun = Family("mailgun", "https://documentation.mailgun.com/docs/mailgun/", _EVERYWHERE)
_postmark = Family(
    "postmark", "https://postmarkapp.com/developer/user-guide/send-email-with-smtp", _EVERYWHERE
)
_sparkpost = Family("sparkpost", "https://support.sparkpost.com/docs/faq/smtp-errors", _EVERYWHERE)
_mailjet = Family("mailjet", "https://dev.mailjet.com/smtp-relay/troubleshooting/", _EVERYWHERE)
_brevo = Family("brevo", "https://help.brevo.com/hc/en-us/articles/7924908994450", _EVERYWHERE)
_oracle = Family(
    "oracle", "https://docs.oracle.com/iaas/Content/Email/Concepts/troubleshooting.htm", _EVERYWHERE
)

RULES: tuple[Rule, ...] = (
    _ses("rate", "rate_limited slow", r"Maximum sending rate exceeded", source=_SES_QUOTAS),
    _ses("quota", "quota_exhausted hold", r"Daily (message|sending) quota exceeded",
         source=_SES_QUOTAS),
    _ses("not-verified", "sender_rejected hold",
         r"Email address is not verified|identities failed the check in region"
         r"|not authorized to perform .?ses:Send", code="5", source=_SES_ERRORS),
    _ses("paused", "quota_exhausted hold",
         r"sending (has been |is )?(paused|suspended|disabled) for this (account|configuration)"
         r"|Account is paused|ability to send email is (currently )?paused"
         r"|Account not subscribed to SES", source=_SES_ERRORS),
    _ses("configuration-set", "sender_rejected hold", r"Configuration set .{0,80}does not exist",
         code="5", source=_SES_ERRORS),
    _ses("suppressed", "policy fail", r"address (is )?on the suppression list|rejected: Address "
          r"blacklisted", code="5"),
    _sendgrid("credits", "quota_exhausted hold", r"Maximum credits exceeded"),
    _sendgrid("identity", "sender_rejected hold",
              r"does not match a verified Sender Identity"
              r"|not authorized to send from that email address"),
    _sendgrid("unauthenticated", "auth_required hold", r"Unauthenticated senders not allowed",
              code="5"),
    _sendgrid("connections", "rate_limited slow",
              r"too frequent connects|available IPs are at maximum connection limit"
              r"|Too many recipients received this hour|Message from \(\S+\) temporarily deferred",
              code="4"),
    _sendgrid("bad-requests", "rate_limited pause", r"temporarily blocked due to repeated bad"),
    _mailgun("domain", "sender_rejected hold",
             r"domain \S* ?is not (allowed|authorized) to send|domain is unverified"
             r"|Sandbox subdomains are for test purposes"),
    _mailgun("disabled", "auth_failed hold",
             r"(account|domain)( \S+)? (is|has been) (disabled|suspended|temporarily disabled)"
             r".{0,80}(mailgun|business|verification|support)|account is temporarily disabled",
             relay=True),
    _mailgun("rate", "rate_limited slow", r"probation.{0,80}(limit|exceeded)"
             r"|exceeded the (hourly|daily)? ?(sending|message) (limit|rate)"),
    _postmark("signature", "sender_rejected hold",
              r"Sender Signature|The 'From' address .{0,120}(not|isn't) ", code="5"),
    _postmark("inactive", "policy fail", r"marked as inactive|Inactive recipient", code="5"),
    _postmark("pending", "auth_failed hold", r"account is pending approval"),
    _postmark("credits", "quota_exhausted hold", r"not allowed to send (any )?more|out of (email "
          r")?credits"),
    _sparkpost("domain", "sender_rejected hold", r"Unconfigured Sending Domain"),
    _sparkpost("limit", "quota_exhausted hold",
               r"Exceed(ed)? Sending Limit|sending limit \((daily|hourly|monthly|sandbox)\)"),
    _sparkpost("suppressed", "policy fail", r"recipient address was suppressed", code="5"),
    _mailjet("sender", "sender_rejected hold",
             r"sender (address )?(is |was |has )?not (been )?(validated|active|verified|valid)",
             code="5"),
    _brevo("ip", "auth_failed hold", r"Unauthorized IP address", code="5"),
    _brevo("account", "auth_failed hold",
           r"SMTP account is not yet activated|account is (not yet|currently not) (activated"
           r"|valid)",
           relay=True),
    _brevo("credits", "quota_exhausted hold",
           r"(not enough|insufficient|no (more )?) ?(email |smtp )?credits"),
    _brevo("sender", "sender_rejected hold",
           r"valid sender address|sender you used .{0,80}not valid",
           code="5"),
    _oracle("sender", "sender_rejected hold", r"not authorized to use approved sender"
            r"|Envelope From address .{0,120}not authorized|Authorization failed: Envelope",
            code="5"),
    _oracle("logins", "auth_failed hold", r"Too many auth failures"),
)  # fmt: skip
