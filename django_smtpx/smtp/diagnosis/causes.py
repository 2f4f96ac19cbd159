"""What the error of a step comes from, and what mends it, in a sentence each."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_smtpx.smtp import sasl
from django_smtpx.smtp.diagnosis import meanings
from django_smtpx.smtp.diagnosis.heard import capabilities
from django_smtpx.smtp.errors import (
    ConnectError,
    ResolveError,
    ServerDisconnected,
    ServerTimeout,
    TLSError,
    TLSModeMismatch,
)
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.wording import because, joined, said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_smtpx.smtp.diagnosis.heard import Heard
    from django_smtpx.smtp.diagnosis.meanings import Told
    from django_smtpx.smtp.diagnosis.siblings import Sibling
    from django_smtpx.smtp.errors import SMTPError
    from django_smtpx.smtp.options import Options

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
    text = f"{case.error} {case.error.reply}"
    if meanings.WANTS_CERTIFICATE.search(text) and case.options.ssl_certfile is None:
        cause = said("The server wants a client certificate: %(error)s", error=case.error)
        return cause, meanings.CERTIFY
    return _TELLERS[case.step](case)


def _of(cause: str, error: SMTPError) -> str:
    """Return a cause with the error that says so."""
    return because(cause, error)


# -- the way there -------------------------------------------------------------------------------


def _dns(case: Case) -> Told:
    if case.error.category == "domain_unknown":
        return str(case.error), said("Correct the domain of the address: it takes no mail.")
    host = case.options.host
    if not case.options.relay:
        mend = said(
            "See that this machine's name servers answer (the option resolver, else "
            "/etc/resolv.conf); if they do, whoever runs %(host)s has to mend its DNS.",
            host=host,
        )
    else:
        mend = said(
            "Correct host if %(host)s is misspelt; else see that this machine's resolver "
            "(/etc/resolv.conf) answers for that name.",
            host=repr(host),
        )
    return str(case.error), mend


def _tcp(case: Case) -> Told:
    error, port = case.error, case.options.port
    if isinstance(error, ResolveError):
        return _dns(case)
    text = str(error)
    if os.strerror(errno.ECONNREFUSED) in text:
        cause = said(
            "Nobody listens on port %(port)s: the connection was refused (%(error)s)",
            port=port,
            error=error,
        )
        mend = said("correct host and port, or start the server.")
        alone = said("Correct host and port, or start the server.")
    elif os.strerror(errno.ETIMEDOUT) in text or isinstance(error, ServerTimeout):
        cause = said(
            "Nothing came back from port %(port)s: a firewall drops what goes there (%(error)s)",
            port=port,
            error=error,
        )
        mend = said(
            "let the firewall, or the provider of this machine, allow it; many of them block "
            "port 25, and leave 587 and 465 open."
        )
        alone = said(
            "Let the firewall, or the provider of this machine, allow it; many of them block "
            "port 25, and leave 587 and 465 open."
        )
    else:
        cause = said("There is no way to the host: %(error)s", error=error)
        mend = said("see to the network and its routes (and to IPv6, where the address is one).")
        alone = said("See to the network and its routes (and to IPv6, where the address is one).")
    return cause, _ports(case, mend) if case.siblings else alone


def _ports(case: Case, mend: str) -> str:
    """Return which other ports answer, in front of a mend."""
    return said(
        "Of this host's other ports these answer: %(ports)s; set one of them, or %(mend)s",
        ports=_siblings(case),
        mend=mend,
    )


def _siblings(case: Case) -> str:
    return joined(", ", case.siblings)


def _with_others(case: Case, mend: str) -> str:
    """Return a mend, and behind it which other ports answer, if any do."""
    if not case.siblings:
        return mend
    return joined(" ", (mend, said("Other ports: %(ports)s.", ports=_siblings(case))))


# -- TLS -----------------------------------------------------------------------------------------


def _tls(case: Case) -> Told:
    error, options = case.error, case.options
    if isinstance(error, TLSModeMismatch):
        implicit = options.security is not Security.IMPLICIT
        wanted = "security='implicit' (use_ssl=True)" if implicit else "security='starttls'"
        mend = said("Set %(security)s for port %(port)s.", security=wanted, port=options.port)
        return str(error), _with_others(case, mend)
    if error.tls_failure == "starttls-not-supported":
        return _no_starttls(case)
    if not case.heard.ip:
        if error.tls_failure:
            return str(error), said("Tell who runs the domain: its servers do not fit its policy.")
        return str(error), said("Correct the file that the option names.")
    mend = said(
        "Let the server speak TLS 1.2 or later, and see that nothing on the way changes what "
        "it says."
    )
    return str(error), _with_others(case, mend)


def _no_starttls(case: Case) -> Told:
    if case.error.code is not None:
        mend = said("Ask who runs the server why it refuses STARTTLS.")
        return str(case.error), _with_others(case, mend)
    cause = said(
        "TLS is required, and the server does not offer STARTTLS: it has none, or somebody "
        "on the way takes the offer out."
    )
    if case.siblings:
        return cause, said("Use another port: %(ports)s.", ports=_siblings(case))
    return cause, said(
        "Let the server offer STARTTLS; if its network is trusted, and no password is "
        "sent, set security='none'."
    )


def _certificate(case: Case) -> Told:
    text, failure = str(case.error), case.error.tls_failure
    if case.options.tlsa:
        mend = said(
            "The domain's TLSA records (DANE) have to fit the certificate: tell who runs it."
        )
    elif failure == "certificate-expired":
        mend = said(
            "Have the certificate renewed by whoever runs the server; if its dates are right, "
            "the clock of this machine is wrong."
        )
    elif failure == "certificate-host-mismatch":
        mend = said("Set host to a name that the certificate is for.")
    elif "valid only from" in text or "not yet valid" in text:
        mend = said(
            "Set the clock of this machine; if it is right, the certificate is not in force yet."
        )
    else:
        mend = said("Name the PEM file of the authority in ca_file, if it is the right server.")
    return text, mend


# -- the server's words --------------------------------------------------------------------------


def _ehlo(case: Case) -> Told:
    error, port = case.error, case.options.port
    if isinstance(error, ServerTimeout):
        mend = said(
            "See that port %(port)s is the one for mail, and that the server is not overloaded.",
            port=port,
        )
        cause = said("The server took the connection and said nothing more in time")
        return _of(cause, error), _with_others(case, mend)
    if isinstance(error, ServerDisconnected):
        mend = said("The server may refuse this machine's address: ask who runs it.")
        return str(error), _with_others(case, mend)
    if error.phase == "greeting":
        if error.code is None:
            mend = said("Port %(port)s is not one for mail: correct it.", port=port)
            return str(error), _with_others(case, mend)
        words = meanings.REFUSALS.get(error.category, meanings.SHUT_OUT)
        return _of(words[0], error), words[1]
    cause = said(
        "The server does not like the name said in EHLO (%(name)s): %(error)s",
        name=case.options.helo or said("this machine's own name"),
        error=error,
    )
    mend = said("Set helo to the full name of this machine that the DNS has for its address.")
    return cause, mend


def _auth(case: Case) -> Told:
    error, heard = case.error, case.heard
    if error.code is not None:
        return _refused_login(case)
    if isinstance(error, (ServerTimeout, ServerDisconnected)):
        cause = said("The server gave no answer to the login")
        return _of(cause, error), said("Ask who runs the server.")
    if not heard.tls and (heard.able.starttls or not case.options.allow_plaintext_auth):
        return _login_in_clear(case)
    if heard.able.auth and not heard.mechanism:
        return _no_mechanism(case)
    if heard.mechanism:
        return _of(said("The login could not be brought to its end"), error), meanings.ASK
    mend = said(
        "Take out username and password if this server needs none, or set the port for "
        "submission (587 or 465)."
    )
    return str(error), mend


def _refused_login(case: Case) -> Told:
    error = case.error
    for pattern, cause, mend in meanings.LOGINS:
        if re.search(pattern, f"{error.enhanced_code} {error.reply}", re.IGNORECASE):
            return _of(cause, error), mend
    if error.category == "auth_failed" and error.code is not None and error.code // 100 == 5:
        mend = said(
            "Check username and password (or oauth_token): not every provider takes the "
            "password of its web page here."
        )
        return _of(said("The server refuses the login"), error), mend
    cause = said("The login could not be done now")
    return _of(cause, error), said("Try again later; ask who runs the server.")


def _no_mechanism(case: Case) -> Told:
    offered = " ".join(case.heard.able.auth)
    if case.options.auth:
        mend = said(
            "Take out auth, or name one in it that the server offers: %(offered)s.",
            offered=offered,
        )
    else:
        mend = said(
            "Set what one of these needs: %(offered)s (oauth_token for XOAUTH2 and OAUTHBEARER, a "
            "password for the others; for SCRAM: %(install)s).",
            offered=offered,
            install=sasl.INSTALL,
        )
    return _of(said("The two sides have no mechanism of login in common"), case.error), mend


def _login_in_clear(case: Case) -> Told:
    error, able = case.error, capabilities(case.heard.in_clear)
    if not able.starttls:
        mend = said(
            "Use a port with TLS (465: security='implicit'; 587: security='starttls'); credentials "
            "go in clear only with allow_plaintext_auth."
        )
        return str(error), mend
    security = repr(str(case.options.security))
    if able.auth:
        cause = said(
            "The server has TLS for the login, and security=%(security)s does not start it: "
            "%(error)s",
            security=security,
            error=error,
        )
    else:
        cause = said(
            "The server offers AUTH only after TLS, and security=%(security)s does not start it: "
            "%(error)s",
            security=security,
            error=error,
        )
    return cause, said("Set security='starttls' (use_tls=True).")


def _refusal(case: Case) -> Told:
    error = case.error
    words = meanings.REFUSALS.get(error.category)
    if not case.heard.tls and meanings.WANTS_TLS.search(error.reply):
        words = meanings.TLS_FIRST
    elif case.options.credential is None and meanings.WANTS_LOGIN.search(error.reply):
        words = meanings.REFUSALS["auth_required"]
    if words is None and error.code is None:
        return str(error), said("Try again, and ask who runs the server if it stays so.")
    if words is None and error.temporary:
        words = (said("The server does not take it now"), said("Try again later."))
    cause, mend = words or (said("The server refuses it"), meanings.ASK)
    return _of(cause, error), mend


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
