"""Access providers and mailbox providers of single countries."""

from __future__ import annotations

from django_smtpx.smtp.rules.rule import MESSAGE, RECIPIENT, Family, Rule

_comcast = Family("comcast", "http://postmaster.comcast.net/smtp-error-codes.php")
_cox = Family("cox", "https://www.cox.com/residential/support/email-error-codes.html")
_spectrum = Family(
    "spectrum",
    "https://www.spectrumbusiness.net/support/internet/understanding-email-error-codes",
)
_att = Family("att", "https://www.att.com/support/article/email-support/KM1010523/")

AMERICAN: tuple[Rule, ...] = (
    _comcast("block", "reputation fail", r"Comcast block for spam|smtp-error-codes\.php#BL",
             code="5"),
    _comcast("rate", "rate_limited slow", r"smtp-error-codes\.php#RL", code="4"),
    _comcast("recent-messages", "recipient_rate retry", r"too many recent messages", code="4",
             phases=RECIPIENT),
    _comcast("not-a-customer", "mailbox_unknown suppress",
             r"Not our Customer|recipient mailbox unallocated", code="5", phases=RECIPIENT),
    _comcast("closed", "mailbox_disabled suppress", r"Account (Closed|not available)", code="5",
             phases=RECIPIENT),
    _cox("reputation", "reputation fail", r"\bAUP#(CXBL|CDRBL|IPBL\d+)", code="5"),
    _cox("reputation-now", "reputation pause", r"\bAUP#(CXBL|CDRBL|IPBL\d+)", code="4"),
    _cox("authentication", "sender_auth fail", r"\bAUP#(CXDNS|CXSNDR)", code="5"),
    _cox("authentication-now", "sender_auth pause", r"\bAUP#(CXDNS|CXSNDR)", code="4"),
    _cox("rate", "rate_limited slow", r"\bAUP#(CXCNCT|CXMXRT)"),
    _cox("url", "spam fail", r"\bAUP#URLBL", code="5"),
    _spectrum("reputation", "reputation fail", r"\bAUP#[A-Z-]*(1000|12[0-5]0)", code="5"),
    _spectrum("reputation-now", "reputation pause", r"\bAUP#[A-Z-]*(1000|12[0-5]0)", code="4"),
    _spectrum("reverse-dns", "sender_auth fail", r"\bAUP#[A-Z-]*11[0-5]0", code="5"),
    _spectrum("reverse-dns-now", "sender_auth pause", r"\bAUP#[A-Z-]*11[0-5]0", code="4"),
    _spectrum("policy", "policy fail", r"\bAUP#[A-Z-]*11[6-9]0", code="5"),
    _spectrum("rate", "rate_limited slow", r"\bAUP#[A-Z-]*(13\d0|14\d0|1540|1580)"),
    _spectrum("sender", "sender_rejected hold", r"\bAUP#[A-Z-]*15[02]0", code="5"),
    _att("block-list", "reputation fail", r"DNSBL:(ATT)?RBL|blocked for abuse\. see http://att",
         code="5"),
    _att("addressee", "mailbox_unknown suppress", r"Addressee unknown|blank mailhost", code="5",
         phases=RECIPIENT),
)  # fmt: skip

# Orange, its former subsidiaries and La Poste number their replies: OFR_417, LPN007_426.
_orange = Family("orange", "https://www.postmastery.com/orange-postmaster-smtp-error-codes-ofr/")


def _number(numbers: str) -> str:
    return rf"\b(OFR|LPN|OUK)[A-Z0-9]*[_-]?({numbers})\b|\[({numbers})\]$"


_sfr = Family("sfr", "https://www.sfr.fr/postmaster")
_free = Family("free", "https://postmaster.free.fr/")

FRENCH: tuple[Rule, ...] = (
    _orange("connections", "rate_limited slow", rf"{_number('104')}|Trop de connexions"),
    _orange("blocked", "reputation fail", rf"{_number('101|102|103|510|999')}|incident de spam",
            code="5"),
    _orange("blocked-now", "reputation pause",
            rf"{_number('101|102|103|510|999')}|incident de spam", code="4"),
    _orange("spf", "sender_auth fail",
            rf"{_number('401|517')}|SPF/DNS de votre nom de domaine", code="5"),
    _orange("spf-now", "sender_auth pause",
            rf"{_number('401|517')}|SPF/DNS de votre nom de domaine", code="4"),
    _orange("login", "auth_failed hold", _number("305"), relay=True),
    _orange("login-required", "auth_required hold", _number("402"), relay=True),
    _orange("sender", "sender_rejected hold", rf"{_number('403|405|415|421')}|Emetteur invalide"),
    _orange("no-such-recipient", "mailbox_unknown suppress",
            rf"{_number('416|418')}|destinataire invalide", code="5", phases=RECIPIENT),
    _orange("mailbox-full", "mailbox_full fail", rf"{_number('417')}|destinataire pleine",
            code="5", phases=RECIPIENT),
    _orange("mailbox-full-now", "mailbox_full retry", rf"{_number('417')}|destinataire pleine",
            code="4", phases=RECIPIENT),
    _orange("mailbox-disabled", "mailbox_disabled suppress",
            rf"{_number('420|426')}|destinataire archivee|compte du destinataire est bloque",
            code="5", phases=RECIPIENT),
    _orange("spam", "spam fail", rf"{_number('506|513')}|Mail rejete", code="5"),
    _orange("size", "too_large fail", rf"{_number('514')}|Taille limite du message", code="5"),
    _orange("policy", "policy fail", _number("630"), code="5"),
    _orange("later", "server_busy retry", r"Service refuse|Veuillez essayer plus tard", code="4",
            phases=MESSAGE),
    _orange("refused", "reputation fail", r"Service refuse|Veuillez essayer plus tard", code="5"),
    _sfr("abuse", "reputation fail", r"Abus detecte", code="5"),
    _sfr("abuse-now", "reputation pause", r"Abus detecte", code="4"),
    _free("errors", "reputation pause", r"too many (errors|spams?) from your ip", code="4"),
    _free("spams", "reputation fail", r"too many (errors|spams?) from your ip", code="5"),
    _free("inactive", "mailbox_disabled suppress", r"blocked due to inactivity", code="5",
          phases=RECIPIENT),
)  # fmt: skip

_gmx = Family("gmx", "https://postmaster.gmx.net/en/error-messages")
_t_online = Family("t-online", "https://postmaster.t-online.de/")

GERMAN: tuple[Rule, ...] = (
    _gmx("block-list", "reputation fail",
         r"IP address is (black|block) ?listed|policy restrictions ?\((IP|domain) based\)"
         r"|No SMTP service.{0,40}dynamic", code="5"),
    _gmx("sender-domain", "sender_rejected hold",
         r"Invalid DNS MX or A/AAAA resource record", code="5"),
    _gmx("policy", "policy fail", r"Reject due to policy (restrictions|violations?)", code="5"),
    _gmx("policy-now", "reputation pause", r"Reject due to policy (restrictions|violations?)",
         code="4"),
    # Their submission servers say so to somebody who sends too much; half an hour later not.
    _gmx("submission-rate", "rate_limited slow",
         r"mailbox unavailable Failure sending mail\. Try again later", code="550",
         source="https://github.com/nodemailer/nodemailer/issues/1555"),
    _t_online("block-list", "reputation fail",
              r"IP ?[=:].{0,60}(A problem occurred|None/bad reputation)|rx\.t-online\.de",
              code="5"),
    _t_online("block-list-now", "reputation pause", r"IP ?[=:].{0,60}A problem occurred",
              code="4"),
)  # fmt: skip

_mail_ru = Family("mail-ru", "https://help.mail.ru/developers/mailing_rules/technical")
_yandex = Family("yandex", "https://yandex.com/support/mail/web/letter/smtp-errors.html")
_rambler = Family("rambler", "https://help.rambler.ru/mail/mail-oshibki/")

RUSSIAN: tuple[Rule, ...] = (
    _mail_ru("disabled", "mailbox_disabled suppress",
             r"is unavailable: (account is disabled|user is (terminated|suspended|blocked))",
             code="5", phases=RECIPIENT),
    _mail_ru("invalid-mailbox", "mailbox_unknown suppress",
             r"not accepted -- invalid mailbox|is unavailable: user not found", code="5",
             phases=RECIPIENT),
    _mail_ru("dynamic-ip", "reputation fail",
             r"do not accept mail from (hosts with )?dynamic ip|Access from ip address \S+ blocked",
             code="5"),
    _yandex("not-owned", "sender_rejected hold", r"not owned by auth user", code="5"),
    _yandex("spam", "spam fail", r"rejected under suspicion of SPAM", code="5"),
    _yandex("busy", "server_busy retry", r"service is currently unavailable\. Please come back",
            code="4", phases=MESSAGE),
    _rambler("recipient", "mailbox_disabled suppress",
             r"recipient address rejected: (Inactive|Blocked)$", code="540", phases=RECIPIENT),
)  # fmt: skip

_qq = Family("qq", "https://service.mail.qq.com/detail/122")
_netease = Family("netease", "http://mail.163.com/help/help_spam_16.htm")

CHINESE: tuple[Rule, ...] = (
    _qq("frequency", "rate_limited slow", r"(IP|sender|domain|connection) frequency limited"),
    _qq("content", "spam fail", r"Mail content denied|spam is embedded in the email", code="5"),
    _qq("suspected", "reputation fail",
        r"Suspected (spam (ip|sender)|bounce attacks)|^Connection denied", code="5"),
    _qq("rejected-by-recipients", "policy fail", r"Mail is rejected by recipients", code="5"),
    _qq("deactivated", "mailbox_disabled suppress", r"is a deactivated mailbox", code="5",
        phases=RECIPIENT),
    _netease("spam", "spam fail", r"\bDT:SP(M|B)\b|\bMI:SPB\b", code="5"),
    _netease("spam-now", "spam retry", r"\bDT:SPM\b", code="4"),
    _netease("rate", "rate_limited slow",
             r"\b(HL:(ICC|IFC|ITC)|MI:(STC|SFQ)|RP:(TRC|RCL|QRC|ORQ))\b"),
    _netease("connection", "rate_limited reconnect", r"\b(MI:(DMC|CEL|CCL)|RP:(DRC|CEL|CCL))\b"),
    _netease("block-list", "reputation fail", r"\b(HL:(REP|MEP|IPB)|DT:RBL|WM:BL[IU])\b"
             r"|^IP in blacklist", code="5"),
    _netease("block-list-now", "reputation pause", r"\b(HL:(REP|MEP|IPB)|DT:RBL|WM:BL[IU])\b",
             code="4"),
    _netease("authentication", "sender_auth fail", r"\bMI:(SPF|DMA)\b", code="5"),
    _netease("helo", "protocol_error hold", r"\b(HL:IHU|MI:NHD)\b", code="5"),
    _netease("from", "sender_rejected hold", r"\b(DT:SUM|MI:IMF)\b", code="5"),
    _netease("relay", "relay_denied hold", r"\bRP:FRL\b|: Local user only|: no smtp MX only",
             code="5", relay=True),
    _netease("relay-mx", "relay_denied fail", r"\bRP:FRL\b|: Local user only|: no smtp MX only",
             code="5", relay=False),
    _netease("suspended", "mailbox_disabled suppress", r"^User suspended", code="5",
             phases=RECIPIENT),
    _netease("logins", "auth_failed hold", r"too much fail authentication|smtp auth error limit",
             phases="auth mail"),
)  # fmt: skip

RULES: tuple[Rule, ...] = (*AMERICAN, *FRENCH, *GERMAN, *RUSSIAN, *CHINESE)
