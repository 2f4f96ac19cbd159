"""What a mailer logs in with, and the options that contradict each other in that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from django_smtpx.config.values import BadOption
from django_smtpx.smtp import sasl
from django_smtpx.smtp.options import Credential, Security
from django_smtpx.smtp.tokens import TokenError

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
            reason = "it is not callable"
        raise TokenError(f"oauth_token names {self.path!r}, which cannot be used: {reason}")


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
            f"{label['oauth_token']} and {label['password']} are both set: a mailer logs in with "
            "a bearer token or with a password. Remove one of them."
        )
    if not given.get("username"):
        raise BadOption(
            f"{label['oauth_token']} is set without {label['username']}, whose token it is. "
            "Set both."
        )
    named = given.get("auth", ())
    if named and not set(named).intersection(sasl.BEARER):
        raise BadOption(
            f"{label['oauth_token']} is set, but {label['auth']} names none of "
            f"{' and '.join(sasl.BEARER)}, so no token could be sent. Remove one of them."
        )


def _refuse_mechanism(name: str, given: Mapping[str, Any], label: Mapping[str, str]) -> None:
    if name in sasl.SCRAM and not sasl.scram_installed():
        raise BadOption(
            f"{label['auth']} names {name}, and scramp is not installed: {sasl.INSTALL}. "
            "Without it, leave SCRAM out."
        )
    if name in sasl.BEARER and not given.get("oauth_token"):
        raise BadOption(
            f"{label['auth']} names {name} without {label['oauth_token']}, the dotted path of a "
            "callable that returns a bearer token. Set both."
        )
    if name == sasl.EXTERNAL and not given.get("ssl_certfile"):
        raise BadOption(
            f"{label['auth']} names {name} without {label['ssl_certfile']}, the client "
            "certificate to log in with. Set both."
        )
    if name in sasl.PASSWORD and given.get("oauth_token"):
        raise BadOption(
            f"{label['auth']} names {name}, which takes a password, but {label['oauth_token']} "
            f"gives a bearer token. Name {' or '.join(sasl.BEARER)}, or leave {label['auth']} out."
        )
    nothing = not {"username", "password", "oauth_token"}.intersection(given)
    if name in sasl.PASSWORD and nothing and sasl.EXTERNAL not in given["auth"]:
        raise BadOption(
            f"{label['auth']} names {name} without {label['username']} and {label['password']}, "
            f"so there is nothing to log in with. Set them, or leave {label['auth']} out."
        )


def refuse_unusable(given: Mapping[str, Any], security: Security, label: Mapping[str, str]) -> None:
    """Raise :class:`BadOption` for a credential that this configuration would never send."""
    if credential(given) is None or given.get("allow_plaintext_auth"):
        return
    named = label["username"] if given.get("username") else label["auth"]
    if security is Security.NONE:
        raise BadOption(
            f"{named} is set, but {label['security']} is 'none', and credentials are "
            "never sent in clear. Set security='starttls' or 'implicit', or (for a server on this "
            "machine) allow_plaintext_auth=True."
        )
    if security is Security.OPPORTUNISTIC and given.get("verify", True):
        raise BadOption(
            f"{named} is set, but {label['security']} is 'opportunistic', which "
            "verifies no certificate, and credentials are sent over verified TLS only. Set "
            "security='starttls' or 'implicit'."
        )
