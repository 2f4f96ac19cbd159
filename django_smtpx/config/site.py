"""The settings of the whole site, beside its mailers."""

from __future__ import annotations

from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured

from django_smtpx.config.settings import raw
from django_smtpx.config.values import BadOption, seconds

UNSUPPORTED_SETTINGS = ("SMTPX_CONTENT_STORAGE", "SMTPX_CONTENT_INLINE_MAX", "SMTPX_RULES")
KNOWN_SETTINGS = (
    "SMTPX_MAILERS",
    "SMTPX_CONTENT_RETENTION",
    "SMTPX_LOG_RETENTION",
    "SMTPX_SWEEP_INTERVAL",
    "SMTPX_LEASE",
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


SITE_SETTINGS = (content_retention, log_retention, sweep_interval, lease)


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
