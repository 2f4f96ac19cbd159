"""The settings of the whole site, beside its mailers."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, storages
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_smtpx.addresses import addr_spec
from django_smtpx.config.settings import raw
from django_smtpx.config.unknown import BadOption, did_you_mean
from django_smtpx.config.values import integer, seconds
from django_smtpx.smtp import Rule

INLINE_MAX = 1024 * 1024
"""Bytes of content up to which one is small, unless the site says otherwise."""

INLINE_MOST = 64 * 1024 * 1024
"""The most that a site may say: what is small is a value of a single statement."""

ALIAS_LENGTH = 100
"""Characters that a row has for the alias of a storage."""

KNOWN_SETTINGS = (
    "SMTPX_MAILERS",
    "SMTPX_CONTENT_RETENTION",
    "SMTPX_LOG_RETENTION",
    "SMTPX_SWEEP_INTERVAL",
    "SMTPX_LEASE",
    "SMTPX_RULES",
    "SMTPX_CONTENT_STORAGE",
    "SMTPX_CONTENT_INLINE_MAX",
    "SMTPX_TLSRPT",
    "SMTPX_TLSRPT_ORGANIZATION",
    "SMTPX_TLSRPT_CONTACT",
    "SMTPX_WEBHOOKS",
)


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


def content_inline_max() -> int:
    """Return up to how many bytes a content is kept in its row."""
    value = raw("SMTPX_CONTENT_INLINE_MAX")
    if value is None:
        return INLINE_MAX
    try:
        return integer(0, INLINE_MOST)("SMTPX_CONTENT_INLINE_MAX", value)
    except BadOption as error:
        raise ImproperlyConfigured(f"{error} It is in bytes; 1 MiB is {INLINE_MAX}.") from None


def content_storage() -> str | None:
    """Return the alias of the storage for larger contents; None: they are in the database."""
    value = raw("SMTPX_CONTENT_STORAGE")
    if value is None:
        return None
    known = raw("STORAGES", {})
    if not isinstance(value, str) or value not in known:
        names = ", ".join(map(repr, known)) or "none"
        raise ImproperlyConfigured(
            f"SMTPX_CONTENT_STORAGE must be an alias in STORAGES ({names}), not {value!r}."
            f"{did_you_mean(value, known)} Add it there, or remove SMTPX_CONTENT_STORAGE to keep "
            "large contents in the database."
        )
    try:
        storages[value]
    except InvalidStorageError as error:
        raise ImproperlyConfigured(
            f"SMTPX_CONTENT_STORAGE: STORAGES[{value!r}] cannot be used: {error}"
        ) from error
    if len(value) > ALIAS_LENGTH:
        raise ImproperlyConfigured(
            f"SMTPX_CONTENT_STORAGE must be at most {ALIAS_LENGTH} characters long, not {value!r}."
        )
    return value


def counts_tls_sessions() -> bool:
    """Return whether sessions with the recipients' servers are counted for reports on TLS."""
    value = raw("SMTPX_TLSRPT", True)
    if not isinstance(value, bool):
        raise ImproperlyConfigured(f"SMTPX_TLSRPT must be True or False, not {value!r}.")
    return value


def tls_reporter() -> tuple[str, str]:
    """Return who reports on TLS: an organization's name, and the address that reports come from.

    Unless the site says otherwise they are DEFAULT_FROM_EMAIL's domain and address.
    """
    name = "SMTPX_TLSRPT_CONTACT"
    contact = _text(name)
    if not contact:
        name, contact = "DEFAULT_FROM_EMAIL", str(raw("DEFAULT_FROM_EMAIL"))
    try:
        contact = addr_spec(contact)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None
    return _text("SMTPX_TLSRPT_ORGANIZATION") or contact.rpartition("@")[2], contact


def rules() -> tuple[Rule, ...]:
    """Return the site's own verdict rules, which come before those of this package.

    Raises ``ImproperlyConfigured`` for what is no sequence of good rules.
    """
    path = raw("SMTPX_RULES")
    if path is None:
        return ()
    if not isinstance(path, str) or "." not in path:
        raise ImproperlyConfigured(
            "SMTPX_RULES must be the dotted path of a list of rules, such as 'site.mail.RULES', "
            f"not {path!r}."
        )
    return _rules_at(path)


def secret_keys() -> tuple[str | bytes, ...]:
    """Return Django's SECRET_KEY, which signs, and those before it, which are still believed."""
    key = raw("SECRET_KEY")
    if not key:
        raise ImproperlyConfigured("SECRET_KEY must not be empty: return paths are signed with it.")
    return (key, *raw("SECRET_KEY_FALLBACKS", ()))


SITE_SETTINGS = (
    content_retention,
    log_retention,
    sweep_interval,
    lease,
    content_inline_max,
    content_storage,
    rules,
    counts_tls_sessions,
    tls_reporter,
)


@lru_cache(maxsize=4)
def _rules_at(path: str) -> tuple[Rule, ...]:
    try:
        found = import_string(path)
    except Exception as error:
        # Whatever the site's own module raises: a rule that is none says so with a ValueError.
        raise ImproperlyConfigured(f"SMTPX_RULES: {path!r} cannot be imported: {error}") from error
    if not isinstance(found, (list, tuple)):
        raise ImproperlyConfigured(
            f"SMTPX_RULES: {path!r} must be a list or tuple of django_smtpx.smtp.Rule, "
            f"not {type(found).__name__}."
        )
    from django_smtpx.smtp.rules.table import RULES

    seen = {rule.id: "this package's own" for rule in RULES}
    for number, rule in enumerate(found, start=1):
        seen[_id_of(rule, number, path, seen)] = f"entry {number}'s as well"
    return tuple(found)


def _id_of(rule: Any, number: int, path: str, seen: dict[str, str]) -> str:
    """Return the id of a rule that is one, and that nobody before it has."""
    if not isinstance(rule, Rule):
        raise ImproperlyConfigured(
            f"SMTPX_RULES: entry {number} of {path!r} must be a django_smtpx.smtp.Rule, "
            f"not {rule!r}."
        )
    if rule.id in seen:
        raise ImproperlyConfigured(
            f"SMTPX_RULES: entry {number} of {path!r} has the id {rule.id!r}, which is "
            f"{seen[rule.id]}. Give it another one."
        )
    return rule.id


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting == "SMTPX_RULES":
        _rules_at.cache_clear()


setting_changed.connect(_on_setting_changed, dispatch_uid="django_smtpx.config.site")


def _text(name: str) -> str:
    value = raw(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.strip():
        raise ImproperlyConfigured(f"{name} must be a text, not {value!r}.")
    return value.strip()


def _period(name: str, default: timedelta) -> timedelta:
    value = raw(name)
    if value is None:
        return default
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise ImproperlyConfigured(
            f"{name} must be a datetime.timedelta of 0 or more, not {value!r}."
        )
    return value


def _seconds(name: str, default: float) -> float:
    value = raw(name)
    try:
        return default if value is None else seconds(name, value)
    except BadOption as error:
        raise ImproperlyConfigured(str(error)) from None
