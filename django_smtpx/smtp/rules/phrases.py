"""How servers put it: the patterns of :mod:`.texts` that have many ways to say one thing."""

from __future__ import annotations

from django_smtpx.smtp.rules import languages

TLS = (
    r"\b(START)?TLS (connection )?(is )?(required|needed)|(issue|use|start"
    r"|requires?) (a )?STARTTLS|(must|need to|please) (use|issue|enable) (START)?TLS"
    r"|requires? (START)?TLS\b|establish appropriate TLS|encryption (is )?(required|needed)"
    r"|requires? (an )?encrypt|session encryption is required|(SSL|TLS|SSL/TLS)( connection)? (is "
    r"|must be |should be )?(requi?e?red|needed|mandatory)|without (an? )?(SSL|TLS|encryption"
    r"|secure)|^use (SSL|TLS)|(secure|encrypted) (connection|channel|session) (is )?(requi?e?red"
    r"|needed|mandatory)|requires? (an? )?(SSL|TLS|secure|encrypted) (connection|channel|session)"
    r"|on non-?secure|plaintext auth\w* (is )?(disallowed|not allowed|disabled)"
)
RATE = (
    r"rate[- ]?limit|\bper (\d+ )?(second|minute|hour)s?\b|limit(ing)? (the )?rate|throttl"
    r"|sending rate|message rate|rate (is )?exceed|too (fast|frequent|quickly|often)"
    r"|too many (messages|mails?|emails?|requests|e-mails)\b(?! (on|in) )|(connection|message"
    r"|sending|request) (rate|frequency)|frequency limit|slow(er)? down|excessive (volume|rate"
    r"|number|connection)|(per|in the last|within|this|every|an?|\d+) (second|minute"
    r"|hour)s?\b.{0,30}(limit|exceed)|(limit|exceed|too many).{0,60}(per|in the last|within|this"
    r"|every|an?) (second|minute|hour)|hourly (\w+ ){0,2}(limit|quota|allowance)|exceed\w* "
    r"(the |its |your )?(hour|minute)\w* limit|messaging limits|too much (mail|traffic)(?! data)"
    r"|limit for (processing|sending)|too many (rcpts|recipients) from|please try again slower|"
) + languages.RATE
# What begins anew within the hour is a matter of pace: nobody has to do anything about it.
_NOT_HOURLY = (
    r"^(?!(?!.*\b(daily|weekly|monthly|per (day|month))\b)"
    r".*\b(hourly|(per|every|this|last|within an) hour)\b)"
)
_QUOTA = (
    r"(daily|monthly|weekly|24[- ]hour|plan|account|sending|outgoing|outbound|submission"
    r"|sender)('s)? (\w+ ){0,3}(quota|limit|limits|allowance)\b.{0,40}(exceed|reach|exhaust|used)"
    r"|(exceed|reach|exhaust|used)\w*.{0,40}(daily|monthly|weekly|24[- ]hour|plan|sending|outgoing"
    r"|outbound|submission)('s)? (\w+ ){0,3}(quota|limit|limits|allowance)|(out of|insufficient"
    r"|no) credits|too many (messages|mails|emails|recipients) (today|(per|a|in one"
    r"|in the last) (24|day))|(messages|emails|mails|rcpts|recipients) (per|in) (day|24 ?h)"
    r"|relay quota|limit on the number of (allowed )?outgoing"
)
QUOTA = rf"{_NOT_HOURLY}.*({_QUOTA})"
AUTHENTICATION = (
    r"\bSPF\b|Sender Policy Framework|\bDKIM\b|\bDMARC\b|\bDomainKeys\b|\bSender ID\b|\bPTR\b"
    r"|\brDNS\b|reverse[- ]?(DNS|lookup|hostname|name|host|map|record|resol)"
    r"|cannot find your (reverse )?host ?name|no reverse|(IP|host) name lookup fail"
    r"|forward.confirmed|(not|n't|does not) resolve to|unresolvable relay host name"
    r"|unauthenticated (e-?mail|message|mail|sender domain)|(fail\w*"
    r"|not pass\w*) .{0,40}authentication checks|mismatches client ip|hostname verification"
    r"|openspf|authentication information|point to the sending IP|unverif\w+ sending IP"
    r"|dns lookup failure|not allowed to send mail\b(?! (from|as|to|at|for))"
    r"|has not passed validation|\d+\.\d+\.\d+\.\d+\]?>? is not (allowed"
    r"|authori[sz]ed) to send (e-?)?mails? from|invalid ip for sending mail|IP must resolve"
    r"|host can't be resolved|\bARC (validation|seal|chain)"
)
HELO_DNS = (
    r"\b(HELO|EHLO)\b.{0,80}(host not found|not (be )?(resolve|found)|n't resolve|unknown host"
    r"|\bDNS\b|\bMX record|\bA record|lookup fail)|unresolvable (HELO|EHLO)"
)
HELO = (
    r"\b(HELO|EHLO)\b.{0,80}(invalid|bogus|wrong|mismatch|not resolve|does(n't| not)|rejected"
    r"|forged|required|must|should (?!be (first|sent|issued))|(needs?|has) to be an? |not (allowed"
    r"|accepted|permitted|valid|a valid)|incorrect|illegal|unqualified|fully[- ]qualified|FQDN"
    r"|domain address|denied|argument)"
    r"|(invalid|bad|forged|fake|bogus|illegal|incorrect|wrong|unqualified"
    r"|impersonat\w+)\W.{0,20}\b(HELO|EHLO)"
)
URL = (
    r"(\bURLs?\b|\bURIs?\b|\blinks?\b|domain in (the )?(body|message|content)).{0,80}(listed"
    r"|black ?list|block ?list|spam|phish|malicious)|\bURIBL\b|\bSURBL\b|uribl\.com|surbl\.org"
    r"|spam URL|(black|block)[- ]?listed (URL|URI|link)"
)
# An address in the number of ways that servers write it, and that people blot it out.
_IP = r"\b(?:(?:\d+|x+)(?:\.(?:\d+|x+)){3}|[\da-f]{1,4}(?::[\da-f]{0,4}){3,7})\.?[\])>]*"
BLOCK_LIST = (
    r"spamhaus|spamcop|sorbs\.net|\bSORBS\b|barracudacentral|barracuda\w*/reputation|uceprotect"
    r"|abuseat|senderscore|invaluement|ivmSIP|hostkarma|junkemailfilter|cloudmark"
    r"|trendmicro.{0,40}RBL|spamrl\.com|cobion|mailspike|psbl\b|backscatterer|spameatingmonkey"
    r"|truncate\.gbudb|\b(DNS|R)BL\w*|\w(DNS|R)BLs?\b|\bDNSWL\b|blocked (using(?! spam)|by"
    r"|at) [\w-]+(\.[\w-]+)+|reputation|(black|block|deny)[- ]?list(ed|ing)?\b.{0,80}(\bIP\b"
    r"|\d+\.\d+|host|server|address)|(\bIPs?\b(?![=:])|\[?\d+\.\d+\.\d+\.|x\.x\.x\.x|client|host"
    r"|server|network|sender).{0,80}(black|block|deny)[- ]?list|listed (at|in|on|by) \S+\.\S+"
    r"|\bIP\b(?![=:])(?:[^.;:]|\.\w){0,60}(blocked|banned|filtered|rejected|refused|denied"
    r"|not (allowed"
    r"|accepted|permitted)|abus|bad)|(blocked|banned|rejected|bad|denied|suspicious|dynamic"
    r"|abusive)\W.{0,30}\b(sending |sender )?IPs?\b"
    rf"|{_IP} (is |has been |was )?((currently|now|temporarily|permanently|being) )?"
    r"(blocked|banned|filtered|firewalled|rejected|refused|denied)\b"
    r"|dynamic(ally)?[ -](assigned )?(IP|address|host)|\bIP\b.{0,40}is dynamic|open proxy|zombie"
    r"|you are (a )?(sending )?spam|(currently|is"
    r"|been) sending spam|(identified|listed) as (a )?(spammer|spam source)|too many spam"
    r"|too much spam from|spam ?complaints|user complaints|are not allowed to connect"
    r"|use the smtp server of your isp|looks? suspiciously like|\bblack[- ]?list(ed)?\b"
    r"|blocked using(?! spam)|(blocked|refused|rejected) - see http"
    r"|access to (submit messages to )?this (mail|e-mail) system|not (currently )?accepting (mail"
    r"|connections) from (your|\[?\d|IP)|too many unwanted|may not be mail exchanger"
    r"|server access .{0,20}forbidden|\bblock[- ]?list(ed|ing)?\b|abusix|\bIP\b.{0,40}(excessive"
    r"|flooding)|mail from \[?(\d+\.\d+|x\.x)\.[\dx.]+\]? (was )?(refused|rejected|not allowed)"
    r"|not allowed to send us|too many unknown rcpt|(refused|rejected|blocked|denied) (due to"
    r"|for) abuse\b|(mail ?server|host|client) (is |has been )(currently )?(blocked|banned)"
    r"|not accept connections from|connection (refused|rejected) from|"
) + languages.BLOCK_LIST
SENDER = (
    r"sender (is |was |has been )?(rejected|denied|refused|blocked|not (allowed|authorized"
    r"|permitted|accepted|valid))|sender (verify|verification) fail|invalid sender|(bad|unknown"
    r"|bogus|unroutable|unrouteable) (sender|return[- ]?path|mail from)"
    r"|domain of sender( address)?|sender('s)? (address |e-?mail )?domain|sender domain|(from"
    r"|sender|envelope sender|return[- ]?path)( e-?mail| display)? (address|domain|header|field"
    r"|identity|name(?! ?server))\W.{0,80}(not (verified|allowed|owned|authorized|permitted|exist"
    r"|match|found|valid|accept)|unverified|does(n't| not) (exist|match|belong|resolve)|invalid"
    r"|unauthori[sz]ed|must (match|be))|not (allowed|authorized|authorised|permitted) to (send"
    r"|use).{0,40}(from|as|sender|on behalf|address)|not owned by (the )?(auth )?user"
    r"|mail from .{0,60}(not allowed"
    r"|does not exist|domain must)|envelope sender|sender address .{0,60}(does not|not|invalid)"
    r"|(unverified|unauthori[sz]ed) sender|cannot send (mail |e-?mail )?(from|as) "
    r"|From: domain is invalid|SenderFilterConfig|spoofed (mail from|sender)|verify mail ?from "
    r"failed|e?-?mail is not in my|mail from is mismatched|domain is not verified|only send "
    r"testing|not allowed in header|(domain|address|sender|e-?mail|identity)\b.{0,60}(not"
    r"|n't) ((associated|registered|connected) with|(assigned|linked|belong|added|registered) to"
    r"|(registered|configured|verified|set up|authori[sz]ed|enabled) (in|for|on|under)|owned by"
    r"|part of) (your|this) (\w+ )?(account|sub-?account|user|workspace|plan|subscription"
    r"|organi[sz]ation|project)|"
) + languages.SENDER
LOGIN = (
    r"authenticat\w* (is )?(required|needed|first)|(must|need to|please"
    r"|first) (first )?(be )?(authenticate|log ?in|login)|requires? (smtp )?authentication"
    r"|not logged in|or authentication mechanism|(?<!domain )(?<!domain is )not authenticated"
    r"|(enable|turn on|use"
    r"|with) (smtp[- ]auth|authentication)|smtp[- ]auth(entication)? (is )?required|(log ?in"
    r"|authenticate) (first|before)|(issue|use|send) an? AUTH\b|no auth\b|\bAUTH (is )?required"
    r"|unauthenticated (user|client|session)|"
) + languages.LOGIN
RELAY = (
    r"relay(ing)?( (is|access|mail|of|to|from|through|by|service))*\W*(\S+ )?(is )?(denied"
    r"|not permitted|not allowed|prohibited|disallowed|forbidden|rejected|refused|not authorized"
    r"|not supported)|(unable|not permitted|not allowed|not authori[sz]ed|cannot|can ?not|can't"
    r"|isn't allowed|don't|do not|does not|not configured|refus\w*|won't"
    r"|will not) (\w+ )?(to )?(\w+ )?relay|allowed rcpt ?hosts?\b|not (a|an open"
    r"|the) (mail )?(relay|gateway)|no relaying|\bopen relay|as a relay|don't handle mail for"
    r"|not (one of )?our (local )?domains?|not a local (domain|address)|non-?local (domain|e-?mail"
    r"|address|recipient)|relaying mail to|insecure mail relay|specified domain is not allowed"
    r"|\brelay(ing)?( (access|mail|service|is|has been|was|currently|now))* (disabled|not enabled"
    r"|restricted|blocked(?! by)|turned off|switched off)\b|not local host|use (the )?submission\b"
    r"|submission port|port 587\b|"
) + languages.RELAY
UNKNOWN = (
    r"(user|mailbox|recipient|address|account|person|e-?mail|alias|name|rcpt|customer"
    r"|addressee)\b(\W?s\b)?(?! (?:\w+ ){0,3}domain)(?:[^.;]|\.\w){0,80}?\b(unknown"
    r"|not? (be )?(found|known|exist(s|ing)?|valid|recogni[sz]ed|listed|here|present|registered"
    r"|available at|active at)|does(n't| not) (have|exist)|doesn?t exist|nonexist\w*|non-exist\w*"
    r"|could not be found|deleted|removed|no longer (valid|exists?|here|available|works?|active"
    r"|in use|accepts?)|unrecogni[sz]ed|undeliverable|unallocated|unroutable)|\b(unknown|no such"
    r"|non-?existent|invalid|bad|nonexisting|unrecogni[sz]ed|incorrect|wrong"
    r"|undeliverable) (destination )?(local )?(e-?mail )?(user|mailbox|recipient|address(ee)?"
    r"|account|person|rcpt|customer|alias|destination|name|local ?part|e-?mail|id|part"
    r"|virtual)s?\b|no such (a )?(local )?\w+ (user|here)|no (mailbox|mail ?box|account|user|one"
    r"|recipient)\w*( \w+){0,2} (by|with|for|of|at|here)\b|not? (a )?(valid|known|existing"
    r"|registered) (\w+ )?(user|mailbox|recipient|address|account)|not in (our|the|my"
    r"|this) (\w+ )?(directory|list of recipients|valid ?rcpt|database)|not in recipient list"
    r"|mailbox not found|badrcptto|user_unknown|userunknown|invalid-recipient"
    r"|cannot be delivered to|(unable to find|not found|cannot deliver mail for) (the )?(<|\S+@"
    r"|(user|recipient|mailbox|account))|no mail-box|no mailbox\W*$|not deliverable|not a member "
    r"of domain|(recipient|user|address) (cannot|can not|can't) be verified|(does not|doesn't) "
    r"have an account|x@y\W{0,4}(is "
    r"|was )?(unknown|not (found|known)|does(n't| not) exist)|not listed in domino|no such id\b"
    r"|no (redirect|forward\w*|alias) entry|(address|recipient|user) unknown|"
) + languages.UNKNOWN
DISABLED = (
    r"(mailbox|account|user|recipient|address(ee)?|e-?mail|customer)\b(?!.{0,20}\bIP\b)(?:[^.;]"
    r"|\.\w){0,80}?\b(disabled|inactive|suspended|deactivated|locked|closed|terminated|expired"
    r"|frozen|not (yet )?activ(e|ated)(?! at)|discontinued|archived|blocked(?! (by|using|at|from"
    r"|for))|cancell?ed|on hold|not (currently )?accepting|no longer accept\w*|administratively)\b"
    r"|(is|was|has been) ((currently|temporarily|now|permanently|already|automatically) )?"
    r"(suspended|deactivated|disabled)"
    r"|temporar(il)?y locked|archived recipient|recipient suspend|extended inactivity|\b(disabled"
    r"|inactive|suspended|deactivated|locked|frozen|expired|dormant) (mailbox|account|user"
    r"|recipient|e-?mail|address)|mail receiving disabled|receiving (is )?(disabled|suspended)"
    r"|incoming .{0,20}suspended|no recipient activity|long-?time inactivity"
    r"|should log in to enable|(user|mailbox|account|recipient)\b.{0,40}(can ?not"
    r"|unable to) receive (e-?mails?|mails?|messages)|"
) + languages.DISABLED
# Behind the content an account may be the sender's, and a name that is unknown a header's.
DISABLED_LATE = (
    r"\b(mailbox|recipient|addressee)\b(?:[^.;]|\.\w){0,60}\b(disabled|inactive|suspended"
    r"|deactivated|frozen|expired)\b|\b(disabled|inactive) (mailbox|recipient)"
    r"|(?<!your )(?<!sender )\baccount( x@y)?\W*(is |has been )?(currently )?"
    r"(inactive|dormant|no longer active)|(?<!your )\b(inactive|dormant) (e-?mail )?account|"
) + languages.DISABLED_LATE
UNKNOWN_LATE = (
    r"\b(user|mailbox|recipient|addressee|account)\b(?:[^.;]|\.\w){0,60}\b(unknown"
    r"|not (be )?found|not exist|does(n't| not) exist|no longer exists)|\b(unknown|no such"
    r"|invalid) (local )?(user|mailbox|recipient|account)\b|(?<!from )(?<!sender )\be-?mail"
    r"( address)?\W*(x@y\W*)?(is ?|was ?|do(es)? ?)?((not|n't) (exist|found)|no longer exists"
    r"|unknown|non-?exist\w*)"
    r"|no such e-?mail( address)?\b|"
) + languages.UNKNOWN_LATE
FULL = (
    r"over[- ]?quota|over (the |its |his |their |disk |storage )*quota|quota (is )?(full|exceed"
    r"|violat)\w*|exceed\w* .{0,40}(quota|storage|space)|(mail ?box|mail ?folder|inbox"
    r"|mailbox for user|account|mail ?dir) (is |are )?(too )?(full|over)|full mailbox"
    r"|mailbox (size|storage|limit|quota|space)\w*.{0,30}(exceed|full|reach)|storage (limit"
    r"|allocation|quota)|out of (storage|(disk )?space)|disk ?(space )?quota|exhausted (the "
    r"|its )?(allowed )?storage|not enough (disk |storage |free )?space|insufficient (disk "
    r"|mailbox |storage )?(space|storage) .{0,40}(mailbox|user)"
    r"|no (more )?(disk )?space .{0,30}(mailbox|user)|would exceed|too many messages (on|in) (the "
    r"|this )?(server|mailbox)|space has been used up|quota exceeded|would be over"
    r"|mail ?box exceed|over the allowed quota|(not|n't have|insufficient|no) ?(sufficient"
    r"|enough)? (free |disk |storage )*space|no space left|mail file size exceeds|quota is (over"
    r"|reached)|out of quota|quota limit (is )?exceed|diskspace|(maximum )?allowed (number of "
    r"messages|message count)"
    r"|not able to receive any more|storage full|space not enough|than the space available"
    r"|(mail ?box|inbox|storage)\b.{0,60}\bfull\b|(enough|sufficient) (free |disk |storage "
    r"|mailbox )?space|exceeds (the |its )?allowed size|(storage|mailbox|mail ?box"
    r"|size) limit ex(c)?eeded|over (its|the|his) storage limit|"
) + languages.FULL
DOMAIN = (
    r"\b(domain|host)\b( name)?(?:[^.;:]|\.\w){0,60}(not (be )?(found|exist|known|resolved?)"
    r"|unknown|does(n't| not) exist|not reachable|not valid|has no MX|nonexist\w*|invalid"
    r"|could not be resolved|no longer exists|must exist)|\b(unknown|no such|non-?existent|invalid"
    r"|unroutable|unrouteable|bad) (mail )?(domain|host)|no (MX|valid MX|mail server"
    r"|A,? AAAA,? or MX|DNS)\b.{0,40}(for|found|record)|name or service not known"
    r"|tenant or domain not found|destination system address|dead domain|domain is not in use"
    r"|no DNS A\b|DNS says does|(points?|resolves?) to non-?exist\w* host"
    r"|no mail hosts? for domain|non-?exist\w* domain|"
) + languages.DOMAIN
NO_REASON = (
    r"^(your )?(message |mail |e-?mail )?(is |was )?(rejected|refused|denied|not accepted)\W*$"
    r"|^go away|(internal|server|system|local|temporary|configuration|verification) (server "
    r"|system |local |configuration )?(error|problem|fail\w*)|service (is )?(currently "
    r"|temporarily )?(not available|unavailable)|transaction failed|try again|retry later"
    r"|misconfigured|mailer error|connection (was )?(refused|reset|timed out|dropped)|(message"
    r"|delivery) (time )?(expired|timed out)|unreachable|no route"
)
TRANSACTION_OPEN = (
    r"transaction (is )?(already )?(in progress|open|active|started|under way)|nested MAIL"
    r"|(sender|mail from|MAIL) (is |was )?already (been )?(specified|given|set|sent|issued"
    r"|received)|already (have|has|got|had) (a |the )?sender|(duplicate|second) MAIL( FROM)?\b"
)
FILTER_FAILED = (
    r"error in processing, id=|(unable to|failed to|failure to|could not|couldn't|cannot|can't"
    r"|can not) (be )?(quarantine|scan|virus|(spam|virus)[- ]?(check|scan))"
    r"|\b(virus|spam|content|malware)[- ](scan\w*|engine|daemon|service|filter\w*|checker)\b"
    r"(?:[^.;]|\.\w){0,20}\b(failed to|failure|error|unavailable|not (available|responding)"
    r"|timed? ?out|malfunction\w*|is down)\b|\b(virus|malware) scan\w* failed"
)
LINE = (r"\blines?\b.{0,30}(too long|length|longer|limit)|\blong lines?|") + languages.LINE
