"""A site with nothing but an outbox, in the process that asks for it."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings

SINK = {"host": "127.0.0.1", "port": 1, "security": "none"}


def set_up(database: dict[str, Any], *, port: int = 1, **values: Any) -> None:
    """Let this process be a process of a site with this ``database``, whose server has ``port``.

    ``values`` are further settings.
    """
    options = {**SINK, "port": port}
    mailers: dict[str, Any] = {"EMAIL_BACKEND": "django_smtpx.backend.EmailBackend"}
    if django.VERSION >= (6, 1):
        backend = mailers.pop("EMAIL_BACKEND")
        mailers["MAILERS"] = {"default": {"BACKEND": backend, "OPTIONS": options}}
    else:
        mailers["SMTPX_MAILERS"] = {"default": options}
    settings.configure(
        SECRET_KEY="only for benchmarks",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_smtpx"],
        DATABASES={"default": database},
        **mailers,
        **values,
    )
    django.setup()


def create_tables() -> None:
    """Make the tables."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
