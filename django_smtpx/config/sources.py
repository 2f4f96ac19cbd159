"""From settings to mailers: which there are, what was wrong with the others, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from operator import is_
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_smtpx.config.options import Redacted, parse
from django_smtpx.config.settings import has_mailers, is_set, raw, raws
from django_smtpx.config.site import rules
from django_smtpx.config.unknown import BadOption
from django_smtpx.smtp.wording import because, said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_smtpx.mailer import Mailer

BACKEND = "django_smtpx.backend.EmailBackend"
DEFAULT = "default"

_NAME_LENGTH = 100

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
_WATCHED = ("MAILERS", "SMTPX_MAILERS", "EMAIL_BACKEND", "SMTPX_RULES", *_CLASSIC.values())
_InvalidMailer: Any = (
    import_string("django.core.mail.exceptions.InvalidMailer") if django.VERSION >= (6, 1) else None
)
SECURITY_KEYS = frozenset({"security", "use_tls", "use_ssl"})


@dataclass(frozen=True, slots=True)
class Source:
    """One mailer's raw options, and how the user calls them."""

    where: str
    options: Redacted | None
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Read:
    """All that was read at one time: raw options, mailers, and what is wrong with the others."""

    sources: Mapping[str, Source]
    mailers: Mapping[str, Mailer]
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Latest:
    """What was read last, and from which objects."""

    values: tuple[Any, ...]
    read: Read


def current() -> Read:
    """Return what the settings say now; Django's test environment swaps them without a signal."""
    values = raws(_WATCHED)
    latest = _latest.get()
    if latest is not None and all(map(is_, values, latest.values)):
        return latest.read
    read = _read_mailers() if has_mailers() else _read_classic()
    _latest.set(_Latest(values, read))
    return read


class _Kept:
    """Where the latest is kept: one reference, so that every thread finds all of it or nothing."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: _Latest | None = None

    def get(self) -> _Latest | None:
        return self._latest

    def set(self, latest: _Latest | None) -> None:
        self._latest = latest


_latest = _Kept()


def _read_mailers() -> Read:
    configured = raw("MAILERS")
    if not isinstance(configured, dict):
        raise improper(
            said("MAILERS must be a dictionary, not %(kind)s.", kind=type(configured).__name__)
        )
    sources = {}
    for name, entry in configured.items():
        if isinstance(entry, dict) and is_ours(entry.get("BACKEND")):
            sources[name] = Source(f"MAILERS[{name!r}]", _options(entry.get("OPTIONS", {})), {})
    return _parse_all(sources)


def _read_classic() -> Read:
    own = raw("SMTPX_MAILERS")
    if own is not None and not isinstance(own, dict):
        raise ImproperlyConfigured(
            said(
                "SMTPX_MAILERS must be a dictionary of names and their options, not %(kind)s.",
                kind=type(own).__name__,
            )
        )
    entries = dict(own or {})
    if is_ours(raw("EMAIL_BACKEND")):
        entries.setdefault(DEFAULT, {})
    sources = {}
    for name, entry in entries.items():
        source = Source(f"SMTPX_MAILERS[{name!r}]", _options(entry), {})
        sources[name] = _over_classic(source) if name == DEFAULT else source
    return _parse_all(sources)


def _options(entry: Any) -> Redacted | None:
    return Redacted(entry) if isinstance(entry, dict) else None


def _over_classic(source: Source) -> Source:
    """Lay the options of the default mailer over what EMAIL_* say."""
    if source.options is None:
        return source
    own = source.options
    classic = classic_options()
    if own.get("transport") == "mx":
        # The others are about the host that mail is submitted to.
        classic = Redacted(timeout=classic["timeout"])
    if SECURITY_KEYS & own.keys():
        classic = without_security(classic)
    labels = {key: _CLASSIC[key] for key in classic if key not in own and is_set(_CLASSIC[key])}
    where = source.where if own else "EMAIL_*"
    return Source(where, Redacted({**classic, **own}), labels)


def classic_options() -> Redacted:
    """Return what EMAIL_* say; a port that nobody has set follows from the security."""
    options = Redacted((key, raw(setting)) for key, setting in _CLASSIC.items())
    if not is_set("EMAIL_PORT"):
        options["port"] = None
    return options


def _parse_all(sources: Mapping[Any, Source]) -> Read:
    found, errors = {}, {}
    for name, source in sources.items():
        try:
            found[name] = _parse(name, source)
        except BadOption as error:
            errors[name] = str(error)
    return Read(MappingProxyType(dict(sources)), MappingProxyType(found), MappingProxyType(errors))


def _parse(name: Any, source: Source) -> Mailer:
    if not isinstance(name, str) or not 1 <= len(name) <= _NAME_LENGTH:
        raise BadOption(
            said(
                "A mailer's name must be a string of 1 to %(most)s characters.",
                most=_NAME_LENGTH,
            )
        )
    if source.options is None:
        raise BadOption(said("The options must be a dictionary."))
    return parse(name, source.options, source.labels, rules())


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


def error_of(name: str, text: str, read: Read) -> ImproperlyConfigured:
    """Return the error that says where the mailer ``name`` is configured, and what is wrong."""
    if has_mailers():
        return improper(text, alias=name)
    return improper(because(read.sources[name].where, text))


def improper(text: str, *, alias: str | None = None) -> ImproperlyConfigured:
    """Return ``InvalidMailer`` where Django has it (6.1), else ``ImproperlyConfigured``."""
    if _InvalidMailer is None:
        return ImproperlyConfigured(text)
    error: ImproperlyConfigured = _InvalidMailer(text, alias=alias)
    if alias is not None:
        # What Django has put together, as what can be said in the reader's language.
        error.args = (because(f"MAILERS[{alias!r}]", text),)
    return error


def forget() -> None:
    """Read the settings anew at the next call."""
    _latest.set(None)
    is_ours.cache_clear()


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in _WATCHED:
        forget()


setting_changed.connect(_on_setting_changed, dispatch_uid="django_smtpx.config")


def without_security(options: Redacted) -> Redacted:
    """Return ``options`` without those that say how the connection becomes private."""
    return Redacted((key, options[key]) for key in options if key not in SECURITY_KEYS)
