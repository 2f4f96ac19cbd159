"""The lists of what rests or goes slowly: why, and until when; and of refused credentials."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin import words
from django_smtpx.admin.base import ReadOnlyAdmin
from django_smtpx.admin.filters import MailerFilter, PaceFilter
from django_smtpx.models import RefusedCredential, Route


@admin.register(Route)
class RouteAdmin(ReadOnlyAdmin[Route]):
    """Routes: open, paused or held."""

    list_display = (
        "mailer_name",
        "host",
        "domain",
        "sender",
        "state",
        "category",
        "pause_reason",
        "next_probe",
        "pace",
        "consecutive_failures",
    )
    list_filter = ("state", "category", PaceFilter, MailerFilter)
    ordering = ("mailer", "host", "domain", "sender")
    search_fields = ("mailer", "host", "domain", "sender", "pause_reason")
    search_help_text = _("Mailer, host, domain, sender, or words of the reason.")
    # Never the fingerprint of a credential.
    fields = (
        "mailer_name",
        "host",
        "domain",
        "sender",
        "state",
        "category",
        "pause_reason",
        "next_probe",
        "paused_until",
        "consecutive_failures",
        ("pace", "slow_since"),
        "connections",
    )
    readonly_fields = tuple(flatten(fields))

    @admin.display(description=_("mailer"), ordering="mailer")
    def mailer_name(self, route: Route) -> str:
        """Return the mailer, and whether it can still be used."""
        return words.mailer(route.mailer)

    @admin.display(description=_("next probe"), ordering="paused_until")
    def next_probe(self, route: Route) -> str:
        """Say when it is tried again."""
        return words.next_probe(route, timezone.now())

    @admin.display(description=_("slowed down to"), ordering="slow_limit")
    def pace(self, route: Route) -> str:
        """Say how slowly it goes; nothing where it goes as fast as it can."""
        return words.pace(route.slow_limit)

    @admin.display(description=_("connections it is worth"))
    def connections(self, route: Route) -> str:
        """Return how many connections a destination has shown itself worth."""
        return "" if route.concurrency is None else number_format(round(route.concurrency, 1))


@admin.register(RefusedCredential)
class RefusedCredentialAdmin(ReadOnlyAdmin[RefusedCredential]):
    """Credentials that servers refused: how often, and when each is tried again.

    Two rows of one mailer are two credentials: what the workers before and
    after a deployment log in with.
    """

    list_display = ("mailer_name", "refusals", "refused_at", "next_probe")
    list_filter = (MailerFilter,)
    ordering = ("mailer", "-refused_at")
    search_fields = ("mailer",)
    search_help_text = _("Mailer.")
    # Never the fingerprint.
    fields = ("mailer_name", "refusals", "refused_at", "next_probe", "next_probe_at")
    readonly_fields = fields

    @admin.display(description=_("mailer"), ordering="mailer")
    def mailer_name(self, credential: RefusedCredential) -> str:
        """Return the mailer, and whether it can still be used."""
        return words.mailer(credential.mailer)

    @admin.display(description=_("next probe"), ordering="next_probe_at")
    def next_probe(self, credential: RefusedCredential) -> str:
        """Say when it is tried again."""
        return words.probe(credential.next_probe_at, timezone.now())
