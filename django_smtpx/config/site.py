"""The settings of the whole site, beside its mailers."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_smtpx.config.settings import raw
from django_smtpx.config.values import BadOption, seconds
from django_smtpx.smtp import Rule

UNSUPPORTED_SETTINGS = ("SMTPX_CONTENT_STORAGE", "SMTPX_CONTENT_INLINE_MAX")
KNOWN_SETTINGS = (
    "SMTPX_MAILERS",
    "SMTPX_CONTENT_RETENTION",
    "SMTPX_LOG_RETENTION",
    "SMTPX_SWEEP_INTERVAL",
    "SMTPX_LEASE",
    "SMTPX_RULES",
    *UNSUPPORTED_SETTINGS,
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


SITE_SETTINGS = (content_retention, log_retention, sweep_interval, lease, rules)


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
