"""What a mailer logs in with, and the options that contradict each other in that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from django_smtpx.config.unknown import BadOption
from django_smtpx.smtp import sasl
from django_smtpx.smtp.options import Credential, Security
from django_smtpx.smtp.tokens import TokenError
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class TokenSource:
    """A callable by its dotted path, imported when a token is first wanted.

    Two of the same path are the same: they share connections, and calls.
    """

    path: str

    def __call__(self) -> str:
        """Return a token; raises :class:`TokenError` where there is no such callable."""
        try:
            source = import_string(self.path)
        except ImportError as error:
            reason: object = error
        else:
            if callable(source):
                token: str = source()
                return token
            reason = said("it is not callable")
        raise TokenError(
            said(
                "oauth_token names %(path)s, which cannot be used: %(reason)s",
                path=repr(self.path),
                reason=reason,
            )
        )


def credential(given: Mapping[str, Any]) -> Credential | None:
    """Return what to log in with, or None.

    As with Django, nobody logs in unless there is both a name and a password; or, instead of the
    password, a source of tokens, or a client certificate that EXTERNAL is named for.
    """
    username, password = given.get("username") or "", given.get("password") or ""
    if given.get("oauth_token"):
        return Credential(username, token=TokenSource(given["oauth_token"]))
    if username and password:
        return Credential(username, password)
    return Credential(username) if sasl.EXTERNAL in given.get("auth", ()) else None


def refuse_contradictions(given: Mapping[str, Any], label: Mapping[str, str]) -> None:
    """Raise :class:`BadOption` for mechanisms and credentials that do not go together."""
    if given.get("oauth_token"):
        _refuse_token(given, label)
    for name in given.get("auth", ()):
        _refuse_mechanism(name, given, label)


def _refuse_token(given: Mapping[str, Any], label: Mapping[str, str]) -> None:
    if given.get("password"):
        raise BadOption(
            said(
                "%(oauth_token)s and %(password)s are both set: a mailer logs in with a "
                "bearer token or with a password. Remove one of them.",
                oauth_token=label["oauth_token"],
                password=label["password"],
            )
        )
    if not given.get("username"):
        raise BadOption(
            said(
                "%(oauth_token)s is set without %(username)s, whose token it is. Set both.",
                oauth_token=label["oauth_token"],
                username=label["username"],
            )
        )
    named = given.get("auth", ())
    if named and not set(named).intersection(sasl.BEARER):
        raise BadOption(
            said(
                "%(oauth_token)s is set, but %(auth)s names none of %(bearer)s, so no "
                "token could be sent. Remove one of them.",
                oauth_token=label["oauth_token"],
                auth=label["auth"],
                bearer=" and ".join(sasl.BEARER),
            )
        )


def _refuse_mechanism(name: str, given: Mapping[str, Any], label: Mapping[str, str]) -> None:
    if name in sasl.SCRAM and not sasl.scram_installed():
        raise BadOption(
            said(
                "%(auth)s names %(name)s, and scramp is not installed: %(install)s. "
                "Without it, leave SCRAM out.",
                auth=label["auth"],
                name=name,
                install=sasl.INSTALL,
            )
        )
    if name in sasl.BEARER and not given.get("oauth_token"):
        raise BadOption(
            said(
                "%(auth)s names %(name)s without %(oauth_token)s, the dotted path of a "
                "callable that returns a bearer token. Set both.",
                auth=label["auth"],
                name=name,
                oauth_token=label["oauth_token"],
            )
        )
    if name == sasl.EXTERNAL and not given.get("ssl_certfile"):
        raise BadOption(
            said(
                "%(auth)s names %(name)s without %(ssl_certfile)s, the client "
                "certificate to log in with. Set both.",
                auth=label["auth"],
                name=name,
                ssl_certfile=label["ssl_certfile"],
            )
        )
    if name in sasl.PASSWORD and given.get("oauth_token"):
        raise BadOption(
            said(
                "%(auth)s names %(name)s, which takes a password, but %(oauth_token)s "
                "gives a bearer token. Name %(bearer)s, or leave %(auth)s out.",
                auth=label["auth"],
                name=name,
                oauth_token=label["oauth_token"],
                bearer=" or ".join(sasl.BEARER),
            )
        )
    nothing = not {"username", "password", "oauth_token"}.intersection(given)
    if name in sasl.PASSWORD and nothing and sasl.EXTERNAL not in given["auth"]:
        raise BadOption(
            said(
                "%(auth)s names %(name)s without %(username)s and %(password)s, so there "
                "is nothing to log in with. Set them, or leave %(auth)s out.",
                auth=label["auth"],
                name=name,
                username=label["username"],
                password=label["password"],
            )
        )


def refuse_unusable(given: Mapping[str, Any], security: Security, label: Mapping[str, str]) -> None:
    """Raise :class:`BadOption` for a credential that this configuration would never send."""
    if credential(given) is None or given.get("allow_plaintext_auth"):
        return
    named = label["username"] if given.get("username") else label["auth"]
    if security is Security.NONE:
        raise BadOption(
            said(
                "%(named)s is set, but %(security)s is 'none', and credentials are never "
                "sent in clear. Set security='starttls' or 'implicit', or (for a server "
                "on this machine) allow_plaintext_auth=True.",
                named=named,
                security=label["security"],
            )
        )
    if security is Security.OPPORTUNISTIC and given.get("verify", True):
        raise BadOption(
            said(
                "%(named)s is set, but %(security)s is 'opportunistic', which verifies "
                "no certificate, and credentials are sent over verified TLS only. Set "
                "security='starttls' or 'implicit'.",
                named=named,
                security=label["security"],
            )
        )
