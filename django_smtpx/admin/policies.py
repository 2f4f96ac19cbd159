"""The list of MTA-STS policies: what domains ask of us, and which of them could not be fetched."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin.base import ReadOnlyAdmin
from django_smtpx.models import StoredPolicy


@admin.register(StoredPolicy)
class StoredPolicyAdmin(ReadOnlyAdmin[StoredPolicy]):
    """Policies that were fetched, and what went wrong at the latest try."""

    list_display = ("domain", "mode", "fetched_at", "expires_at", "failure", "next_try_at")
    list_filter = ("mode", "failure")
    ordering = ("domain",)
    search_fields = ("domain",)
    search_help_text = _("Domain.")
    fields = (
        "domain",
        "mode",
        "mx",
        "max_age",
        "policy_id",
        "fetched_at",
        "expires_at",
        "failure",
        "failure_text",
        "tried_id",
        "tried_at",
        "next_try_at",
    )
    readonly_fields = fields
