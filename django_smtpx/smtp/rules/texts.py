"""What the text of a reply says, whoever says it: the words of the common servers.

The order is one of scope. What names a means of authentication or a block list
is about the sender, whatever else it names; then come the login, relaying and
the pace; then the message; then the recipient. What only tells that something
is not well is last.
"""

from __future__ import annotations

from django_smtpx.smtp.rules import languages, phrases
from django_smtpx.smtp.rules.rule import MESSAGE, RECIPIENT, SESSION, Family, Rule

_POSTFIX = "https://www.postfix.org/postconf.5.html"
_EXIM = "https://www.exim.org/exim-html-current/doc/html/spec_html/"
_SENDMAIL = "https://www.sendmail.org/~ca/email/doc8.12/cf-README.html"
_ANYWHERE = f"{SESSION} {MESSAGE}"
_LOGGED_IN = f"ehlo auth {MESSAGE}"

_text = Family("text", "RFC 5321 section 4.2.1", _ANYWHERE)


def _both(
    name: str, permanent: str, temporary: str, text: str, *, phases: str = "", source: str = ""
) -> tuple[Rule, Rule]:
    """Return two rules for the same words: in a 5yz, and in a 4yz."""
    return (
        _text(name, permanent, text, code="5", phases=phases, source=source),
        _text(f"{name}-now", temporary, text, code="4", phases=phases, source=source),
    )


def _by_server(
    name: str, relay: str, mx: str, text: str, *, code: str, phases: str = MESSAGE, source: str = ""
) -> tuple[Rule, Rule]:
    """Return two rules for the same words: of a relay, and of a recipient's own server."""
    return (
        _text(name, relay, text, code=code, phases=phases, relay=True, source=source),
        _text(f"{name}-mx", mx, text, code=code, phases=phases, relay=False, source=source),
    )


SENDER: tuple[Rule, ...] = (
    _text("no-valid-recipients", "other_permanent fail", r"no valid recipients", code="5",
          phases="data eod", source="RFC 2920 section 3.1"),
    _text("greylisted", "greylisted retry",
          r"gr[ae]y[- ]?list|address verification in progress|unverified address|postgrey"
          r"|new sender|not yet (authorized|whitelisted|known)|first (time|contact)|"
          + languages.GREYLISTED,
          code="4", phases=MESSAGE,
          source="RFC 6647 section 2"),
    _text("try-again-later", "greylisted retry", r"^try again later\.?$", code="4",
          enhanced="4.7.1", phases=MESSAGE, source="https://rspamd.com/doc/modules/greylisting.html"),
    *_by_server("relaying-denied", "relay_denied hold", "relay_denied fail",
                r"^(\S+ |<\S+>:? ?(\.\.\. ?)?)?relay(ing)? (access )?denied", code="5",
                source=_SENDMAIL),
    *_both("helo-dns", "sender_auth fail", "sender_auth pause", phrases.HELO_DNS,
           source=f"{_POSTFIX}#reject_unknown_helo_hostname"),
    *_both("helo", "protocol_error hold", "protocol_error retry", phrases.HELO,
           source=f"{_POSTFIX}#smtpd_helo_restrictions"),
    _text("classified-as-spam", "spam fail",
          r"(classified|detected|identified|considered|flagged|scored|recogni[sz]ed|marked"
          r"|rejected|regarded|looks? like|appears? to be|tagged) (\w+ ){0,3}(as |for |like )?(a "
          r"|being )?(possible |likely |potential )?\W?(spam|junk|bulk|unsolicited)|due to spam",
          code="5",
          phases="data eod"),
    _text("session-protocol", "protocol_error reconnect", r"protocol (error|violation)",
          code="5", phases=SESSION, source=f"{_POSTFIX}#postscreen_pipelining_enable"),
    _text("synchronization", "protocol_error reconnect",
          r"synchroni[sz]ation error|pipelining (error|before|not (allowed|supported))"
          r"|protocol synchroni[sz]ation|before (the |my |our )?(greeting|banner)"
          r"|improper(ly)? (use of )?(smtp |command )?pipelining|talk(ing|ed)? too (soon|early"
          r"|fast)|pre-?greet",
          source=f"{_EXIM}ch-main_configuration.html"),
    _text("too-many-errors", "rate_limited reconnect",
          r"too many (\w+ ){0,3}(errors|commands|failures|rejected recipients)|too many (invalid"
          r"|unknown|bad|failed) (recipients|rcpts|addresses)|bad (smtp )?command limit|(error"
          r"|junk command) limit exceeded", source=f"{_POSTFIX}#smtpd_hard_error_limit"),
    *_both("tls-required", "tls_error reconnect", "tls_error reconnect", phrases.TLS,
           phases=_LOGGED_IN, source="RFC 3207 section 4"),
    *_by_server("auth-first", "auth_required hold", "relay_denied fail",
                r"(issue|send|need|use) (\w+ and )?(an? )?AUTH\b|^AUTH (command )?first"
                r"|must auth\w* first", code="5", source="RFC 4954 section 6"),
    _text("option", "unsupported fail", r"option|parameter", code="555", phases=MESSAGE,
          source="RFC 5321 section 4.1.1.11"),
    _text("parameter", "protocol_error hold",
          r"\b(NOTIFY|ORCPT|ENVID|RET)\b.{0,30}(parameter|syntax|invalid|option|value)|(parameter"
          r"|syntax|invalid|illegal|bad|option)s?\b.{0,40}\b(NOTIFY|ORCPT|ENVID|RET)\b"
          r"|parameter syntax", code="5", phases="mail rcpt", source="RFC 3461 section 4"),
    _text("sequence", "protocol_error reconnect", r"invalid command|unsupported option|command not",
          code="503", phases=MESSAGE, source="RFC 5321 section 4.1.4"),
    _text("transaction-open", "protocol_error reconnect", phrases.TRANSACTION_OPEN, code="5",
          phases="mail", source="RFC 5321 section 4.1.4"),
    _text("command", "protocol_error hold",
          r"^Syntax: |(unrecogni[sz]ed|unknown|invalid|illegal) command|command (is )?(not "
          r"|un)(recogni[sz]ed|implemented|known|allowed|supported)|protocol violation"
          r"|parameters? not (recogni[sz]ed|implemented|supported)|unrecogni[sz]ed parameter"
          r"|unsupported option|unimplemented|command (line )?too long",
          code="5", phases=MESSAGE, source="RFC 5321 section 4.2.4"),
    _text("bare-line-feed", "protocol_error hold", r"bare (<?LF>?|<?CR>?|line[- ]?feed|newline)"
          r"|smtplf\.html", source=f"{_POSTFIX}#smtpd_forbid_bare_newline"),
    _text("login-rate", "auth_failed hold",
          r"too many (bad |failed |invalid |unsuccessful )?(login|log ?in|auth\w*|password|logon)",
          phases="auth"),
    _text("login-throttled", "rate_limited slow", phrases.RATE, code="4", phases="auth"),
    _text("login-quota", "quota_exhausted hold", phrases.QUOTA, phases="auth"),
    _text("login-later", "auth_failed pause", r"temporary auth\w* (failure|error)", code="4",
          phases=MESSAGE, relay=True, source="RFC 4954 section 6"),
    _text("null-mx-sender", "sender_rejected hold", r"(sender|from).{0,60}null ?MX",
          source="RFC 7505 section 4.2"),
    _text("null-mx", "domain_unknown fail",
          r"null ?MX|(domain|host)\S* (\S+ )?does(n't| not) accept (e?-?mail|any mail)", code="5",
          phases=RECIPIENT, source="RFC 7505 section 4.1"),
    _text("headers", "content_rejected fail",
          r"(duplicate|multiple|missing|invalid|malformed|bad)\W+(\S+ )?headers?\b"
          r"|\bheaders?\b\W+(is |are |was )?(missing|required|malformed|duplicated?|not accepted)"
          r"|header (line|is ridiculously|not CRLF)", code="5",
          phases="data eod", source="RFC 5322 section 3.6"),
    *_both("authentication", "sender_auth fail", "sender_auth pause", phrases.AUTHENTICATION,
           source="RFC 7372 section 3"),
    _text("recipient-list", "policy fail",
          r"(black|block|deny)[- ]?listed by (the )?(recipient|user)|in recipient's (black|block)"
          r"|User in blacklist|recipient's (black|block|safe|allow)\w* senders?"
          r"|blocked senders? list|(restricted|blocked|rejected) by (the |this )?(recipient"
          r"|user)\b|(not on|isn't on|not in) (the |my |a )?(recipient's )?(allow|white|safe"
          r"|pass)[- ]?list|not accepting mail (with|from)|does(n't| not) accept (mail"
          r"|messages) from (you|this|your)|only accept(s|ing) mail from"
          r"|recipient('s)? preferences|(not|n't) (allowed|permitted|authori[sz]ed|able) to (send"
          r"|post|write|submit)( (any|e-?mails?|mails?|messages?))* to\b|permissions? to (send"
          r"|post|write)( (e-?mail|mail|messages?))? to\b|(not|n't) (wish|want) to receive"
          r"|isn't on the recipient's list|delivery to (this|that) \w+ is restricted|(delivery"
          r"|recipient|account) is not allowed|mailbox \S+ is restricted|refused to receive"
          r"|backscatter protection", code="5"),
    _text("url", "spam fail", phrases.URL, code="5", source="RFC 5782 section 4"),
    _text("sender-verify", "sender_rejected hold", r"sender verif|verify (the )?sender",
          phases=MESSAGE, source=f"{_EXIM}ch-access_control_lists.html"),
    *_both("block-list", "reputation fail", "reputation pause", phrases.BLOCK_LIST,
           source="RFC 5782 section 2.1"),
    _text("country", "policy fail", r"\b(country|countries|geo-?ip|geo-?(location|block\w*)"
          r"|geograph\w*)\b", code="5", phases=MESSAGE,
          source=f"{_EXIM}ch-access_control_lists.html"),
)  # fmt: skip

PACE: tuple[Rule, ...] = (
    *_both("receiving-rate", "recipient_rate retry", "recipient_rate retry",
           r"receiving (mail|messages|e-?mails?) (at a rate|too (quickly|fast|many))|(recipient"
           r"|user|mailbox|account)\b(?:[^.;]|\.\w){0,60}(too many (recent )?messages(?! on| in)"
           r"|message rate|receiving limit|receives? too|rate limit)|rate (from sender )?to (this "
           r"|the )?recipient|too many (recent )?messages (to|for) (this|that|the) (user|recipient"
           r"|mailbox)|(received?|receiving) too (much|many) (e-?mails?|mails?|messages?)"
           r"|incoming rate|recipients? domain (hourly|daily) quota|domains? (hourly|daily) quota",
           phases=RECIPIENT),
    *_both("connections", "rate_limited slow", "rate_limited slow",
           r"too many (concurrent |simultaneous |open |parallel |smtp |tcp )*(connection|session"
           r"|thread)s?|(maximum|max|concurrent|simultaneous)( number of)? (\w+ )?(connections"
           r"|sessions)|connection (limit|count|concurrency)|(connection|session)s? limit"
           r"|too many (new )?TLS sessions|" + languages.CONNECTIONS,
           phases=f"{SESSION} starttls auth {MESSAGE}",
           source=f"{_POSTFIX}#smtpd_client_connection_count_limit"),
    *_both("messages-per-session", "rate_limited reconnect", "rate_limited reconnect",
           r"(too many|max\w*|limit|number)\b(?:[^.;]|\.\w){0,40}\b(messages?|mails?|e-?mails?"
           r"|size|recipients|transactions?|commands)\b(?:[^.;]|\.\w){0,30}\b(per|in|for|on|during"
           r"|within) (this |one |a |the |an |each )?(smtp |tcp )?(connection|session)"
           r"|message (threshold|limit|size limit) .{0,20}(connection|session)|session (message"
           r"|mail|recipient|transaction)s? limit|too many messages sent\.?$", source=_SENDMAIL),
    _text("timeout", "disconnected reconnect",
          r"time-?out (exceeded|waiting|- closing|while|expired)|timed? ?out\b.{0,40}(waiting"
          r"|input|idle|data)|idle (for )?too long|idle time-?out|connection (timed out|idle"
          r"|expired)|(session|connection) .{0,20}(lifetime|duration|too long)|please reconnect"
          r"|session (has )?expired|lost (input )?connection|\btimeout\.?$|no (activity|command)"
          r"|connection time\b",
          code="4", source="RFC 5321 section 4.5.3.2"),
    _text("sending-quota", "quota_exhausted hold", phrases.QUOTA, relay=True, phases=MESSAGE),
    _text("recipients-at-once", "too_many_recipients split",
          r"too many (rcpts?|recipients)(?!.{0,20}(hour|today|minute|per day|throttled| from ))"
          r"|(maximum|max|limit)( number)?( of)? recipients"
          r"|(?<!exceeds )(?<!exceed )recipients? (limit|count)|one recipient (at a time|per)"
          r"|only one recipient|split transaction|one (\w+ )?domain (at a time|per)|(separate"
          r"|another|different|own) (transaction|session|message|delivery)|separately"
          r"|destination domains per", code="4", phases="rcpt",
          source="RFC 5321 section 4.5.3.1.10"),
    _text("recipients-at-once-5yz", "too_many_recipients split",
          r"too many (rcpts?|recipients)(?!.{0,20}(hour|today|minute|per day|throttled| from ))",
          code="5", phases="rcpt", source="RFC 5321 section 4.5.3.1.10"),
    *_both("rate", "rate_limited slow", "rate_limited slow", phrases.RATE,
           source=f"{_POSTFIX}#smtpd_client_message_rate_limit"),
    _text("recipients", "too_many_recipients fail",
          r"too many (rcpts?|recipients)|(?<!exceeds )(?<!exceed )recipients? limit", code="5",
          phases=MESSAGE),
)  # fmt: skip

ACCOUNT: tuple[Rule, ...] = (
    _text("sender-address-rejected", "sender_rejected hold",
          r"sender (e-?mail )?address rejected(?!: (server config|temporary))|sender verify"
          r"|verification failed for <",
          phases=MESSAGE, source=f"{_POSTFIX}#smtpd_sender_restrictions"),
    *_by_server("own-account", "auth_failed hold", "policy fail",
                r"\byour (\w+ )?account\b(?:[^.;]|\.\w){0,60}(disabled|suspended|blocked|locked"
                r"|terminated|expired|inactive|deactivated|frozen|not (yet )?activ)"
                r"|account is under review|outgoing (e-?mail"
                r"|mail) (is )?(disabled|suspended)", code="5"),
    *_by_server("account-suspended", "auth_failed hold", "policy fail",
                r"\baccount (has been |is )?(temporarily )?(suspended|disabled|blocked|locked"
                r"|not (yet )?activ)",
                code="5", phases="mail data eod"),
    *_by_server("login-failed", "auth_failed hold", "policy fail",
                r"\bauth\w* (credentials )?(invalid|fail\w*|unsuccess\w*|rejected|incorrect|error)"
                r"|invalid (login|credentials|password|user ?name)|incorrect (authentication"
                r"|password)",
                code="5", source="RFC 4954 section 6"),
    *_by_server("login-required", "auth_required hold", "relay_denied fail", phrases.LOGIN,
                code="5", source="RFC 4954 section 6"),
    *_by_server("relay-denied", "relay_denied hold", "relay_denied fail", phrases.RELAY, code="5",
                source=f"{_POSTFIX}#smtpd_relay_restrictions"),
    *_by_server("relay-denied-now", "relay_denied hold", "relay_denied retry", phrases.RELAY,
                code="4", source=f"{_POSTFIX}#smtpd_relay_restrictions"),
    *_both("sender", "sender_rejected hold", "sender_rejected hold", phrases.SENDER, phases=MESSAGE,
           source=f"{_POSTFIX}#smtpd_sender_restrictions"),
    _text("sender-syntax", "sender_rejected hold",
          r"must contain a domain|(address|sender|mailbox|domain)\b.{0,60}(syntax|missing"
          r"|malformed|invalid|illegal|required|fully[- ]qualified)|(syntax|missing|malformed"
          r"|invalid|bad|illegal)\b.{0,60}(address|sender|mailbox|domain)",
          code="5", phases="mail", source="RFC 5321 section 4.1.1.2"),
    _text("sender-domain", "sender_rejected hold", phrases.DOMAIN, phases="mail"),
)  # fmt: skip

CONTENT: tuple[Rule, ...] = (
    *_both("loop", "loop fail", "loop retry",
           r"too many hops|hop count|(mail|routing|forwarding|delivery|message|possible) loop"
           r"|\bloop(s|ing)?\b|(too many|number of) .{0,3}received|too many received"
           r"|exceeded \d+ hops|delivered-to line", phases=MESSAGE,
           source="RFC 5321 section 6.3"),
    # It is the filter that is not well, whatever it was looking for.
    _text("filter-failed", "other_temporary retry", phrases.FILTER_FAILED, code="4",
          phases="data eod", source="https://www.ijs.si/software/amavisd/"),
    *_both("spam", "spam fail", "spam retry",
           r"(?<!help_)spam(?![\w-]*(\.[\w-]+){2})|bulk[. ]advert|recurrent pattern"
           r"|blocked by our filter|our system has detected that this message is|\bunsolicited"
           r"|\bjunk\b|\bUBE\b|\bUCE\b|bulk (mail|e-?mail)|junkmail|mass mail|\bbayes|scored? (\d"
           r"|too high|above|over)|rejected by DCC|mail score|MessageScoring|gtube|sensitive words"
           r"|words in the message|(url|number) filter|"
           + languages.SPAM,
           phases=MESSAGE),
    *_both("mailbox-size", "mailbox_full fail", "mailbox_full retry",
           r"storage allocation|mail ?box (size|storage|limit|quota)|extended quota|mail file size",
           phases=RECIPIENT,
           source="RFC 5321 section 4.2.3"),
    *_both("virus", "content_rejected fail", "content_rejected retry",
           r"\bvir(us(es)?|al)\b|malware|\bphish|\btrojan|\binfected", phases=MESSAGE),
    *_both("line", "content_rejected fail", "content_rejected retry", phrases.LINE,
           phases="data eod", source="RFC 5321 section 4.5.3.1.6"),
    _text("size", "too_large fail",
          r"(message|mail|e-?mail|attachment|data|content|body)s?\b(?:[^.;]|\.\w){0,60}too (large"
          r"|big|long)|(message|mail|e-?mail|attachment|header)s?( file)? (size"
          r"|length)s?\b(?:[^.;]|\.\w){0,40}(exceed|limit|too|over|maximum|larger|greater)|(exceed"
          r"|over|larger than|maximum)\w*(?:[^.;]|\.\w){0,40}(message|mail|e-?mail|header) (size"
          r"|length)|size (limit )?exceed|exceeded mailsize|size (exceeds|violation)"
          r"|too much mail data|maximum e?-?mail size|(stream|message|mail|e-?mail|data|content"
          r"|body|attachment)s?\b(?:[^.;]|\.\w){0,60}(more than|exceed\w*|larger|bigger|greater"
          r"|over|limit)\b(?:[^.;]|\.\w){0,30}\b\d+ ?([KMG]i?B|bytes?|octets|(kilo|mega)bytes?)\b|"
          + languages.SIZE,
          code="5", phases=MESSAGE, source="RFC 1870 section 6"),
    *_both("content", "content_rejected fail", "content_rejected retry",
           r"malicious|content restriction|content filter|\bNUL\b|(header|date)s? .{0,30}(fail"
           r"|syntax)|(no|not|without)\b.{0,40}\bheaders?\b|(banned|prohibited|illegal|executable"
           r"|forbidden|dangerous|blocked|unacceptable|disallowed) (content|file|attachment"
           r"|extension|mime)|attachments?\b.{0,60}(not|block|reject|forbid|prohibit|illegal|type)"
           r"|(content|header|mime|body|subject)\b(?:[^.;]|\.\w){0,50}(reject|block|not (allow"
           r"|accept|permit|compliant)|invalid|malformed|forbid|denied|policy|violat|missing|error"
           r"|mandatory|required)|malformed|(RFC|RFC-|RFC )[25][38]22\b|not RFC|RFC compliant"
           r"|missing (a )?(valid )?\W?(from|date|message-id|subject|to)\b|(duplicate|multiple"
           r"|invalid|improper|bad) (\w+ )?header|8-?bit (data|characters?)"
           r"|invalid character|MIME|\bmacros?\b|binary content|base64|charset|character set"
           r"|containing .{0,30}attachments?|(rejected|denied|restricted|unacceptable"
           r"|maximum).{0,40}attachment|attachment (filter|count)|HTML tag|missing final"
           r"|user name is missing|illegal address|Reject, id=\S+ - BANNED|required standards"
           r"|conversion failure|"
           + languages.CONTENT, phases="data eod"),
    _text("unsupported", "unsupported fail",
          r"SMTPUTF8|UTF-?8 .{0,20}addresses|8BITMIME|BINARYMIME|internationali[sz]ed|non-ASCII"
          r"|REQUIRETLS", code="5",
          phases=MESSAGE, source="RFC 6531 section 3.5"),
)  # fmt: skip

RECIPIENTS: tuple[Rule, ...] = (
    _text("try-later", "other_temporary retry",
          r"^(please |sorry,? )?(try|retry)\b.{0,30}later|mailbox (is )?busy", code="4",
          enhanced="4.2", phases=RECIPIENT, source="RFC 3463 section 3.3"),
    _text("dns", "dns_error retry",
          r"\bDNS (query|lookup|error|failure|problem)|name server failure",
          code="4", phases=MESSAGE, source="RFC 3463 section 3.5"),
    _text("temporarily-unavailable", "other_temporary retry",
          r"@\S+ temporar(il)?y unavailable|\b(recipient|account|mailbox)\b.{0,30} unavailable"
          r"|(recipient|account|mailbox|user|address)\b(?:[^.;]|\.\w){0,60}temporar(il)?y (un"
          r"|not )available|temporary (lookup|domain|name server|database|ldap|backend) (failure"
          r"|error)|(lookup|database) (failure|error)|configuration (error|problem)|could not load",
          code="4",
          phases=MESSAGE, source="RFC 5321 section 4.2.3"),
    _text("disk-space", "server_busy next_host", r"insufficient (disk|system) (space|storage)",
          code="4", phases=RECIPIENT, source="RFC 5321 section 4.2.3"),
    *_both("mailbox-full", "mailbox_full fail", "mailbox_full retry", phrases.FULL,
           phases=RECIPIENT, source="RFC 3463 section 3.3"),
    _text("mailbox-locked", "mailbox_disabled fail",
          r"temporar\w* (\w+ )?(locked|disabled|suspended|inactive|deactivated|blocked|frozen"
          r"|closed)|(locked|disabled|suspended|inactive|deactivated|blocked) temporar", code="5",
          phases="rcpt", source="RFC 3463 section 3.3"),
    *_both("mailbox-disabled", "mailbox_disabled suppress", "mailbox_disabled retry",
           phrases.DISABLED, phases="rcpt", source="RFC 3463 section 3.3"),
    *_both("mailbox-disabled-late", "mailbox_disabled suppress", "mailbox_disabled retry",
           phrases.DISABLED_LATE, phases="data eod", source="RFC 3463 section 3.3"),
    _text("unroutable", "mailbox_unknown fail", r"^unroute?able address", code="5",
          phases=RECIPIENT, source=f"{_EXIM}ch-access_control_lists.html"),
    _text("address-501", "address_invalid fail", r"(bad|invalid|illegal|malformed) .{0,20}address",
          code="501", phases="rcpt", source="RFC 5321 section 4.2.4"),
    _text("address-5.1.3", "address_invalid fail", enhanced="5.1.3", code="5", phases=RECIPIENT,
          source="RFC 3463 section 3.2"),
    *_both("domain-unknown", "domain_unknown fail", "domain_unknown retry", phrases.DOMAIN,
           phases=RECIPIENT, source="RFC 3463 section 3.2"),
    *_both("address-syntax", "address_invalid fail", "address_invalid retry",
           r"(bad|invalid|illegal|malformed) (e-?mail |recipient )?(address )?(syntax|format)"
           r"|syntax error in (address|recipient|mailbox)|address syntax|(malformed|illegal"
           r"|badly formed) (recipient )?(e-?mail )?address|restricted characters in"
           r"|not (a valid )?RFC ?5321|address is not valid rfc|empty (e-?mail )?address"
           r"|fully[- ]qualified (e-?mail )?address", phases="rcpt",
           source="RFC 3463 section 3.2"),
    _text("mailbox-unavailable", "mailbox_unknown suppress",
          r"mailbox (\S+ )?(is )?(currently )?(unavailable|not available)(?! or access)",
          code="550",
          phases=RECIPIENT, source="RFC 5321 section 4.2.3"),
    *_both("mailbox-unknown", "mailbox_unknown suppress", "mailbox_unknown retry",
           phrases.UNKNOWN, phases="rcpt", source=f"{_POSTFIX}#reject_unlisted_recipient"),
    *_both("mailbox-unknown-late", "mailbox_unknown suppress", "mailbox_unknown retry",
           phrases.UNKNOWN_LATE, phases="data eod",
           source=f"{_POSTFIX}#reject_unlisted_recipient"),
)  # fmt: skip

LAST: tuple[Rule, ...] = (
    _text("shutting-down", "server_busy next_host",
          r"shut(ting)? ?down|going down|for maintenance|restarting|rebooting", code="4",
          phases=MESSAGE, source="RFC 5321 section 3.8"),
    _text("storage", "server_busy next_host",
          r"space shortage|insufficient (system |disk |server |queue )?(storage|resources?|space"
          r"|memory)|(disk|queue|spool|file ?system|mail system) (is )?full|no space left"
          r"|out of (memory|disk)",
          code="4", phases=MESSAGE, source="RFC 5321 section 4.2.3"),
    *_both("policy", "policy fail", "policy retry",
           r"\bpolicy|\bpolicies|prohibit|administrative(ly)?\b|members?[- ]only|non-member"
           r"|delivery not authorized|closed mailing list|organi[sz]ational|not (a )?subscribe"
           r"|(allowed|permitted|authori[sz]ed) to (post|send)|user rules?|\bBATV\b|user reject"
           r"|protected by|rule imposed|captcha|not pre-?approved|(blocked|rejected|refused"
           r"|denied) by (the )?(recipient|user|admin|owner|rule)|refuses? to (accept|receive)"
           r"|not accepting (any )?mail|rejected by organi[sz]ation", phases=MESSAGE),
    _text("busy", "server_busy retry",
          r"\b(server|system|service|host|resources?|queue)\b(?:[^.;]|\.\w){0,40}(busy|unavailable"
          r"|not available|overload|temporarily rejected|refused connection|down)"
          r"|temporary (server|system) (error|failure|problem)|internal (server )?(error|problem)"
          r"|system error|queue file write|\bload\b|overload|\bbusy\b|failed to be replicated"
          r"|temporarily unable to process", code="4",
          phases=MESSAGE,
          source="RFC 5321 section 4.2.3"),
    # A time to come back at, and no other reason.
    _text("come-back-in", "greylisted retry",
          r"try again (later )?(in|after) \d+|retry (in|after) \d+|\bin \d+ (seconds|minutes)"
          r"|wait \d+|come back in", code="4", phases=MESSAGE, source="RFC 6647 section 2"),
    _text("access-denied", "policy fail", r"^(\S+@\S+ )?(access|permission) (is )?denied\b",
          code="5", phases=MESSAGE, source="RFC 3463 section 3.8"),
)  # fmt: skip

RULES: tuple[Rule, ...] = (*SENDER, *PACE, *ACCOUNT, *CONTENT, *RECIPIENTS, *LAST)
