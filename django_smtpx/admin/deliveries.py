"""The list of deliveries, and a delivery's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin import words
from django_smtpx.admin.attempts import story
from django_smtpx.admin.copying import copy_url
from django_smtpx.admin.filters import (
    CategoryFieldFilter,
    DomainFilter,
    MailerFilter,
    WaitFilter,
)
from django_smtpx.admin.lists import BoundedList, LogAdmin
from django_smtpx.admin.steering import SteerableAdmin
from django_smtpx.admin.suppressions import way_to_list
from django_smtpx.admin.times import WhenFilter, first_key
from django_smtpx.language import recorded
from django_smtpx.models import Delivery, Message, Route

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest

UP_TO = "up_to"
"""The parameter of a page that is about earlier attempts: the number of the latest of them."""


class DeliveryList(BoundedList):
    """Asks once for the rates of what is ready on a page."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        """Return what is asked for; what was settled before some time was stored before it."""
        before = _moment(request.GET.get("settled_at__lt", ""))
        first = first_key(Delivery, before) if before is not None else None
        if first is not None:
            self.root_queryset = self.root_queryset.filter(pk__lt=first)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, and which mailers have used up their rate."""
        super().get_results(request)
        rows = list(self.result_list)
        used_up = words.rates_used_up(rows, timezone.now())
        for delivery in rows:
            delivery.used_up = used_up
        self.result_list = rows


@admin.register(Delivery)
class DeliveryAdmin(LogAdmin[Delivery], SteerableAdmin):
    """Deliveries: whose they are, where they stand, what the server said last, and what to do."""

    # What a reader at night asks first stands first: narrow screens cut off the rest.
    list_display = (
        "whole_recipient",
        "status_badge",
        "category_badge",
        "codes",
        "next_attempt",
        "subject",
        "mailer_name",
        "host",
        "attempt_count",
        "created",
    )
    sortable_by = ("whole_recipient", "next_attempt", "created")
    list_filter = (
        WhenFilter,
        "status",
        WaitFilter,
        ("category", CategoryFieldFilter),
        MailerFilter,
        DomainFilter,
    )
    list_select_related = ("message",)
    ordering = ("-id",)
    search_fields = ("recipient", "message__subject", "message__message_id", "reply")
    search_help_text = _(
        "Recipient or domain, subject, Message-ID, UUID, or words of the server's reply, such as "
        "its queue id."
    )
    created_lookup = "message__created_at"
    unseen = ("lease_token",)
    uuid_lookup = "message__uuid"
    address_lookups = ("recipient", "message__message_id")
    change_form_template = "admin/django_smtpx/delivery_page.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "recipient",
                    "message_link",
                    "mailer_name",
                    ("status_badge", "category_badge"),
                    ("next_attempt", "attempt_count"),
                    ("created", "settled_at"),
                )
            },
        ),
        (
            _("What the server said last"),
            {"fields": ("said", ("codes", "phase", "host"))},
        ),
        (
            _("How the queue sees it"),
            {
                "classes": ("collapse",),
                "fields": (
                    ("domain", "priority", "lane"),
                    ("next_attempt_at", "parked_at", "expires_at"),
                    ("age_from", "step", "unknowns"),
                    ("marked", "lease_expires_at", "leases_lost"),
                ),
            },
        ),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    @admin.display(description=_("recipient"), ordering="recipient")
    def whole_recipient(self, delivery: Delivery) -> str:
        """Return the address, set apart: it may run in the other direction."""
        return format_html("<bdi>{}</bdi>", delivery.recipient)

    @admin.display(description=_("status"))
    def status_badge(self, delivery: Delivery) -> str:
        """Return the status as a coloured word."""
        return words.status_badge(delivery.status)

    @admin.display(description=_("category"))
    def category_badge(self, delivery: Delivery) -> str:
        """Return the category as a coloured word."""
        return words.category_badge(delivery.category)

    @admin.display(description=_("subject"))
    def subject(self, delivery: Delivery) -> str:
        """Return the message's subject."""
        return words.subject(delivery.message.subject)

    @admin.display(description=_("message"))
    def message_link(self, delivery: Delivery) -> str:
        """Return the way to the message."""
        return format_html(
            '<a href="{}">{}</a>', self.page_url(delivery.message), self.subject(delivery)
        )

    @admin.display(description=_("mailer"))
    def mailer_name(self, delivery: Delivery) -> str:
        """Return the mailer, and whether it can still be used."""
        return words.mailer(delivery.mailer)

    @admin.display(description=_("reply"))
    def said(self, delivery: Delivery) -> str:
        """Return the reply; without a code it is in this package's words."""
        return delivery.reply if delivery.code else recorded(delivery.reply)

    @admin.display(description=_("code"))
    def codes(self, delivery: Delivery) -> str:
        """Return the reply's code and enhanced code."""
        return words.codes(delivery.code, delivery.enhanced_code)

    @admin.display(description=_("next attempt"), ordering="next_attempt_at")
    def next_attempt(self, delivery: Any) -> str:
        """Say when it is tried again, as :class:`DeliveryList` knows it."""
        return words.next_attempt(delivery, timezone.now(), getattr(delivery, "used_up", {}))

    @admin.display(description=_("created"), ordering="id")
    def created(self, delivery: Delivery) -> str:
        """Return when the message was stored."""
        return words.moment(delivery.message.created_at)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedList]:
        """Return the list that knows of rates."""
        return DeliveryList

    def get_fieldsets(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        """Return the fields; the link to the message for those who may follow it."""
        if self.has_pages_of(Message, request):
            return self.fieldsets
        (title, first), *others = self.fieldsets
        fields = ["subject" if name == "message_link" else name for name in first["fields"]]
        return ((title, {**first, "fields": fields}), *others)

    def page_context(self, request: HttpRequest, obj: Delivery) -> dict[str, Any]:
        """Add the attempts to the page, and what the user can do about them."""
        return {
            "story": story(obj, timezone.now(), up_to=_number(request.GET.get(UP_TO, ""))),
            "may_view_routes": self.has_pages_of(Route, request),
            "deeds": self.deeds_for(request, obj),
            "steer_url": self.site_url(Delivery, "steer"),
            "tools": self._tools(request, obj),
            "is_sent": obj.status == Delivery.Status.SENT and self.has_retry_permission(request),
        }

    def _tools(self, request: HttpRequest, delivery: Delivery) -> list[tuple[str, str]]:
        """Return links to what the user can do besides, their labels and addresses."""
        copy = copy_url(self, request, delivery.message)
        tools = [(now_in_words("Send a copy"), f"{copy}?delivery={delivery.pk}")] if copy else []
        return [*tools, *way_to_list(self, request, delivery.recipient)]


def _moment(text: str) -> datetime | None:
    """Return a moment; None for what is none, or in no time zone."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _number(text: str) -> int | None:
    """Return the number of an attempt; None for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
