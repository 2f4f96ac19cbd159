"""THE reader of settings: they become frozen values here, late, and again when they change.

Django 6.1 has ``MAILERS``; where it is set nothing else is read. Before that,
and without it, there are ``SMTPX_MAILERS`` and Django's ``EMAIL_*`` for its
``"default"``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_smtpx.mailer import Mailer, RetryPolicy
from django_smtpx.mailer_options import Redacted, parse
from django_smtpx.option_values import LONGEST, BadOption

try:
    from django.core.mail.exceptions import InvalidMailer
except ImportError:  # before Django 6.1
    InvalidMailer = None

__all__ = [
    "Mailer",
    "RetryPolicy",
    "content_retention",
    "get_mailer",
    "lease",
    "log_retention",
    "mailer_errors",
    "mailer_from_kwargs",
    "mailers",
    "sweep_interval",
]

BACKEND = "django_smtpx.backend.EmailBackend"
DEFAULT = "default"

_CLASSIC = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
    "use_ssl": "EMAIL_USE_SSL",
    "timeout": "EMAIL_TIMEOUT",
    "ssl_keyfile": "EMAIL_SSL_KEYFILE",
    "ssl_certfile": "EMAIL_SSL_CERTFILE",
}
_SECURITY_KEYS = frozenset({"security", "use_tls", "use_ssl"})


@dataclass(frozen=True, slots=True)
class _Source:
    """One mailer's raw options, and how the user calls them."""

    where: str
    options: Redacted
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Read:
    """All that was read at one time: raw options, mailers, and what is wrong with the others."""

    sources: Mapping[str, _Source]
    mailers: Mapping[str, Mailer]
    errors: Mapping[str, str]


def mailers() -> Mapping[str, Mailer]:
    """Return the mailers of this package by name.

    Those of other backends are not among them, and neither are those that
    :func:`mailer_errors` tells about: one mailer's mistake stops no other.
    """
    return _current().mailers


def mailer_errors() -> Mapping[str, ImproperlyConfigured]:
    """Return what is wrong with each of the mailers that cannot be used, by name."""
    read = _current()
    return {name: _error(name, text, read) for name, text in read.errors.items()}


def get_mailer(name: str) -> Mailer:
    """Return the mailer ``name``.

    Raises ``InvalidMailer`` (Django 6.1) or ``ImproperlyConfigured``: what is
    wrong with it, or, for an unknown one, which ones there are.
    """
    read = _current()
    if name in read.mailers:
        return read.mailers[name]
    if name in read.errors:
        raise _error(name, read.errors[name], read)
    known = ", ".join(repr(one) for one in (*read.mailers, *read.errors)) or "none"
    raise _improper(f"There is no mailer {name!r} of django_smtpx. Configured: {known}.")


def mailer_from_kwargs(alias: str | None, kwargs: Mapping[str, Any]) -> Mailer:
    """Return the mailer that Django asks the backend for.

    ``kwargs`` are those of the backend's constructor. Where they say what is
    configured (but for ``fail_silently``) that is the configured mailer; else
    it is a nameless one, which delivers at once.
    """
    kwargs = Redacted(kwargs)
    overridden = kwargs.pop("_ignore_unknown_kwargs", None)
    chosen = kwargs.pop("mailer", None)
    if overridden is not None or alias is None:
        # get_connection(): Django 6.1 has merged the default mailer's options in, and says which
        # ones the caller gave.
        keys = kwargs if overridden is None else overridden
        given = Redacted((key, kwargs[key]) for key in keys if _is_given(key, kwargs.get(key)))
        return _with_overrides(chosen or alias or DEFAULT, given)
    if chosen is not None:
        return _with_overrides(chosen, Redacted())
    return _as_constructed(alias, kwargs)


def _is_given(key: str, value: Any) -> bool:
    """Whether a get_connection() keyword counts, as in Django's own backend."""
    return bool(value) if key in ("host", "port") else value is not None


def _with_overrides(name: str, given: Redacted) -> Mailer:
    """Return the mailer ``name`` with the keywords of a get_connection() over its options."""
    read = _current()
    silent = given.pop("fail_silently", None)
    source = read.sources.get(name)
    if source is None:
        if name != DEFAULT:
            get_mailer(name)
        source = _Source("", _classic_options() if not _has_mailers() else Redacted(), _CLASSIC)
    if not given and name in read.mailers or name in read.errors:
        configured = get_mailer(name)
        return configured if silent is None else _silenced(configured, silent)
    base = source.options
    if _SECURITY_KEYS & given.keys():
        base = Redacted((key, base[key]) for key in base if key not in _SECURITY_KEYS)
    options = Redacted({**base, **given})
    if silent is not None:
        options["fail_silently"] = silent
    return _named_or_nameless(name, options, read)


def _as_constructed(alias: str, kwargs: Redacted) -> Mailer:
    """Return the mailer for ``mailers[alias]``, whose options are all in ``kwargs``."""
    read = _current()
    source = read.sources.get(alias)
    if source is not None and kwargs == source.options:
        return get_mailer(alias)
    return _named_or_nameless(alias, kwargs, read)


def _named_or_nameless(name: str, options: Redacted, read: _Read) -> Mailer:
    labels = read.sources[name].labels if name in read.sources else {}
    try:
        mailer = parse("", options, labels)
    except BadOption as error:
        raise _improper(f"{error}", alias=name if _has_mailers() else None) from None
    configured = read.mailers.get(name)
    if configured is not None and mailer == replace(
        configured, name="", fail_silently=mailer.fail_silently
    ):
        return replace(configured, fail_silently=mailer.fail_silently)
    return replace(mailer, mode="now")


def _silenced(mailer: Mailer, silent: Any) -> Mailer:
    return mailer if mailer.fail_silently == bool(silent) else replace(mailer, fail_silently=bool(silent))


# -- reading -------------------------------------------------------------------


def _raw(name: str, default: Any = None) -> Any:
    """Return a setting as it is set.

    Django 6.1 warns whoever reads a deprecated ``EMAIL_*`` through
    ``settings``; the site was told when they were loaded.
    """
    if settings._wrapped is None or not settings.configured:
        settings._setup(name)
    return getattr(settings._wrapped, name, default)


def _has_mailers() -> bool:
    return InvalidMailer is not None and _raw("MAILERS") is not None


def _current() -> _Read:
    """Return what the settings say now; Django's test environment swaps them without a signal."""
    if _has_mailers():
        return _read_mailers(_Same(_raw("MAILERS")))
    return _read_classic(
        _Same(_raw("SMTPX_MAILERS")),
        _Same(_raw("EMAIL_BACKEND")),
        tuple(_Same(_raw(setting)) for setting in _CLASSIC.values()),
    )


class _Same:
    """A cache key: the very same object, whatever it holds."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@lru_cache(maxsize=4)
def _read_mailers(configured: _Same) -> _Read:
    sources = {}
    for name, entry in configured.value.items():
        if is_ours(entry.get("BACKEND")):
            options = Redacted(entry.get("OPTIONS") or {})
            sources[name] = _Source(f"MAILERS[{name!r}]", options, {})
    return _parse_all(sources)


@lru_cache(maxsize=4)
def _read_classic(own: _Same, backend: _Same, _classic: tuple[_Same, ...]) -> _Read:
    sources = {}
    entries = dict(own.value or {})
    if is_ours(backend.value) and DEFAULT not in entries:
        entries[DEFAULT] = {}
    for name, entry in entries.items():
        options, labels = Redacted(entry), {}
        if name == DEFAULT:
            classic = _classic_options()
            if _SECURITY_KEYS & options.keys():
                classic = Redacted(
                    (key, classic[key]) for key in classic if key not in _SECURITY_KEYS
                )
            labels = {key: _CLASSIC[key] for key in classic if key not in options}
            options = Redacted({**classic, **options})
        sources[name] = _Source(f"SMTPX_MAILERS[{name!r}]", options, labels)
    return _parse_all(sources)


def _classic_options() -> Redacted:
    """Return what EMAIL_* say; a port that nobody has set follows from the security."""
    options = Redacted((key, _raw(setting)) for key, setting in _CLASSIC.items())
    if not settings._wrapped.is_overridden("EMAIL_PORT"):
        options["port"] = None
    return options


def _parse_all(sources: Mapping[str, _Source]) -> _Read:
    found, errors = {}, {}
    for name, source in sources.items():
        try:
            found[name] = parse(name, source.options, source.labels)
        except BadOption as error:
            errors[name] = str(error)
    return _Read(MappingProxyType(dict(sources)), MappingProxyType(found), MappingProxyType(errors))


@lru_cache(maxsize=32)
def is_ours(backend: str | None) -> bool:
    """Return whether a BACKEND path is this package's backend or a class built on it."""
    if not backend:
        return False
    if backend == BACKEND:
        return True
    try:
        return issubclass(import_string(backend), import_string(BACKEND))
    except (ImportError, TypeError):
        return False


def _error(name: str, text: str, read: _Read) -> ImproperlyConfigured:
    if _has_mailers():
        return _improper(text, alias=name)
    return _improper(f"{read.sources[name].where}: {text}")


def _improper(text: str, *, alias: str | None = None) -> ImproperlyConfigured:
    if InvalidMailer is None:
        return ImproperlyConfigured(text)
    return InvalidMailer(text, alias=alias)


def forget() -> None:
    """Read the settings anew at the next call."""
    _read_mailers.cache_clear()
    _read_classic.cache_clear()
    is_ours.cache_clear()


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in ("MAILERS", "SMTPX_MAILERS", "EMAIL_BACKEND") or setting in _CLASSIC.values():
        forget()


setting_changed.connect(_on_setting_changed, dispatch_uid="django_smtpx.config")


# -- settings of the whole site ------------------------------------------------


def content_retention() -> timedelta:
    """Return how long a message's content is kept after its last delivery is settled."""
    return _period("SMTPX_CONTENT_RETENTION", timedelta(days=7))


def log_retention() -> timedelta:
    """Return how long a message's row and those of its deliveries are kept."""
    return _period("SMTPX_LOG_RETENTION", timedelta(days=90))


def sweep_interval() -> float:
    """Return the seconds between two sweeps."""
    return _seconds("SMTPX_SWEEP_INTERVAL", 10.0)


def lease() -> float:
    """Return the seconds for which a claim is valid."""
    return _seconds("SMTPX_LEASE", 300.0)


def _period(name: str, default: timedelta) -> timedelta:
    value = _raw(name, default)
    if not isinstance(value, timedelta) or not timedelta(0) <= value:
        raise ImproperlyConfigured(
            f"{name} must be a datetime.timedelta of 0 or more, not {value!r}."
        )
    return value


def _seconds(name: str, default: float) -> float:
    value = _raw(name, default)
    valid = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not valid or not (math.isfinite(value) and 0 < value <= LONGEST):
        raise ImproperlyConfigured(f"{name} must be a number of seconds above 0, not {value!r}.")
    return float(value)
