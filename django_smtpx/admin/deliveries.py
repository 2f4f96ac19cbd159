"""The list of deliveries, and a delivery's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin import words
from django_smtpx.admin.attempts import story
from django_smtpx.admin.base import may_view
from django_smtpx.admin.filters import CategoryFieldFilter, MailerFilter
from django_smtpx.admin.steering import SteerableAdmin
from django_smtpx.models import Delivery, Message

if TYPE_CHECKING:
    from django.http import HttpRequest


@admin.register(Delivery)
class DeliveryAdmin(SteerableAdmin):
    """Deliveries: whose they are, where they stand, what the server said last, and what to do."""

    # What a reader at night asks first stands first: narrow screens cut off the rest.
    list_display = (
        "recipient",
        "status",
        "category",
        "codes",
        "next_attempt",
        "subject",
        "mailer_name",
        "host",
        "attempt_count",
        "created",
    )
    sortable_by = ("recipient", "next_attempt", "created")
    list_filter = ("status", ("category", CategoryFieldFilter), MailerFilter)
    list_select_related = ("message",)
    ordering = ("-id",)
    search_fields = ("recipient", "message__subject", "message__message_id", "reply")
    search_help_text = _(
        "Recipient or domain, subject, Message-ID, UUID, or words of the server's reply, such as "
        "its queue id."
    )
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
                    ("status", "category"),
                    ("next_attempt", "attempt_count"),
                    ("created", "settled_at"),
                )
            },
        ),
        (
            _("What the server said last"),
            {"fields": ("reply", ("codes", "phase", "host"))},
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

    @admin.display(description=_("code"))
    def codes(self, delivery: Delivery) -> str:
        """Return the reply's code and enhanced code."""
        return words.codes(delivery.code, delivery.enhanced_code)

    @admin.display(description=_("next attempt"), ordering="next_attempt_at")
    def next_attempt(self, delivery: Delivery) -> str:
        """Say when it is tried again."""
        return words.next_attempt(delivery, timezone.now())

    @admin.display(description=_("created"), ordering="id")
    def created(self, delivery: Delivery) -> str:
        """Return when the message was stored."""
        return words.moment(delivery.message.created_at)

    def get_fieldsets(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        """Return the fields; the link to the message for those who may follow it."""
        if may_view(request, Message):
            return self.fieldsets
        (title, first), *others = self.fieldsets
        fields = ["subject" if name == "message_link" else name for name in first["fields"]]
        return ((title, {**first, "fields": fields}), *others)

    def page_context(self, request: HttpRequest, obj: Delivery) -> dict[str, Any]:
        """Add the attempts to the page, and what the user can do about them."""
        return {
            "story": story(obj, timezone.now()),
            "deeds": self.deeds_for(request, obj),
            "steer_url": self.site_url(Delivery, "steer"),
        }
