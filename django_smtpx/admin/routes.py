"""The list of routes: which mailers and hosts rest, why, and until when."""

from __future__ import annotations

from django.contrib import admin
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin import words
from django_smtpx.admin.base import ReadOnlyAdmin
from django_smtpx.admin.filters import MailerFilter
from django_smtpx.models import Route


@admin.register(Route)
class RouteAdmin(ReadOnlyAdmin[Route]):
    """Routes: open, paused or held."""

    list_display = (
        "mailer_name",
        "host",
        "domain",
        "state",
        "category",
        "pause_reason",
        "next_probe",
        "consecutive_failures",
    )
    list_filter = ("state", "category", MailerFilter)
    ordering = ("mailer", "host", "domain")
    search_fields = ("mailer", "host", "domain", "pause_reason")
    search_help_text = _("Mailer, host, domain, or words of the reason.")
    # Never the fingerprint of a refused credential.
    fields = (
        "mailer_name",
        "host",
        "domain",
        "state",
        "category",
        "pause_reason",
        "next_probe",
        "paused_until",
        "consecutive_failures",
    )
    readonly_fields = fields

    @admin.display(description=_("mailer"), ordering="mailer")
    def mailer_name(self, route: Route) -> str:
        """Return the mailer, and whether it can still be used."""
        return words.mailer(route.mailer)

    @admin.display(description=_("next probe"), ordering="paused_until")
    def next_probe(self, route: Route) -> str:
        """Say when it is tried again."""
        return words.next_probe(route, timezone.now())
