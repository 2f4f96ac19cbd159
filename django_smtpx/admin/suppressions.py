"""The suppression list: who is on it and why, and people's own entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _

from django_smtpx.addresses import addr_spec
from django_smtpx.admin import words
from django_smtpx.admin.base import BaseAdmin, may
from django_smtpx.admin.filters import ExpiryFilter, SuppressedForFilter
from django_smtpx.language import in_language
from django_smtpx.ledger import suppressing
from django_smtpx.models import Delivery, Suppression

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest

    _Form = forms.ModelForm[Suppression]
else:
    _Form = forms.ModelForm


class SuppressionForm(_Form):
    """An address, why nothing is to be sent to it, and until when."""

    class Meta:
        model = Suppression
        fields = ("address", "reason", "expires_at")
        help_texts = {  # noqa: RUF012 (Django's own convention)
            "address": _("Exactly this one: ann+news@ and a.nn@ are others than ann@."),
            "reason": _("Each delivery that is held back says so."),
            "expires_at": _("Empty: until somebody takes it off the list."),
        }

    def clean_address(self) -> str:
        """Take one valid address that is not on the list."""
        try:
            address = addr_spec(self.cleaned_data["address"])
        except ValueError as error:
            raise ValidationError(in_language(error)) from error
        entry = suppressing.entry(address)
        if entry is not None and not _is_over(entry.expires_at):
            raise ValidationError(
                _("%(address)s has been on the list since %(time)s."),
                params={"address": entry.address, "time": words.moment(entry.created_at)},
            )
        return address

    def clean_expires_at(self) -> datetime | None:
        """Refuse an entry that would be over when it is made."""
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if self.instance._state.adding and _is_over(expires_at):
            raise ValidationError(_("This time is over."))
        return expires_at


@admin.register(Suppression)
class SuppressionAdmin(BaseAdmin[Suppression]):
    """Addresses that are not sent to, by a server's word or a person's."""

    form = SuppressionForm
    list_display = ("address", "put_by", "reason", "created_at", "expiry", "evidence")
    list_filter = (SuppressedForFilter, ExpiryFilter)
    sortable_by = ("address", "created_at", "expiry")
    list_select_related = ("attempt",)
    ordering = ("-id",)
    search_fields = ("address", "reason")
    search_help_text = _("A whole address finds that alone; else parts of it or of the reason.")
    # A person changes what a person decides: who was refused, and when, is on record.
    readonly_fields = ("put_by", "created_at", "expiry", "evidence")

    @admin.display(description=_("category"), ordering="category")
    def put_by(self, entry: Suppression) -> str:
        """Say what put it here."""
        return entry.get_category_display() if entry.category else now_in_words("by a person")

    @admin.display(description=_("expires"), ordering="expires_at")
    def expiry(self, entry: Suppression) -> str:
        """Say until when it counts."""
        return words.expiry(entry.expires_at, timezone.now())

    @admin.display(description=_("evidence"))
    def evidence(self, entry: Suppression) -> str:
        """Return the way to the delivery whose attempt put it here."""
        attempt = entry.attempt
        if attempt is None:
            return ""
        said = {"number": attempt.number, "time": words.moment(attempt.started_at)}
        return format_html(
            '<a href="{}">{}</a>',
            self.site_url(Delivery, "change", attempt.delivery_id),
            now_in_words("Attempt %(number)s, %(time)s") % said,
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Suppression]:
        """Return the entries, without the conversations behind them."""
        return super().get_queryset(request).defer("attempt__transcript", "attempt__reply")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the columns; the evidence for those who may follow it."""
        return self._without_evidence(self.list_display, request)

    def get_fields(self, request: HttpRequest, obj: Suppression | None = None) -> tuple[str, ...]:
        """Return what is asked for in a new entry, or all there is about one."""
        if obj is None:
            return ("address", "reason", "expires_at")
        every = ("address", "put_by", "created_at", "evidence", "reason", "expires_at")
        return self._without_evidence(every, request)

    def get_readonly_fields(
        self, request: HttpRequest, obj: Suppression | None = None
    ) -> tuple[str, ...]:
        """Return what cannot be changed: who is meant, and what put it here."""
        return self.readonly_fields if obj is None else ("address", *self.readonly_fields)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Suppression], bool]:
        """Search as Django does, but take a whole address for one first: that is found by index."""
        entry = suppressing.entry(search_term.strip())
        if entry is not None and (exact := queryset.filter(pk=entry.pk)).exists():
            return exact, False
        return super().get_search_results(request, queryset, search_term)

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: bool) -> None:  # noqa: FBT001 (Django calls it so)
        """Put the address on the list, or change why and until when."""
        if not change:
            obj.pk = suppressing.add(obj.address, obj.reason, expires_at=obj.expires_at).pk
        elif not suppressing.amend(obj.address, reason=obj.reason, expires_at=obj.expires_at):
            gone = _("The address was taken off the list meanwhile, and nothing was changed.")
            self.message_user(request, gone, messages.WARNING)

    def delete_model(self, request: HttpRequest, obj: Suppression) -> None:
        """Take it off the list."""
        suppressing.remove(obj.address)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Suppression]) -> None:
        """Take them off the list."""
        suppressing.remove(*queryset.values_list("address", flat=True))

    def _without_evidence(self, names: Any, request: HttpRequest) -> tuple[str, ...]:
        seen = self.has_pages_of(Delivery, request)
        return tuple(name for name in names if seen or name != "evidence")


def way_to_list(page: BaseAdmin[Any], request: HttpRequest, address: str) -> list[tuple[str, str]]:
    """Return a link, its label and its address, to putting ``address`` on the list or taking it
    off; none where the user may not.
    """
    if not page.has_pages_of(Suppression, request):
        return []
    entry = suppressing.entry(address)
    if entry is None or _is_over(entry.expires_at):
        if not may(request, "add_suppression"):
            return []
        url = f"{page.site_url(Suppression, 'add')}?{urlencode({'address': address})}"
        return [(now_in_words("Put on the suppression list"), url)]
    if not may(request, "delete_suppression"):
        return []
    url = page.site_url(Suppression, "delete", entry.pk)
    return [(now_in_words("Take off the suppression list"), url)]


def _is_over(expires_at: datetime | None) -> bool:
    return expires_at is not None and expires_at <= timezone.now()
