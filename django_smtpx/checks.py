r"""System checks: what would fail, or surprise, at the first mail, told at the first command.

=================== ==========================================================================
id                  tells that
=================== ==========================================================================
django_smtpx.E001   a mailer cannot be used as it is configured
django_smtpx.E003   a setting of this package has a value that it cannot have
django_smtpx.E004   USE_TZ is False, and leases and due times need aware times
django_smtpx.E005   a webhook cannot be used as it is configured
django_smtpx.W001   the outbox is in an SQLite database without WAL or IMMEDIATE transactions
django_smtpx.W002   credentials may be sent in clear (``check --deploy``)
django_smtpx.W003   the server's certificate is not verified
django_smtpx.W004   ``redirect_to`` is in use, and DEBUG is False
django_smtpx.W005   there is a user name without a password, or the other way round
django_smtpx.W006   EMAIL_PORT is not set, and TLS changes its default
django_smtpx.W007   a setting that no mailer reads (SMTPX_MAILERS beside MAILERS, or MAILERS before
                    Django 6.1)
django_smtpx.W008   a setting begins with SMTPX\\_, and this package does not know it
django_smtpx.W009   the outbox's database keeps times in a zone whose clocks are changed
django_smtpx.W010   contents are kept where a site serves its files from (``check --deploy``)
django_smtpx.W011   events go to a webhook on another machine in clear
django_smtpx.W012   a webhook is told of a mailer that there is not
django_smtpx.I001   DANE is left out where mail goes straight to domains, and what it misses
=================== ==========================================================================
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import django
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

from django_smtpx.config import (
    Mailer,
    mailer_errors,
    mailers,
    named,
    settings,
    site,
    sources,
    webhook_errors,
    webhooks,
)
from django_smtpx.config.unknown import did_you_mean
from django_smtpx.config.webhooks import goes_in_clear
from django_smtpx.models import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TAG = "mail"

_DJANGO_PORT = 25

_SQLITE_HINT = (
    "Add to DATABASES[{alias!r}]: 'OPTIONS': {{'transaction_mode': 'IMMEDIATE', 'timeout': 20, "
    "'init_command': 'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;'}}."
)


@register(TAG)
def check_mailers(**_kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with each mailer."""
    if _problem_with(site.rules):
        return []  # check_settings() tells: no mailer is read without them
    try:
        errors = mailer_errors()
    except ImproperlyConfigured as error:
        return [_invalid(str(error), "SMTPX_MAILERS")]
    return [_invalid(str(error), name) for name, error in errors.items()]


@register(TAG)
def check_settings(**_kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with the settings of the whole site."""
    return [*_out_of_range(), *_unread(), *_unknown()]


@register(TAG)
def check_database(**_kwargs: Any) -> list[CheckMessage]:
    """Return how an SQLite database would make senders and workers wait for each other."""
    alias = router.db_for_write(Message)
    connection = connections[alias]
    if connection.vendor != "sqlite" or not _usable_mailers():
        return []
    if connection.is_in_memory_db():  # type: ignore[attr-defined]
        return []
    options = connection.settings_dict.get("OPTIONS", {})
    missing = []
    if str(options.get("transaction_mode", "")).upper() != "IMMEDIATE":
        missing.append("transaction_mode is not 'IMMEDIATE'")
    if "wal" not in str(options.get("init_command", "")).lower():
        missing.append("init_command does not set journal_mode=WAL")
    if not missing:
        return []
    return [
        Warning(
            f"The outbox is in the SQLite database {alias!r}, and {' and '.join(missing)}: "
            "requests and workers that write at the same time can fail with 'database is locked'.",
            hint=_SQLITE_HINT.format(alias=alias),
            id="django_smtpx.W001",
        )
    ]


@register(TAG)
def check_database_time_zone(**_kwargs: Any) -> list[CheckMessage]:
    """Return that times are kept in a way that tells two hours of the year from none."""
    alias = router.db_for_write(Message)
    connection = connections[alias]
    name = connection.settings_dict.get("TIME_ZONE")
    if not name or connection.features.supports_timezones:
        return []
    if not _changes(str(name)) or not _usable_mailers():
        return []
    return [
        Warning(
            f"The outbox's database {alias!r} keeps times in the zone {name!r}, whose clocks are "
            "changed: in the hour that comes twice, leases and due times are an hour off.",
            hint=f"Remove TIME_ZONE from DATABASES[{alias!r}]: times are kept in UTC then.",
            id="django_smtpx.W009",
        )
    ]


def _changes(name: str) -> bool:
    """Say whether the clocks of a zone are changed in the course of a year."""
    zone = ZoneInfo(name)
    return len({datetime(2026, month, 1, tzinfo=zone).utcoffset() for month in (1, 4, 7, 10)}) > 1


@register(Tags.security, deploy=True)
def check_plaintext_auth(**_kwargs: Any) -> list[CheckMessage]:
    """Return which mailers may send their credentials in clear."""
    return [
        Warning(
            f"The mailer {name!r} sends its credentials in clear where the server has no TLS "
            "(allow_plaintext_auth=True).",
            hint="Remove 'allow_plaintext_auth', unless the server is on this machine.",
            id="django_smtpx.W002",
        )
        for name, mailer in _usable_mailers().items()
        if any(host.allow_plaintext_auth and host.credential for host in mailer.hosts)
    ]


@register(Tags.security, deploy=True)
def check_content_storage(**_kwargs: Any) -> list[CheckMessage]:
    """Return that whoever knows a message's uuid may be able to read it."""
    alias = settings.raw("SMTPX_CONTENT_STORAGE")
    if alias not in ("default", "staticfiles"):
        return []
    return [
        Warning(
            f"SMTPX_CONTENT_STORAGE is {alias!r}: a site often serves the files of that storage, "
            "and these are mail.",
            hint="Add a storage of their own to STORAGES; silence this check if it serves none.",
            id="django_smtpx.W010",
        )
    ]


@register(Tags.security)
def check_verify(**_kwargs: Any) -> list[CheckMessage]:
    """Return which mailers take any certificate."""
    return [
        Warning(
            f"The mailer {name!r} does not verify the server's certificate (verify=False): "
            "whoever is in between can read its mail and its credentials.",
            hint="Set 'ca_file' to the certificate of your own authority, and remove 'verify'.",
            id="django_smtpx.W003",
        )
        for name, mailer in _usable_mailers().items()
        if not all(host.verify for host in mailer.hosts)
    ]


@register(Tags.security)
def check_dane(**_kwargs: Any) -> list[CheckMessage]:
    """Return which mailers go without DANE, though nobody has said that they should."""
    return [
        Info(
            f"The mailer {name!r} goes without DANE, which needs {mailer.mx.dane_misses}: mail to "
            "domains that publish TLSA records is not protected by them.",
            hint="Give it what it needs, or set dane=False.",
            id="django_smtpx.I001",
        )
        for name, mailer in _usable_mailers().items()
        if mailer.mx is not None and mailer.mx.dane_misses
    ]


@register(TAG)
def check_redirect(**_kwargs: Any) -> list[CheckMessage]:
    """Return which mailers reach no real recipient, though this is no development site."""
    if settings.raw("DEBUG", False):
        return []
    return [
        Warning(
            f"The mailer {name!r} sends all mail to {', '.join(mailer.redirect_to)} "
            "(redirect_to), and DEBUG is False.",
            hint="Remove 'redirect_to' if this is the real site; silence this check on staging.",
            id="django_smtpx.W004",
        )
        for name, mailer in _usable_mailers().items()
        if mailer.redirect_to
    ]


@register(TAG)
def check_half_credentials(**_kwargs: Any) -> list[CheckMessage]:
    """Return which mailers will not log in, though somebody seems to have meant it."""
    return [
        Warning(
            f"The mailer {name!r} has {given} without {missing}, so it will not log in.",
            hint="Set both, or none.",
            id="django_smtpx.W005",
        )
        for name in _usable_mailers()
        for given, missing in named.half_credentials(name)
    ]


@register(TAG)
def check_time_zones(**_kwargs: Any) -> list[CheckMessage]:
    """Return that the outbox goes by aware times, where the site has none."""
    if settings.raw("USE_TZ", default=True) or _problem_with(site.rules):
        return []
    if not (mailers() or mailer_errors()):
        return []
    return [
        Error(
            "USE_TZ is False. The outbox keeps leases and due times, which need aware times.",
            hint="Set USE_TZ = True.",
            id="django_smtpx.E004",
        )
    ]


@register(TAG)
def check_default_port(**_kwargs: Any) -> list[CheckMessage]:
    """Return that leaving EMAIL_PORT out means another port here than with Django's own backend."""
    mailer = _usable_mailers().get(sources.DEFAULT)
    if mailer is None or not named.port_follows_email_settings():
        return []
    if not mailer.hosts:
        return []
    port = mailer.hosts[0].port
    if port == _DJANGO_PORT:
        return []
    return [
        Warning(
            f"EMAIL_PORT is not set; with TLS or a login this package connects to port {port}, "
            f"and Django's own backend to {_DJANGO_PORT}.",
            hint=f"Set EMAIL_PORT = {port} (or {_DJANGO_PORT}, if that is the server's).",
            id="django_smtpx.W006",
        )
    ]


@register(TAG)
def check_webhooks(**_kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with each webhook, and which is told of mailers that there are not."""
    found: list[CheckMessage] = [
        Error(
            error,
            hint="Correct it: nothing is stored for it, or posted to it, as it is.",
            id="django_smtpx.E005",
        )
        for error in webhook_errors().values()
    ]
    return [*found, *_strange_mailers()]


@register(Tags.security)
def check_webhooks_in_clear(**_kwargs: Any) -> list[CheckMessage]:
    """Return to which webhooks events go in clear."""
    return [
        Warning(
            f"The webhook {name!r} is at {endpoint.where}: who is mailed goes there in clear.",
            hint="Use https://, with 'ca_file' where the certificate is of your own authority.",
            id="django_smtpx.W011",
        )
        for name, endpoint in webhooks().items()
        if goes_in_clear(endpoint)
    ]


def _strange_mailers() -> Iterator[CheckMessage]:
    known = _usable_mailers()
    if not known:
        return
    for name, endpoint in webhooks().items():
        for mailer in sorted(endpoint.mailers or ()):
            if mailer not in known:
                yield Warning(
                    f"The webhook {name!r} is told of the mailer {mailer!r}, which is not "
                    f"configured.{did_you_mean(mailer, known)}",
                    hint=f"Known: {', '.join(map(repr, known))}.",
                    id="django_smtpx.W012",
                )


def _invalid(text: str, name: object) -> Error:
    return Error(
        text,
        hint=f"Correct the options of {name!r}: no mail can be sent through it as it is.",
        id="django_smtpx.E001",
    )


def _out_of_range() -> Iterator[CheckMessage]:
    for read in site.SITE_SETTINGS:
        problem = _problem_with(read)
        if problem:
            yield Error(
                problem,
                hint="Correct the setting, or remove it for its default.",
                id="django_smtpx.E003",
            )


def _unread() -> Iterator[CheckMessage]:
    own = settings.raw("SMTPX_MAILERS")
    if settings.raw("MAILERS") is None:
        return
    if django.VERSION >= (6, 1):
        if own is not None:
            yield Warning(
                "SMTPX_MAILERS is set, but nothing reads it beside MAILERS.",
                hint="Move its entries to MAILERS, each with its BACKEND and its OPTIONS.",
                id="django_smtpx.W007",
            )
    elif own is None:
        yield Warning(
            "MAILERS is set, but Django reads it from version 6.1 on.",
            hint="Set EMAIL_BACKEND, and SMTPX_MAILERS with the same options.",
            id="django_smtpx.W007",
        )


def _unknown() -> Iterator[CheckMessage]:
    for name in settings.names("SMTPX_"):
        if name not in site.KNOWN_SETTINGS:
            yield Warning(
                f"The setting {name} is unknown.{did_you_mean(name, site.KNOWN_SETTINGS)}",
                hint=f"Known: {', '.join(sorted(site.KNOWN_SETTINGS))}.",
                id="django_smtpx.W008",
            )


def _problem_with(read: Callable[[], object]) -> str:
    try:
        read()
    except ImproperlyConfigured as error:
        return str(error)
    return ""


def _usable_mailers() -> dict[str, Mailer]:
    try:
        return dict(mailers())
    except ImproperlyConfigured:
        return {}  # check_mailers() tells
