"""THE reader of settings: they become frozen values here, late, and again when they change.

Django 6.1 has ``MAILERS``; where it is set nothing else is read. Before that,
and without it, there are ``SMTPX_MAILERS`` and Django's ``EMAIL_*`` for its
``"default"``. ``settings`` reads, ``sources`` finds the mailers, ``options``
and ``values`` judge what they say, ``named`` hands them out. ``webhooks`` reads its own.
"""

from __future__ import annotations

from django_smtpx.config.named import get_mailer, mailer_errors, mailer_from_kwargs, mailers
from django_smtpx.config.site import (
    content_inline_max,
    content_retention,
    content_storage,
    counts_tls_sessions,
    lease,
    log_retention,
    rules,
    secret_keys,
    sweep_interval,
    tls_reporter,
)
from django_smtpx.config.sources import BACKEND, DEFAULT
from django_smtpx.config.webhooks import webhook_errors, webhooks
from django_smtpx.mailer import Mailer, MXOptions, RetryPolicy

__all__ = [
    "BACKEND",
    "DEFAULT",
    "MXOptions",
    "Mailer",
    "RetryPolicy",
    "content_inline_max",
    "content_retention",
    "content_storage",
    "counts_tls_sessions",
    "get_mailer",
    "lease",
    "log_retention",
    "mailer_errors",
    "mailer_from_kwargs",
    "mailers",
    "rules",
    "secret_keys",
    "sweep_interval",
    "tls_reporter",
    "webhook_errors",
    "webhooks",
]
