"""The lists of webhooks, how each does, and of what they are told.

Whoever may can enable what was disabled, in two steps, both by POST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseNotAllowed, HttpResponseRedirect
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_smtpx import ledger, tasks
from django_smtpx.admin.asking import AskingAdmin
from django_smtpx.admin.base import may
from django_smtpx.admin.lists import LogAdmin, newest
from django_smtpx.config import webhook_errors, webhooks
from django_smtpx.language import recorded
from django_smtpx.models import Delivery, WebhookEndpoint, WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.functional import _StrOrPromise

    from django_smtpx.admin.asking import Chosen


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(AskingAdmin[WebhookEndpoint]):
    """Webhooks: in use, failing or disabled. Never the path of an address, nor a secret."""

    actions = ("enable_selected",)
    too_many = _("More than %(count)s webhooks are too many to enable at once.")
    change_form_template = "admin/django_smtpx/webhook_page.html"
    list_display = (
        "name",
        "where",
        "disabled_at",
        "failures",
        "failing_since",
        "rests_until",
        "latest_error",
    )
    ordering = ("name",)
    search_fields = ("name", "error")
    search_help_text = _("Name, or words of the latest error.")
    fields = (*list_display, "waiting")
    readonly_fields = fields

    @admin.display(description=_("address"))
    def where(self, row: WebhookEndpoint) -> str:
        """Return scheme and host, or that it cannot be used."""
        endpoint = webhooks().get(row.name)
        if endpoint is not None:
            return endpoint.where
        wrong = row.name in webhook_errors()
        return now_in_words("configured wrongly") if wrong else now_in_words("not configured")

    @admin.display(description=_("latest error"), ordering="error")
    def latest_error(self, row: WebhookEndpoint) -> str:
        """Return what went wrong last."""
        return recorded(row.error)

    @admin.display(description=_("waiting events"))
    def waiting(self, row: WebhookEndpoint) -> str:
        """Return how many events wait for it."""
        count = ledger.waiting_events(row.name)
        number = number_format(count)
        if count < ledger.MOST_COUNTED:
            return number
        return now_in_words("more than %(count)s") % {"count": number}

    @admin.action(permissions=["enable"], description=_("Enable"))
    def enable_selected(
        self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]
    ) -> HttpResponse:
        """Ask whether to enable the chosen ones."""
        chosen = self.chosen(request, queryset)
        if chosen is None:
            return HttpResponseRedirect(request.get_full_path())
        return self._confirmation(request, chosen)

    def has_enable_permission(self, request: HttpRequest) -> bool:
        """Whether the user may enable what is disabled."""
        return may(request, "enable_webhook")

    def get_urls(self) -> list[URLPattern]:
        """Add the address of what can be done."""
        return [self.own_path("enable", self.enable_view), *super().get_urls()]

    def enable_view(self, request: HttpRequest) -> HttpResponse:
        """Ask about the webhooks named in ``keys``, or, once confirmed, enable them."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and self.has_enable_permission(request)):
            raise PermissionDenied
        chosen = self.posted(request)
        if "confirmed" not in request.POST:
            return self._confirmation(request, chosen)
        self._enable(request, chosen)
        return HttpResponseRedirect(self.back_url(chosen))

    def page_context(self, request: HttpRequest, obj: WebhookEndpoint) -> dict[str, Any]:
        """Add what the user can do about it."""
        closed = obj.disabled_at is not None or obj.failures
        offered = closed and self.has_enable_permission(request)
        return {"enable_url": self.site_url(WebhookEndpoint, "enable") if offered else ""}

    def _confirmation(self, request: HttpRequest, chosen: Chosen) -> HttpResponse:
        rows = _rows(chosen)
        context = {
            "title": _("Enable"),
            "label": _("Enable") if rows else "",
            "rows": [(row.name, self.waiting(row), recorded(row.error)) for row in rows],
            "hidden": chosen.fields(),
            "back_url": self.back_url(chosen),
            "post_url": self.site_url(WebhookEndpoint, "enable"),
        }
        return self.own_page(request, "enable.html", context)

    def _enable(self, request: HttpRequest, chosen: Chosen) -> None:
        at, rows = ledger.now(), _rows(chosen)
        for row in rows:
            ledger.enable_webhook(row.name, at)
            tasks.wake_webhook(row.name)
        self.note_in_history(request, rows, now_in_words("Enable"))
        count = len(rows)
        text = ngettext("%(count)s webhook is enabled.", "%(count)s webhooks are enabled.", count)
        level = messages.SUCCESS if rows else messages.WARNING
        self.message_user(request, text % {"count": number_format(count)}, level)


def _rows(chosen: Chosen) -> list[WebhookEndpoint]:
    """Return those of the chosen ones that are disabled, or fail."""
    rows = WebhookEndpoint.objects.using(ledger.database()).filter(pk__in=chosen.keys)
    return [row for row in rows.order_by("name") if row.disabled_at is not None or row.failures]


class _AmongTheNewest(admin.SimpleListFilter):
    """A filter by what no index has: among the newest events."""

    floor: int | None = None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the events with the chosen value."""
        if self.value() is None:
            return queryset
        rows, self.floor = newest(queryset, request)
        return rows.filter(**{str(self.parameter_name): self.value()})


class WebhookFilter(_AmongTheNewest):
    """By webhook."""

    title = _("webhook")
    parameter_name = "endpoint"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> Iterable[tuple[str, _StrOrPromise]]:
        """Return the webhooks that there are, or were."""
        rows = WebhookEndpoint.objects.using(ledger.database())
        names = {*webhooks(), *rows.values_list("name", flat=True)}
        return [(name, name) for name in sorted(names)]


class EventStateFilter(_AmongTheNewest):
    """By whether an event was told."""

    title = _("state")
    parameter_name = "state"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> Iterable[tuple[str, _StrOrPromise]]:
        """Return the states."""
        return WebhookEvent.State.choices


@admin.register(WebhookEvent)
class WebhookEventAdmin(LogAdmin[WebhookEvent]):
    """What webhooks were told, or will be."""

    list_display = (
        "created_at",
        "endpoint",
        "event",
        "delivery",
        "state",
        "attempts",
        "next_attempt_at",
        "done_at",
        "latest_error",
    )
    list_filter = (WebhookFilter, EventStateFilter)
    ordering = ("-pk",)
    fields = (*list_display, "uuid", "first_tried_at", "body")
    readonly_fields = fields

    @admin.display(description=_("latest error"), ordering="error")
    def latest_error(self, event: WebhookEvent) -> str:
        """Return what went wrong with it last."""
        return recorded(event.error)

    @admin.display(description=_("delivery"))
    def delivery(self, event: WebhookEvent) -> str:
        """Return the delivery's key, which leads to its page."""
        return format_html(
            '<a href="{}">{}</a>',
            self.site_url(Delivery, "change", event.delivery_key),
            event.delivery_key,
        )
