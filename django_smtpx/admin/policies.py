"""The list of MTA-STS policies: what domains ask of us, and which of them could not be fetched."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin.base import ReadOnlyAdmin
from django_smtpx.admin.filters import FailureFilter
from django_smtpx.language import recorded
from django_smtpx.models import StoredPolicy


@admin.register(StoredPolicy)
class StoredPolicyAdmin(ReadOnlyAdmin[StoredPolicy]):
    """Policies that were fetched, and what went wrong at the latest try."""

    list_display = ("domain", "mode", "fetched_at", "expires_at", "failure", "next_try_at")
    list_filter = ("mode", ("failure", FailureFilter))
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
        "what_went_wrong",
        "tried_id",
        "tried_at",
        "next_try_at",
    )
    readonly_fields = fields

    @admin.display(description=_("what went wrong"))
    def what_went_wrong(self, policy: StoredPolicy) -> str:
        """Return why the policy could not be fetched."""
        return recorded(policy.failure_text)
