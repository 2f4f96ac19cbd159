"""SASL mechanisms as small client state machines (RFC 4422, RFC 4954).

:func:`choose` finds the best name that both sides have, and :func:`start` makes
the mechanism; it is then asked for what to say, and whether to believe the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.smtp.sasl.mechanism import Mechanism, Remedy, Setting, Unusable
from django_smtpx.smtp.sasl.oauth import OAuthBearer, XOAuth2
from django_smtpx.smtp.sasl.scram import INSTALL, PLUS, Scram, scram_installed
from django_smtpx.smtp.sasl.simple import CramMD5, External, Login, Plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from django_smtpx.smtp.options import Credential

__all__ = [
    "BEARER",
    "EXTERNAL",
    "INSTALL",
    "MECHANISMS",
    "PASSWORD",
    "PLUS",
    "SCRAM",
    "Mechanism",
    "Remedy",
    "Setting",
    "Unusable",
    "choose",
    "needs_scramp",
    "scram_installed",
    "start",
    "usable",
]

SCRAM = (
    "SCRAM-SHA-512-PLUS",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
)
PASSWORD = (*SCRAM, "CRAM-MD5", "PLAIN", "LOGIN")
"""Those that take a password, best first: first the ones that do not show it."""
BEARER = ("OAUTHBEARER", "XOAUTH2")
"""Those that take a bearer token, best first."""
EXTERNAL = "EXTERNAL"
"""Takes neither; it is used only where it is named."""
MECHANISMS = (*PASSWORD, *BEARER, EXTERNAL)

_SIMPLE: dict[str, Callable[[Setting], Mechanism]] = {
    each.name: each for each in (CramMD5, Plain, Login, OAuthBearer, XOAuth2, External)
}


def choose(
    offered: Iterable[str],
    allowed: Iterable[str],
    credential: Credential,
    *,
    bindings: Callable[[], Mapping[str, bytes]] = dict,
    passed_over: Collection[str] = (),
) -> str | None:
    """Return the first of ``allowed`` (empty: of all that fit) that ``offered`` has, or None.

    A -PLUS one is chosen only where ``bindings()``, asked for when it matters, has any.
    """
    names = set(offered).difference(passed_over)
    for name in usable(allowed, credential):
        if name in names and (not name.endswith(PLUS) or bindings()):
            return name
    return None


def usable(allowed: Iterable[str], credential: Credential) -> tuple[str, ...]:
    """Return the names in ``allowed`` (empty: all) that ``credential`` fits and that are
    installed, best first.
    """
    has = credential.token is not None
    names = tuple(name.upper() for name in allowed) or (BEARER if has else PASSWORD)
    fitting = {EXTERNAL, *(BEARER if has else ())}
    if credential.password:
        fitting.update(PASSWORD if scram_installed() else set(PASSWORD).difference(SCRAM))
    return tuple(name for name in names if name in fitting)


def needs_scramp(offered: Iterable[str], allowed: Iterable[str], credential: Credential) -> bool:
    """Whether there would be a mechanism for ``credential``, were scramp installed."""
    names = {name.upper() for name in allowed} or set(PASSWORD)
    lacking = names.intersection(offered).intersection(SCRAM)
    return bool(lacking and credential.password) and not scram_installed()


def start(name: str, setting: Setting) -> Mechanism:
    """Return the mechanism ``name``; raises :class:`Unusable`."""
    return Scram(name, setting) if name in SCRAM else _SIMPLE[name](setting)
