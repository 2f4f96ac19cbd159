"""How servers put it: the patterns of :mod:`.texts` that have many ways to say one thing."""

from __future__ import annotations

TLS = (
    r"\b(START)?TLS (connection )?(is )?(required|needed)|(issue|use|start|requires?) (a )?STARTTLS"
    r"|(must|need to|please) (use|issue|enable) (START)?TLS|requires? (START)?TLS\b"
    r"|establish appropriate TLS|encryption (is )?(required|needed)|requires? (an )?encrypt"
    r"|session encryption is required"
)
RATE = (
    r"rate[- ]?limit|\bper (\d+ )?(second|minute|hour)s?\b|limit(ing)? (the )?rate|throttl"
    r"|sending rate|message rate|rate (is )?exceed|too (fast|frequent|quickly|often)"
    r"|too many (messages|mails?|emails?|requests|e-mails)\b|(connection|message|sending"
    r"|request) (rate|frequency)|frequency limit|slow(er)? down|excessive (volume|rate|number"
    r"|connection)|(per|in the last|within|this|every|an?|\d+) (second|minute"
    r"|hour)s?\b.{0,30}(limit|exceed)|(limit|exceed|too many).{0,60}(per|in the last|within|this"
    r"|every|an?) (second|minute|hour)|hourly (\w+ )?(limit|quota)|exceed\w* (the |its "
    r"|your )?(hour|minute)\w* limit|messaging limits|too much (mail|traffic)(?! data)"
    r"|limit for (processing|sending)|too many (rcpts|recipients) from|please try again slower"
)
QUOTA = (
    r"(daily|monthly|weekly|24[- ]hour|plan|account|sending|outgoing|outbound|submission"
    r"|sender)('s)? (\w+ ){0,3}(quota|limit|limits|allowance)\b.{0,40}(exceed|reach|exhaust|used)"
    r"|(exceed|reach|exhaust|used)\w*.{0,40}(daily|monthly|weekly|24[- ]hour|plan|sending|outgoing"
    r"|outbound|submission)('s)? (\w+ ){0,3}(quota|limit|limits|allowance)|(out of|insufficient"
    r"|no) credits|too many (messages|mails|emails|recipients) (today|(per|a|in one"
    r"|in the last) (24|day))|(messages|emails|mails|rcpts|recipients) (per|in) (day|24 ?h)"
    r"|relay quota|limit on the number of (allowed )?outgoing"
)
AUTHENTICATION = (
    r"\bSPF\b|Sender Policy Framework|\bDKIM\b|\bDMARC\b|\bDomainKeys\b|\bSender ID\b|\bPTR\b"
    r"|\brDNS\b|reverse[- ]?(DNS|lookup|hostname|name|host|map|record|resol)"
    r"|cannot find your (reverse )?host ?name|no reverse|(IP|host) name lookup fail"
    r"|forward.confirmed|(not|n't|does not) resolve to|unresolvable relay host name"
    r"|unauthenticated (e-?mail|message|mail|sender domain)|(fail\w*"
    r"|not pass\w*) .{0,40}authentication checks|mismatches client ip|hostname verification|openspf"
    r"|authentication information|point to the sending IP|unverif\w+ sending IP|dns lookup failure"
    r"|not allowed to send mail\b(?! (from|as))|has not passed validation"
)
HELO = (
    r"\b(HELO|EHLO)\b.{0,80}(invalid|bogus|wrong|mismatch|not resolve|does(n't| not)|rejected"
    r"|forged|required|must|not (allowed|accepted|permitted)|fully-qualified|domain address|denied"
    r"|argument)|(invalid|bad|forged|fake|bogus|illegal|impersonat\w+)\W.{0,20}\b(HELO|EHLO)"
)
URL = (
    r"(\bURLs?\b|\bURIs?\b|\blinks?\b|domain in (the )?(body|message|content)).{0,80}(listed"
    r"|black ?list|block ?list|spam|phish|malicious)|\bURIBL\b|\bSURBL\b|uribl\.com|surbl\.org"
    r"|spam URL|blacklisted URL"
)
BLOCK_LIST = (
    r"spamhaus|spamcop|sorbs\.net|\bSORBS\b|barracudacentral|barracuda\w*/reputation|uceprotect"
    r"|abuseat|senderscore|invaluement|ivmSIP|hostkarma|junkemailfilter|cloudmark"
    r"|trendmicro.{0,40}RBL|spamrl\.com|cobion|mailspike|psbl\b|backscatterer|spameatingmonkey"
    r"|truncate\.gbudb|\b(DNS|R)BLs?\b|\bRBL\b|\bDNSWL\b|blocked (using|by|at) [\w-]+(\.[\w-]+)+"
    r"|reputation|(black|block|deny)[- ]?list(ed|ing)?\b.{0,80}(\bIP\b|\d+\.\d+|host|server"
    r"|address)|(\bIPs?\b(?![=:])|\[?\d+\.\d+\.\d+\.|x\.x\.x\.x|client|host|server|network"
    r"|sender).{0,80}(black|block|deny)[- ]?list|listed (at|in|on|by) \S+\.\S+"
    r"|\bIP\b(?![=:])(?:[^.;:]|\.\w){0,60}(blocked|banned|rejected|refused|denied|not (allowed"
    r"|accepted|permitted)|abus|bad)|(blocked|banned|rejected|bad|denied|suspicious|dynamic"
    r"|abusive)\W.{0,30}\b(sending |sender )?IPs?\b|\[?\d+\.\d+\.\d+\.\d+\]? (is |has been "
    r"|was )?(blocked|banned|rejected|refused|denied)|dynamic(ally)?[ -](assigned )?(IP|address"
    r"|host)|\bIP\b.{0,40}is dynamic|open proxy|zombie|you are (a )?(sending )?spam|(currently|is"
    r"|been) sending spam|(identified|listed) as (a )?(spammer|spam source)|too many spam"
    r"|too much spam from|spam ?complaints|user complaints|are not allowed to connect"
    r"|use the smtp server of your isp|looks? suspiciously like|\bblack[- ]?list(ed)?\b"
    r"|blocked using|(blocked|refused|rejected) - see http"
    r"|access to (submit messages to )?this (mail|e-mail) system|not (currently )?accepting (mail"
    r"|connections) from (your|\[?\d|IP)|too many unwanted|may not be mail exchanger"
    r"|server access .{0,20}forbidden"
)
SENDER = (
    r"sender (e-?mail )?address rejected|sender (is |was |has been )?(rejected|denied|refused"
    r"|blocked|not (allowed|authorized|permitted|accepted|valid))|sender (verify|verification) fail"
    r"|invalid sender|(bad|unknown|bogus|unroutable|unrouteable) (sender|return[- ]?path|mail from)"
    r"|domain of sender( address)?|sender('s)? (address |e-?mail )?domain|sender domain|(from"
    r"|sender|envelope sender|return[- ]?path)( e-?mail)? (address|domain"
    r"|header)\W.{0,80}(not (verified|allowed|owned|authorized|permitted|exist|match|found|valid"
    r"|accept)|unverified|does(n't| not) (exist|match|belong|resolve)|invalid|unauthori[sz]ed"
    r"|must (match|be))|not (allowed|authorized|authorised|permitted) to (send|use).{0,40}(from|as"
    r"|sender|on behalf|address)|not owned by (the )?(auth )?user|mail from .{0,60}(not allowed"
    r"|does not exist|domain must)|envelope sender|sender address .{0,60}(does not|not|invalid)"
    r"|(unverified|unauthori[sz]ed) sender|cannot send (mail |e-?mail )?(from|as) "
)
LOGIN = (
    r"authenticat\w* (is )?(required|needed|first)|(must|need to|please"
    r"|first) (first )?(be )?(authenticate|log ?in|login)|requires? (smtp )?authentication"
    r"|not (logged in|authenticated)|(enable|turn on|use|with) (smtp[- ]auth|authentication)"
    r"|smtp[- ]auth(entication)? (is )?required|(log ?in|authenticate) (first|before)|(issue|use"
    r"|send) an? AUTH\b|no auth\b|\bAUTH (is )?required|unauthenticated (user|client|session)"
)
RELAY = (
    r"relay(ing)?( (is|access|mail|of|to|from|through|by|service))*\W*(\S+ )?(is )?(denied"
    r"|not permitted|not allowed|prohibited|disallowed|forbidden|rejected|refused|not authorized"
    r"|not supported)|(unable|not permitted|not allowed|not authori[sz]ed|cannot|can ?not|can't"
    r"|isn't allowed|don't|do not|does not|not configured|refus\w*|won't"
    r"|will not) (\w+ )?(to )?(\w+ )?relay|allowed rcpt ?hosts|not (a|an open|the) (mail )?(relay"
    r"|gateway)|no relaying|\bopen relay|as a relay|don't handle mail for"
    r"|not (one of )?our (local )?domains?|not a local (domain|address)|non-?local (domain|e-?mail"
    r"|address|recipient)|relaying mail to|insecure mail relay|specified domain is not allowed"
)
UNKNOWN = (
    r"(user|mailbox|recipient|address|account|person|e-?mail|alias|name|rcpt|customer"
    r"|addressee)\b(\W?s\b)?(?! (?:\w+ ){0,3}domain)(?:[^.;]|\.\w){0,80}?\b(unknown"
    r"|not? (be )?(found|known|exist(s|ing)?|valid|recogni[sz]ed|listed|here|present|registered"
    r"|available at|active at)|does(n't| not) (have|exist)|doesn?t exist|nonexist\w*"
    r"|non-exist\w*|could not be found|no longer (valid|exists?|here|available|works?|active|in use"
    r"|accepts?)|unrecogni[sz]ed|undeliverable|unallocated|unroutable)|\b(unknown|no such"
    r"|non-?existent|invalid|bad|nonexisting|unrecogni[sz]ed|incorrect|wrong"
    r"|undeliverable) (destination )?(local )?(e-?mail )?(user|mailbox|recipient|address(ee)?"
    r"|account|person|rcpt|customer|alias|destination|name|local ?part|e-?mail|id|part|virtual)s?\b"
    r"|no such (a )?(local )?\w+ (user|here)|no (mailbox|mail ?box|account|user|one"
    r"|recipient)\w*( \w+){0,2} (by|with|for|of|at|here)\b|not? (a )?(valid|known|existing"
    r"|registered) (\w+ )?(user|mailbox|recipient|address|account)|not in (our|the|my"
    r"|this) (\w+ )?(directory|list of recipients|valid ?rcpt|database)|not in recipient list"
    r"|mailbox not found|badrcptto|user_unknown|userunknown|invalid-recipient"
    r"|cannot be delivered to|\b(utilisateur|destinataire|adresse|boite)\b.{0,40}(inconnue?"
    r"|inexistant|invalide)|\bsconosciut\w|\binconnue?s?\b|\bdesconocid\w|\bdesconhecid\w"
    r"|\bunbekannt|nicht bekannt|(empf(ae|ä)nger|benutzer|postfach|adresse) .{0,40}(unbekannt"
    r"|existiert nicht|nicht gefunden)|(usuario|destinatario|buz[oó]n|cuenta|utente|usu[aá]rio"
    r"|caixa)\b.{0,40}(no existe|desconocid|inesistente|sconosciut|n[aã]o existe|inexistente)"
    r"|no existe"
)
DISABLED = (
    r"(mailbox|account|user|recipient|addressee?|e-?mail|customer)\b(?!.{0,20}\bIP\b)(?:[^.;]"
    r"|\.\w){0,80}?\b(disabled|inactive|suspended|deactivated|locked|closed|terminated|expired"
    r"|frozen|not active(?! at)|discontinued|archived|blocked|cancell?ed|on hold"
    r"|not (currently )?accepting|no longer accept\w*|administratively)\b|(is|has been) (currently "
    r"|temporarily )?(suspended|deactivated|disabled)|temporar(il)?y locked|archived recipient"
    r"|recipient suspend|extended inactivity|\b(disabled|inactive|suspended|deactivated|locked"
    r"|frozen|expired|dormant) (mailbox|account|user|recipient|e-?mail|address)"
)
FULL = (
    r"over[- ]?quota|over (the |its |his |their |disk |storage )*quota|quota (is )?(full|exceed"
    r"|violat)\w*|exceed\w* .{0,40}(quota|storage|space)|(mail ?box|mail ?folder|inbox"
    r"|mailbox for user|account|mail ?dir) (is |are )?(too )?(full|over)|full mailbox|mailbox (size"
    r"|storage|limit|quota|space)\w*.{0,30}(exceed|full|reach)|storage (limit|allocation|quota)"
    r"|out of (storage|(disk )?space)|disk ?(space )?quota|exhausted (the |its )?(allowed )?storage"
    r"|Speicher\w* .{0,20}(ueber|über)schritten|not enough (disk |storage |free )?space"
    r"|insufficient (disk |mailbox |storage )?(space|storage) .{0,40}(mailbox|user)"
    r"|no (more )?(disk )?space .{0,30}(mailbox|user)|would exceed|too many messages (on|in) (the "
    r"|this )?(server|mailbox)|space has been used up|quota exceeded|would be over|mail ?box exceed"
    r"|over the allowed quota|(not|n't have|insufficient|no) ?(sufficient|enough)? (free |disk "
    r"|storage )*space|no space left|mail file size exceeds|\bpleine\b|voll\b|llen[ao]\b|\bpiena\b"
    r"|cheia\b"
)
DOMAIN = (
    r"\b(domain|host)\b( name)?(?:[^.;:]|\.\w){0,60}(not (be )?(found|exist|known|resolved?)"
    r"|unknown|does(n't| not) exist|not reachable|not valid|has no MX|nonexist\w*|invalid"
    r"|could not be resolved|no longer exists|must exist)|\b(unknown|no such|non-?existent|invalid"
    r"|unroutable|unrouteable|bad) (mail )?(domain|host)|no (MX|valid MX|mail server"
    r"|A,? AAAA,? or MX|DNS)\b.{0,40}(for|found|record)|name or service not known"
    r"|tenant or domain not found"
)
