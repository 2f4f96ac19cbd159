"""Who runs a server, by its name: a few dozen names that figures are told apart by, and no more.

The same words that the rules for replies have for them (``smtp.rules``), where those know their
replies. It is about the name alone: a site's own name for somebody's server is a site's own.
"""

from __future__ import annotations

from functools import lru_cache

OTHER = "other"
"""A server of somebody whom nobody here knows by name, such as the site's own."""

NONE = "none"
"""No server: none was found, or none was asked."""

_DOMAINS = {
    "aol": ("aol.com",),
    "apple": ("icloud.com", "me.com"),
    "att": ("att.net", "prodigy.net"),
    "barracuda": ("barracudanetworks.com",),
    "brevo": ("brevo.com", "sendinblue.com"),
    "cisco": ("iphmx.com",),
    "comcast": ("comcast.net",),
    "cox": ("cox.net",),
    "fastmail": ("fastmail.com", "messagingengine.com"),
    "free": ("free.fr",),
    "gmx": ("gmx.com", "gmx.net", "web.de"),
    "godaddy": ("secureserver.net",),
    "google": ("gmail.com", "google.com", "googlemail.com"),
    "improvmx": ("improvmx.com",),
    "ionos": ("1and1.com", "1und1.de", "ionos.com", "ionos.de", "kundenserver.de"),
    "kpn": ("kpnmail.nl",),
    "mail-com": ("mail.com",),
    "mail-ru": ("mail.ru",),
    "mailersend": ("mailersend.net",),
    "mailgun": ("mailgun.org",),
    "mailjet": ("mailjet.com",),
    "mailtrap": ("mailtrap.io",),
    "mandrill": ("mandrillapp.com",),
    "microsoft": ("hotmail.com", "live.com", "mx.microsoft", "office365.com", "outlook.com"),
    "mimecast": ("mimecast-offshore.com", "mimecast.co.za", "mimecast.com"),
    "netease": ("126.com", "163.com", "netease.com"),
    "netvigator": ("netvigator.com",),
    "oracle": ("oraclecloud.com",),
    "orange": ("orange.fr", "wanadoo.fr"),
    "ovh": ("ovh.ca", "ovh.net"),
    "postmark": ("postmarkapp.com",),
    "proofpoint": ("ppe-hosted.com", "pphosted.com", "proofpoint.com"),
    "proton": ("proton.me", "protonmail.ch"),
    "qq": ("qq.com",),
    "rackspace": ("emailsrvr.com",),
    "rambler": ("rambler.ru",),
    "resend": ("resend.com",),
    "sendgrid": ("sendgrid.net",),
    "sfr": ("sfr.fr",),
    "smtp2go": ("smtp2go.com",),
    "sparkpost": ("sparkpostmail.com",),
    "spectrum": ("charter.net", "rr.com", "spectrum.net"),
    "symantec": ("messagelabs.com",),
    "t-online": ("t-online.de",),
    "trellix": ("fireeyecloud.com",),
    "trendmicro": ("trendmicro.com", "trendmicro.eu"),
    "yahoo": ("yahoo.com", "yahoodns.net"),
    "yahoo-japan": ("yahoo.co.jp",),
    "yandex": ("yandex.com", "yandex.net", "yandex.ru"),
    "zoho": ("zoho.com", "zoho.eu", "zoho.in", "zohomail.com"),
}
_BY_DOMAIN = {domain: name for name, domains in _DOMAINS.items() for domain in domains}

_SES = "ses"
_SES_HOSTS = ("email-smtp", "inbound-smtp")
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")

PROVIDERS = frozenset((*_DOMAINS, _SES, OTHER, NONE))
"""All that :func:`provider_of` ever returns."""


@lru_cache(maxsize=1024)
def provider_of(host: str) -> str:
    """Return who runs the server of that name: one of :data:`PROVIDERS`."""
    name = host.rstrip(".").lower()
    if not name:
        return NONE
    if name.startswith(_SES_HOSTS) and name.endswith(_AMAZON):
        # Whose the other hosts under that domain are, only their tenants know.
        return _SES
    while name:
        if name in _BY_DOMAIN:
            return _BY_DOMAIN[name]
        name = name.partition(".")[2]
    return OTHER
