"""What servers mean by their words, and what mends it: tables of sentences."""

from __future__ import annotations

import re

from django_smtpx.smtp.wording import said

Told = tuple[str, str]
"""A cause and a mend."""

LOGINS: tuple[tuple[str, str, str], ...] = (
    (
        (
            r"SmtpClientAuthentication is disabled|basic authentication is (?:not|disabled)"
            r"|5\.7\.139|5\.7\.30"
        ),
        said(
            "Microsoft has switched off logins by password (basic authentication) for this account"
        ),
        (
            said(
                "Set oauth_token in place of password, or have SMTP AUTH switched on for the "
                "mailbox in the Microsoft 365 admin center."
            )
        ),
    ),
    (
        r"Application-specific password|InvalidSecondFactor",
        said("Google wants an app password in place of the account's own"),
        (
            said(
                "Make an app password in the Google account (it needs 2-step verification) and "
                "set it as password, or set oauth_token."
            )
        ),
    ),
    (
        r"BadCredentials|support\.google\.com",
        said("Google does not take this user name and password"),
        (
            said(
                "Check both; an account with 2-step verification needs an app password, made in "
                "the Google account."
            )
        ),
    ),
    (
        r"WebLogin|log ?in (?:via|with) your web browser",
        said("Google wants the account's owner to log in with a browser first"),
        said("Log in to the account with a browser, and use an app password or oauth_token."),
    ),
)
"""Patterns of replies to a login, with what the provider means by them."""

REFUSALS: dict[str, Told] = {
    "auth_required": (
        said("The server wants a login first"),
        said("Set username and password, or let it take mail from this machine's address."),
    ),
    "sender_rejected": (
        said("This address may not be used as sender here"),
        said(
            "Set DEFAULT_FROM_EMAIL to an address of the account, or have this one verified there."
        ),
    ),
    "sender_auth": (
        said("The sender's domain does not vouch for this machine"),
        said(
            "Publish SPF and DKIM for the sender's domain, and reverse DNS for this machine's "
            "address."
        ),
    ),
    "reputation": (
        said("This machine's address or domain is on a block list"),
        said("Ask for it to be taken off the list that the reply names, or use another relay."),
    ),
    "relay_denied": (
        said("The server does not take mail for other domains from here"),
        (
            said(
                "Set username and password for it, let it trust this machine's address, or use the "
                "provider's port for submission (587 or 465)."
            )
        ),
    ),
    "mailbox_unknown": (said("There is no such mailbox"), said("Correct the recipient's address.")),
    "mailbox_disabled": (
        said("The mailbox is switched off"),
        said("Correct the recipient's address."),
    ),
    "address_invalid": (
        said("The address is none that the server takes"),
        said("Correct the address."),
    ),
    "domain_unknown": (
        said("The domain takes no mail"),
        said("Correct the domain of the address."),
    ),
    "mailbox_full": (
        said("The mailbox is full"),
        said("Nothing here: its owner has to make room."),
    ),
    "quota_exhausted": (
        said("The account may send no more for now"),
        said("Wait, or have the account's limit raised."),
    ),
    "too_large": (
        said("The mail is larger than the server takes"),
        said("Send links in place of large attachments, or have the server's limit raised."),
    ),
    "server_busy": (
        said("The server has no room for this connection now"),
        said("Try again later; if it stays so, lower max_connections, or ask who runs the server."),
    ),
    "rate_limited": (
        said("The server wants less mail for now"),
        said("Set rate, and try again later."),
    ),
}
"""By the category of a refusal."""
SHUT_OUT = (
    said("The server refuses this machine"),
    said("Ask who runs the server to take mail from this machine's address."),
)
TLS_FIRST = (
    said("The server wants TLS first"),
    said("Set security='starttls' (use_tls=True)."),
)
WANTS_LOGIN = re.compile(r"\bnot logged in\b|\bmust issue an AUTH\b", re.IGNORECASE)
WANTS_TLS = re.compile(r"\bSTARTTLS\b", re.IGNORECASE)
ASK = said("Ask who runs the server; the reply says why.")
GREYLISTED = said("The server greylists: it takes the mail at a later try, which is made by itself")

WANTS_CERTIFICATE = re.compile(
    r"no client certificate|client certificate (?:is )?(?:required|needed)|"
    r"certificate[_ ]required|did not return a certificate",
    re.IGNORECASE,
)
CERTIFY = said(
    "Set ssl_certfile and ssl_keyfile to a certificate that the server knows this machine by."
)
