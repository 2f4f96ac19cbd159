"""Filters in front of mailboxes, and the hosts that sell them."""

from __future__ import annotations

from django_smtpx.smtp.rules.rule import MESSAGE, RECIPIENT, Family, Rule

_mimecast = Family(
    "mimecast",
    "https://mimecastsupport.zendesk.com/hc/en-us/articles/"
    "34000709564691-Policies-Mimecast-SMTP-Error-Codes",
)
_proofpoint = Family("proofpoint", "https://ipcheck.proofpoint.com/")
_barracuda = Family("barracuda", "https://campus.barracuda.com/product/emailgatewaydefense")
_symantec = Family(
    "symantec", "https://knowledge.broadcom.com/external/article?legacyId=TECH246726"
)
_cisco = Family("cisco", "https://talosintelligence.com/reputation_center")
_trend = Family("trendmicro", "https://docs.trendmicro.com/en-us/documentation/email-security/")
_trellix = Family("trellix", "https://docs.trellix.com/bundle/etp_ag/")

FILTERS: tuple[Rule, ...] = (
    _mimecast("greylisted", "greylisted retry", r"Internal resources? (are )?temporarily unavail",
              code="451"),
    _mimecast("relay", "relay_denied hold", r"Open relay (is )?not allowed", relay=True),
    _mimecast("relay-mx", "relay_denied fail", r"Open relay (is )?not allowed", code="5",
              relay=False),
    _mimecast("relay-mx-now", "relay_denied retry", r"Open relay (is )?not allowed", code="4",
              relay=False),
    _mimecast("invalid-recipient", "mailbox_unknown retry",
              r"^Invalid Recipient", code="451",
              phases=RECIPIENT),
    _mimecast("spam", "spam fail", r"\bMCSpam", code="5"),
    _mimecast("envelope-blocked", "policy fail",
              r"Administrative prohibition|envelope blocked|Manually blocked senders"
              r"|Anti-Spoofing policy|content examination policy|due to security policies"
              r"|Block Policy|Host network,? not allowed", code="5"),
    _mimecast("reputation", "reputation fail", r"Poor Reputation Sender|CT IP reputation",
              code="5"),
    _mimecast("reputation-now", "reputation pause",
              r"^Sender address blocked|IP temporarily blacklisted", code="4"),
    _mimecast("busy", "server_busy retry", r"Unable to process (a connection|connection|an email)",
              code="4", phases=MESSAGE),
    _mimecast("thread-limit", "rate_limited slow", r"exceeding outbound thread limit"),
    _mimecast("encryption", "tls_error reconnect", r"This route requires (encryption|TLS|high)",
              code="5"),
    _mimecast("submitter", "auth_failed hold", r"submitter failed to authenticate", code="5",
              relay=True),
    _proofpoint("ip-check", "reputation fail",
                r"(ipcheck|support)\.proofpoint\.com/|prs\.proofpoint\.com|^Blocked - see http",
                code="5"),
    _proofpoint("ip-check-now", "reputation pause",
                r"(ipcheck|support)\.proofpoint\.com/|prs\.proofpoint\.com", code="4"),
    _proofpoint("invalid-recipient", "mailbox_unknown suppress",
                r"User email address is marked as invalid|This is not a valid email address",
                code="5", phases=RECIPIENT),
    _barracuda("policy", "policy fail",
               r"permanent failure for one or more recipients \(\S*:blocked|^Blocked$",
               code="5", phases=RECIPIENT),
    _barracuda("spoofed", "policy fail", r"rejecting spoofed message", code="5", phases=MESSAGE),
    _barracuda("content", "content_rejected fail", r"rejecting banned content", code="5",
               phases=MESSAGE),
    _barracuda("licence", "other_temporary retry", r"License Expired", code="4"),
    _symantec("filtered", "spam fail", r"^Message filtered\b", code="5", phases=MESSAGE),
    _symantec("relay", "relay_denied hold", r"you are trying to use me \[.*\] as a relay",
              code="5", relay=True),
    _symantec("relay-mx", "relay_denied fail", r"you are trying to use me \[.*\] as a relay",
              code="5", relay=False),
    _symantec("throttled", "other_temporary retry", r"Requested action aborted \[\d+\]", code="4"),
    _cisco("senderbase", "reputation fail",
           r"sending MTA's poor reputation|senderbase\.org|talosintelligence\.com", code="5"),
    _cisco("senderbase-now", "reputation pause", r"senderbase\.org|talosintelligence\.com",
           code="4"),
    _cisco("too-many-bounces", "rate_limited slow",
           r"Too many (invalid|unknown) recipients.{0,40}(hour|later)"),
    _trend("recipient", "mailbox_unknown suppress", r"rejected: (Invalid-Recipient|NO-DOMAIN)",
           code="5", phases=RECIPIENT),
    _trend("block", "policy fail", r"rejected: (BLOCK-(SEND-ER|RCPT)|ERS-Customized-Block)",
           code="5", phases=RECIPIENT),
    _trend("reputation", "reputation fail", r"\bERS-(RBL|QIL|DUL)|mail-abuse\.com", code="5"),
    _trellix("authentication", "sender_auth fail", r"\bETP20[3-7]\b", code="5"),
    _trellix("listed", "reputation fail", r"\bETP208\b|is listed by Invaluement", code="5"),
)  # fmt: skip

_zoho = Family("zoho", "https://www.zoho.com/mail/help/smtp-error-codes.html")
_rackspace = Family("rackspace", "https://docs.rackspace.com/docs/email-bounceback-errors")
_godaddy = Family(
    "godaddy", "https://www.godaddy.com/help/fix-rejected-email-with-a-bounce-error-40685"
)
_improvmx = Family("improvmx", "https://improvmx.com/guides/smtp-error-codes")

HOSTS: tuple[Rule, ...] = (
    _zoho("restricted", "policy fail",
          r"delivery (failure|restricted by) policy error|MailPolicy violation"
          r"|rejected by destination domain", code="5", phases=MESSAGE),
    _zoho("unusual-activity", "quota_exhausted hold",
          r"Unusual sending activity detected", code="5", relay=True),
    _zoho("sender", "sender_rejected hold", r"Relaying disallowed as \S", code="553",
          source="https://www.zoho.com/zeptomail/help/api/smtp-error-codes.html"),
    _zoho("relaying", "sender_rejected hold", r"^Sender is not allowed to relay emails", code="5",
          relay=True),
    _rackspace("no-such-user", "mailbox_unknown suppress", r"Email address could not be found",
               code="5", phases=RECIPIENT),
    _rackspace("content", "content_rejected fail", r"\(G1[89A-D]\)", code="5"),
    _rackspace("rate", "rate_limited slow", r"\(G(28|29)\)"),
    _godaddy("connections", "rate_limited slow", r"\bIB(007|504|607)\b"),
    _godaddy("messages-per-session", "rate_limited reconnect", r"\bIB510\b"),
    _godaddy("recipients", "too_many_recipients split", r"\bIB605\b", phases="rcpt"),
    _godaddy("reputation", "reputation fail", r"\bIB1(03|04|05|06|10|11|12|13)\b|^RBL Reject",
             code="5"),
    _godaddy("reverse-dns", "sender_auth pause", r"\bIB108\b", code="4"),
    _godaddy("spf", "sender_auth fail", r"\bIB508\b", code="5"),
    _godaddy("sender", "sender_rejected hold", r"\bIB506\b", code="5"),
    _godaddy("from", "content_rejected fail", r"\bIB50[12]\b", code="5"),
    _godaddy("spam", "spam fail", r"\bIB212\b", code="5"),
    _godaddy("virus", "content_rejected fail", r"\bIB705\b", code="5"),
    _godaddy("relay-quota", "quota_exhausted hold", r"reached your daily relay quota"),
    _improvmx("forwarding", "other_permanent fail", r"\(#id-5\.9\.[345]\)", code="5",
              phases=RECIPIENT),
)  # fmt: skip

RULES: tuple[Rule, ...] = (*FILTERS, *HOSTS)
