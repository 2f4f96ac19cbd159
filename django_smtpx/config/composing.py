"""What Django's own settings say about how mail and numbers are written."""

from __future__ import annotations

from django_smtpx.config.settings import raw


def in_utf8_and_utc() -> bool:
    """Return whether Django writes mail with its defaults: texts in UTF-8, the Date in UTC."""
    return raw("DEFAULT_CHARSET") == "utf-8" and not raw("EMAIL_USE_LOCALTIME")


def sets_thousands_apart() -> bool:
    """Return whether Django sets the thousands of a number apart."""
    return bool(raw("USE_THOUSAND_SEPARATOR"))
