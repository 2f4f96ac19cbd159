"""The application as Django sees it."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SmtpxConfig(AppConfig):
    """The outbox."""

    name = "django_smtpx"
    verbose_name = _("Outbox")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and the tasks with whatever Celery app there is."""
        from django_smtpx import checks, tasks  # noqa: F401 (both register as they are imported)
