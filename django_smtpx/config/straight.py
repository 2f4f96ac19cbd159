"""The options of a mailer that goes straight to the recipients' servers (``transport="mx"``)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django_smtpx.config import values
from django_smtpx.config.unknown import BadOption, refuse_unknown
from django_smtpx.mailer import MXOptions
from django_smtpx.smtp.options import SMTP_PORT, Options, Security
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.mx.dns import ResolverOptions
    from django_smtpx.smtp import Rule

KEYS = ("resolver", "mx_port", "mta_sts", "dane")
"""What means something for these mailers alone."""

INSTALL = 'pip install "django-smtpx[dane]"'

_OF_A_HOST = ("host", "port", "use_tls", "use_ssl")
_OF_A_LOGIN = ("username", "password", "oauth_token", "auth", "allow_plaintext_auth")
_RESOLVER_KEYS = ("nameservers", "port", "trust_ad", "timeout")


def resolver(key: str, value: Any) -> ResolverOptions:
    """Which name servers to ask, and whether to believe them."""
    from django_smtpx.mx.dns import ResolverOptions

    if not isinstance(value, Mapping):
        raise BadOption(
            said(
                "%(key)s must be {'nameservers': [addresses], 'port': 53, 'trust_ad': "
                "False, 'timeout': 5}, or some of that, not %(value)s.",
                key=key,
                value=repr(value),
            )
        )
    refuse_unknown(value, _RESOLVER_KEYS, within=key)
    readers: dict[str, Callable[[str, Any], Any]] = {
        "nameservers": _nameservers,
        "port": values.integer(1, 65535),
        "trust_ad": values.boolean,
        "timeout": values.seconds,
    }
    given = {
        name: readers[name](f"{key}[{name!r}]", one)
        for name, one in value.items()
        if one is not None
    }
    return ResolverOptions(**given)


def _nameservers(key: str, value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)) or not given:
        raise BadOption(
            said(
                "%(key)s must be a list of IP addresses, not %(value)s; leave it out for "
                "the system's own name servers.",
                key=key,
                value=repr(value),
            )
        )
    return tuple(dict.fromkeys(_nameserver(key, one) for one in given))


def _nameserver(key: str, value: Any) -> str:
    try:
        if isinstance(value, str):
            return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    raise BadOption(
        said(
            "%(key)s must hold IP addresses, such as '127.0.0.1', not %(value)s.",
            key=key,
            value=repr(value),
        )
    )


def refuse_contradictions(given: Mapping[str, Any], label: Mapping[str, str]) -> None:
    """Raise :class:`BadOption` for options that do not go together with the transport."""
    if given.get("transport", "smtp") != "mx":
        for key in KEYS:
            if key in given:
                raise BadOption(
                    said(
                        "%(option)s is for transport='mx' alone, and this mailer submits to a "
                        "host. Remove it.",
                        option=label[key],
                    )
                )
        return
    for key in _OF_A_HOST + _OF_A_LOGIN:
        if given.get(key):
            raise BadOption(
                said(
                    "%(option)s contradicts transport='mx', which finds the servers in the "
                    "DNS and logs in nowhere. Remove one of them.",
                    option=label[key],
                )
            )
    _refuse_security(given, label)
    if given.get("dane") and not _installed():
        raise BadOption(
            said(
                "%(dane)s is True, and cryptography is not installed, which DANE needs: "
                "%(install)s. Or leave %(dane)s out.",
                dane=label["dane"],
                install=INSTALL,
            )
        )


def _refuse_security(given: Mapping[str, Any], label: Mapping[str, str]) -> None:
    security = given.get("security", "auto")
    if security == Security.IMPLICIT:
        raise BadOption(
            said(
                "%(security)s is 'implicit', and mail servers speak no TLS from the "
                "first byte to each other. Set security='starttls' to demand TLS of each "
                "of them, or leave it out.",
                security=label["security"],
            )
        )
    if security != Security.NONE:
        return
    for key in ("mta_sts", "dane"):
        if given.get(key, True):
            raise BadOption(
                said(
                    "%(security)s is 'none', which contradicts %(key)s: domains demand TLS "
                    "by such policies. Set mta_sts=False and dane=False, too, or leave "
                    "%(security)s out.",
                    security=label["security"],
                    key=key,
                )
            )


def mx_options(
    given: Mapping[str, Any], shared: Mapping[str, Any], rules: tuple[Rule, ...]
) -> MXOptions:
    """Return how mail goes straight; ``shared`` are the options of each session."""
    from django_smtpx.mx.dns import ResolverOptions

    security = Security(given.get("security", "auto"))
    port = given.get("mx_port", SMTP_PORT)
    asked = given.get("resolver", ResolverOptions())
    wanted = given.get("dane", True)
    missing = _missing_for_dane(asked) if wanted else ""
    return MXOptions(
        template=Options(
            host="",
            port=port,
            security=Security.OPPORTUNISTIC if security is Security.AUTO else security,
            transcript=given.get("transcript", "failures"),
            # Postscreen punishes whoever speaks first, or opens two connections at once.
            probe=False,
            rules=rules,
            relay=False,
            **shared,
        ),
        resolver=asked,
        port=port,
        mta_sts=given.get("mta_sts", True),
        dane=wanted and not missing,
        dane_misses=missing,
    )


def _missing_for_dane(asked: ResolverOptions) -> str:
    """Return what DANE needs and is not there, "" where it has all."""
    if not asked.trust_ad:
        return "resolver={'trust_ad': True}, with name servers that validate DNSSEC"
    return "" if _installed() else INSTALL


def _installed() -> bool:
    return find_spec("cryptography") is not None
