"""What the error of a step comes from, and what mends it, in a sentence each."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_smtpx.diagnosis.heard import capabilities
from django_smtpx.smtp import sasl
from django_smtpx.smtp.errors import (
    ConnectError,
    ResolveError,
    ServerDisconnected,
    ServerTimeout,
    TLSError,
    TLSModeMismatch,
)
from django_smtpx.smtp.options import Security

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_smtpx.diagnosis.heard import Heard
    from django_smtpx.diagnosis.siblings import Sibling
    from django_smtpx.smtp.errors import SMTPError
    from django_smtpx.smtp.options import Options

Told = tuple[str, str]
"""A cause and a mend."""

_STEPS = {
    "resolve": "dns",
    "connect": "tcp",
    "greeting": "ehlo",
    "ehlo": "ehlo",
    "starttls": "tls",
    "auth": "auth",
    "mail": "sender",
    "rcpt": "recipient",
    "data": "message",
    "eod": "message",
}
_CERTIFICATE = ("certificate-", "tlsa-")


@dataclass(frozen=True, slots=True)
class Case:
    """An error, how the host was spoken to, what was heard, and which other ports answer."""

    error: SMTPError
    options: Options
    heard: Heard
    siblings: Sequence[Sibling] = ()

    @property
    def step(self) -> str:
        """The step that fails."""
        error = self.error
        if isinstance(error, TLSError):
            shown = error.tls_failure.startswith(_CERTIFICATE)
            return "certificate" if shown else "tls"
        if isinstance(error, (ServerTimeout, ServerDisconnected)) and self.heard.ip:
            return _STEPS[self.heard.phase if error.phase == "connect" else error.phase]
        return _STEPS[error.phase]

    @property
    def asks_others(self) -> bool:
        """Whether another port may be the right one."""
        lost = (ConnectError, ServerTimeout, ServerDisconnected, TLSModeMismatch)
        no_tls = self.error.tls_failure == "starttls-not-supported"
        early = self.step in ("tcp", "tls", "ehlo")
        return early and (isinstance(self.error, lost) or no_tls)


def explain(case: Case) -> Told:
    """Return the cause of the error and what mends it."""
    return _TELLERS[case.step](case)


# -- the way there -------------------------------------------------------------------------------


def _dns(case: Case) -> Told:
    if case.error.category == "domain_unknown":
        return str(case.error), "Correct the domain of the address: it takes no mail."
    host = case.options.host
    return (
        str(case.error),
        (
            f"Correct host if {host!r} is misspelt; else see that this machine's resolver "
            "(/etc/resolv.conf) answers for that name."
        ),
    )


def _tcp(case: Case) -> Told:
    error, port = case.error, case.options.port
    if isinstance(error, ResolveError):
        return _dns(case)
    text = str(error)
    if os.strerror(errno.ECONNREFUSED) in text:
        cause = f"Nobody listens on port {port}: the connection was refused ({text})"
        mend = "correct host and port, or start the server."
    elif os.strerror(errno.ETIMEDOUT) in text or isinstance(error, ServerTimeout):
        cause = f"Nothing came back from port {port}: a firewall drops what goes there ({text})"
        mend = (
            "let the firewall, or the provider of this machine, allow it; many of them block "
            "port 25, and leave 587 and 465 open."
        )
    else:
        cause = f"There is no way to the host: {text}"
        mend = "see to the network and its routes (and to IPv6, where the address is one)."
    return cause, _ports(case) + mend if case.siblings else mend[0].upper() + mend[1:]


def _ports(case: Case) -> str:
    """Return which other ports answer, as the beginning of a mend."""
    found = ", ".join(map(str, case.siblings))
    return f"Of this host's other ports these answer: {found}; set one of them, or "


# -- TLS -----------------------------------------------------------------------------------------


def _tls(case: Case) -> Told:
    error, options = case.error, case.options
    others = f" Other ports: {', '.join(map(str, case.siblings))}." if case.siblings else ""
    if isinstance(error, TLSModeMismatch):
        implicit = options.security is not Security.IMPLICIT
        wanted = "security='implicit' (use_ssl=True)" if implicit else "security='starttls'"
        return (
            str(error),
            f"Set {wanted} for port {options.port}.{others}",
        )
    if error.tls_failure == "starttls-not-supported":
        if error.code is not None:
            return str(error), f"Ask who runs the server why it refuses STARTTLS.{others}"
        return (
            (
                "TLS is required, and the server does not offer STARTTLS: it has none, or somebody "
                "on the way takes the offer out."
            ),
            others.strip().replace("Other ports:", "Use another port:")
            or "Let the server offer STARTTLS; if its network is trusted, and no password is "
            "sent, set security='none'.",
        )
    if not case.heard.ip:
        if error.tls_failure:
            return str(error), "Tell who runs the domain: its servers do not fit its policy."
        return str(error), "Correct the file that the option names."
    return (
        str(error),
        (
            "Let the server speak TLS 1.2 or later, and see that nothing on the way changes what "
            f"it says.{others}"
        ),
    )


def _certificate(case: Case) -> Told:
    text, failure = str(case.error), case.error.tls_failure
    if case.options.tlsa:
        mend = "The domain's TLSA records (DANE) have to fit the certificate: tell who runs it."
    elif failure == "certificate-expired":
        mend = (
            "Have the certificate renewed by whoever runs the server; if its dates are right, "
            "the clock of this machine is wrong."
        )
    elif failure == "certificate-host-mismatch":
        mend = "Set host to a name that the certificate is for."
    elif "valid only from" in text or "not yet valid" in text:
        mend = "Set the clock of this machine; if it is right, the certificate is not in force yet."
    else:
        mend = "Name the PEM file of the authority in ca_file, if it is the right server."
    return text, mend


# -- the server's words --------------------------------------------------------------------------


def _ehlo(case: Case) -> Told:
    error = case.error
    others = f" Other ports: {', '.join(map(str, case.siblings))}." if case.siblings else ""
    if isinstance(error, ServerTimeout):
        return (
            f"The server took the connection and said nothing more in time: {error}",
            (
                f"See that port {case.options.port} is the one for mail, and that the server is "
                f"not overloaded.{others}"
            ),
        )
    if isinstance(error, ServerDisconnected):
        return (
            str(error),
            f"The server may refuse this machine's address: ask who runs it.{others}",
        )
    if error.phase == "greeting":
        if error.code is None:
            return str(error), f"Port {case.options.port} is not one for mail: correct it.{others}"
        return (
            f"The server refuses this machine: {error}",
            "Ask who runs the server to take mail from this machine's address.",
        )
    said = case.options.helo or "this machine's own name"
    return (
        f"The server does not like the name said in EHLO ({said}): {error}",
        "Set helo to the full name of this machine that the DNS has for its address.",
    )


_LOGINS: tuple[tuple[str, str, str], ...] = (
    (
        (
            r"SmtpClientAuthentication is disabled|basic authentication is (?:not|disabled)"
            r"|5\.7\.139|5\.7\.30"
        ),
        "Microsoft has switched off logins by password (basic authentication) for this account",
        (
            "Set oauth_token in place of password, or have SMTP AUTH switched on for the mailbox "
            "in the Microsoft 365 admin center."
        ),
    ),
    (
        r"Application-specific password|InvalidSecondFactor",
        "Google wants an app password in place of the account's own",
        (
            "Make an app password in the Google account (it needs 2-step verification) and set it "
            "as password, or set oauth_token."
        ),
    ),
    (
        r"BadCredentials|support\.google\.com",
        "Google does not take this user name and password",
        (
            "Check both; an account with 2-step verification needs an app password, made in the "
            "Google account."
        ),
    ),
    (
        r"WebLogin|log ?in (?:via|with) your web browser",
        "Google wants the account's owner to log in with a browser first",
        "Log in to the account with a browser, and use an app password or oauth_token.",
    ),
)


def _auth(case: Case) -> Told:
    error, heard = case.error, case.heard
    if error.code is not None:
        return _refused_login(case)
    if isinstance(error, (ServerTimeout, ServerDisconnected)):
        return f"The server gave no answer to the login: {error}", "Ask who runs the server."
    if not heard.tls and (heard.able.starttls or not case.options.allow_plaintext_auth):
        return _login_in_clear(case)
    if heard.able.auth and not heard.mechanism:
        return _no_mechanism(case)
    if heard.mechanism:
        return f"The login could not be brought to its end: {error}", _ASK
    return (
        str(error),
        (
            "Take out username and password if this server needs none, or set the port for "
            "submission (587 or 465)."
        ),
    )


def _refused_login(case: Case) -> Told:
    error = case.error
    for pattern, cause, mend in _LOGINS:
        if re.search(pattern, f"{error.enhanced_code} {error.reply}", re.IGNORECASE):
            return f"{cause}: {error}", mend
    if error.category == "auth_failed" and error.code is not None and error.code // 100 == 5:
        return (
            f"The server refuses the login: {error}",
            (
                "Check username and password (or oauth_token): not every provider takes the "
                "password of its web page here."
            ),
        )
    return f"The login could not be done now: {error}", "Try again later; ask who runs the server."


def _no_mechanism(case: Case) -> Told:
    offered = " ".join(case.heard.able.auth)
    if case.options.auth:
        mend = f"Take out auth, or name one in it that the server offers: {offered}."
    else:
        mend = (
            f"Set what one of these needs: {offered} (oauth_token for XOAUTH2 and OAUTHBEARER, a "
            f"password for the others; for SCRAM: {sasl.INSTALL})."
        )
    return f"The two sides have no mechanism of login in common: {case.error}", mend


def _login_in_clear(case: Case) -> Told:
    able = capabilities(case.heard.in_clear)
    offers = "offers AUTH only after TLS" if not able.auth else "has TLS for the login"
    if able.starttls:
        return (
            (
                f"The server {offers}, and security={str(case.options.security)!r} does not start "
                f"it: {case.error}"
            ),
            "Set security='starttls' (use_tls=True).",
        )
    return (
        str(case.error),
        (
            "Use a port with TLS (465: security='implicit'; 587: security='starttls'); credentials "
            "go in clear only with allow_plaintext_auth."
        ),
    )


_REFUSALS = {
    "auth_required": (
        "The server wants a login first",
        "Set username and password, or let it take mail from this machine's address.",
    ),
    "sender_rejected": (
        "This address may not be used as sender here",
        "Set DEFAULT_FROM_EMAIL to an address of the account, or have this one verified there.",
    ),
    "sender_auth": (
        "The sender's domain does not vouch for this machine",
        "Publish SPF and DKIM for the sender's domain, and reverse DNS for this machine's address.",
    ),
    "reputation": (
        "This machine's address or domain is on a block list",
        "Ask for it to be taken off the list that the reply names, or use another relay.",
    ),
    "relay_denied": (
        "The server does not take mail for other domains from here",
        (
            "Set username and password for it, let it trust this machine's address, or use the "
            "provider's port for submission (587 or 465)."
        ),
    ),
    "mailbox_unknown": ("There is no such mailbox", "Correct the recipient's address."),
    "mailbox_disabled": ("The mailbox is switched off", "Correct the recipient's address."),
    "address_invalid": ("The address is none that the server takes", "Correct the address."),
    "domain_unknown": ("The domain takes no mail", "Correct the domain of the address."),
    "mailbox_full": ("The mailbox is full", "Nothing here: its owner has to make room."),
    "quota_exhausted": (
        "The account may send no more for now",
        "Wait, or have the account's limit raised.",
    ),
    "rate_limited": ("The server wants less mail for now", "Set rate, and try again later."),
}
_ASK = "Ask who runs the server; the reply says why."
GREYLISTED = "The server greylists: it takes the mail at a later try, which is made by itself"


def _refusal(case: Case) -> Told:
    error = case.error
    if error.code is None:
        return str(error), "Try again, and ask who runs the server if it stays so."
    words = _REFUSALS.get(error.category)
    if words is None:
        later = "The server does not take it now" if error.temporary else "The server refuses it"
        return f"{later}: {error}", "Try again later." if error.temporary else _ASK
    cause, mend = words
    return f"{cause}: {error}", mend


_TELLERS = {
    "dns": _dns,
    "tcp": _tcp,
    "tls": _tls,
    "certificate": _certificate,
    "ehlo": _ehlo,
    "auth": _auth,
    "sender": _refusal,
    "recipient": _refusal,
    "message": _refusal,
}
