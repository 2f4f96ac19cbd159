"""The list of messages, and a message's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin import words
from django_smtpx.admin.attempts import MOST_WITH_TRANSCRIPTS, status_counts, stories
from django_smtpx.admin.base import may_view
from django_smtpx.admin.content import ContentAdmin
from django_smtpx.admin.copying import copy_url, copy_view, may_copy
from django_smtpx.admin.filters import CategoryFilter, MailerFilter, StatusFilter
from django_smtpx.admin.lists import (
    EVERY,
    BoundedList,
    LogAdmin,
    before,
    first_delivery_from,
    newest,
)
from django_smtpx.admin.times import WhenFilter
from django_smtpx.models import Delivery, Message, Route

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

SEARCHED = 2_000
"""Deliveries whose texts a search for messages goes through at the most."""

_OF_DELIVERIES = ("deliveries__recipient", "deliveries__reply")


class MessageList(BoundedList):
    """Counts the deliveries of all messages on a page at once."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, and what its messages' deliveries have come to."""
        super().get_results(request)
        counts = status_counts(message.pk for message in self.result_list)
        for message in self.result_list:
            message.status_counts = counts.get(message.pk, {})


@admin.register(Message)
class MessageAdmin(LogAdmin[Message], ContentAdmin):
    """Messages as they were stored, and what has become of them."""

    list_display = (
        "subject_line",
        "from_header",
        "mailer_name",
        "outcomes",
        "readable_size",
        "created",
    )
    sortable_by = ("readable_size", "created")
    list_filter = (WhenFilter, StatusFilter, CategoryFilter, MailerFilter)
    ordering = ("-id",)
    search_fields = ("subject", "from_header", "envelope_sender", "message_id", *_OF_DELIVERIES)
    search_help_text = _(
        "Subject, sender, recipient, Message-ID, UUID, or words of the server's reply, such as its "
        "queue id."
    )
    searched = 1_000
    unseen = ("idempotency_digest", "body", "deliveries")
    uuid_lookup = "uuid"
    address_lookups = ("message_id",)
    change_form_template = "admin/django_smtpx/message_page.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "whole_subject",
                    ("from_header", "envelope_sender"),
                    ("message_id", "uuid"),
                    ("mailer_name", "mode"),
                    ("created_at", "settled_at"),
                )
            },
        ),
        (
            _("What the sender asked for"),
            {
                "classes": ("collapse",),
                "fields": (
                    "priority",
                    "send_at",
                    "expires_at",
                    "idempotency_key",
                    "require_tls",
                    "tags",
                    "metadata",
                ),
            },
        ),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    @admin.display(description=_("subject"))
    def subject_line(self, message: Message) -> str:
        """Return the subject as far as it fits into a list."""
        return words.subject(message.subject)

    @admin.display(description=_("subject"))
    def whole_subject(self, message: Message) -> str:
        """Return the subject."""
        return words.subject(message.subject, whole=True)

    @admin.display(description=_("mailer"))
    def mailer_name(self, message: Message) -> str:
        """Return the mailer, and whether it can still be used."""
        return words.mailer(message.mailer)

    @admin.display(description=_("deliveries"))
    def outcomes(self, message: Any) -> str:
        """Return what has become of the deliveries, as :class:`MessageList` has counted them."""
        return words.counts(message.status_counts)

    @admin.display(description=_("size"), ordering="size")
    def readable_size(self, message: Message) -> str:
        """Return the size on the wire."""
        return filesizeformat(message.size)

    # By the key, which is its order, near enough, and has an index.
    @admin.display(description=_("created at"), ordering="id")
    def created(self, message: Message) -> str:
        """Return when it was stored."""
        return words.moment(message.created_at)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedList]:
        """Return the list that counts deliveries."""
        return MessageList

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        """Return the filters: what servers said is for those who may see deliveries."""
        if may_view(request, Delivery):
            return self.list_filter
        return tuple(one for one in self.list_filter if one is not CategoryFilter)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Return what is searched: what is said of deliveries for those who may see it."""
        if may_view(request, Delivery):
            return self.search_fields
        return tuple(name for name in self.search_fields if name not in _OF_DELIVERIES)

    def get_urls(self) -> list[URLPattern]:
        """Add the address of the form for a copy."""
        copy = self.own_path("copy", self.copy_view, "<path:object_id>/copy")
        return [copy, *super().get_urls()]

    def copy_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send a copy of a message, for those who may."""
        if not may_copy(request):
            raise PermissionDenied
        return copy_view(self, request, self.message_or_404(request, object_id))

    def searched_rows(
        self, request: HttpRequest, rows: QuerySet[Any]
    ) -> tuple[QuerySet[Any], int | None]:
        """Return the newest ones, and no more of them than have a bounded number of deliveries:
        a thousand messages may have millions.
        """
        within, floor = newest(rows, request, self.searched)
        if EVERY in request.GET or not may_view(request, Delivery):
            return within, floor
        deliveries = Delivery.objects.order_by("-pk")
        newer = before(request)
        if newer is not None and (first := first_delivery_from(newer)) is not None:
            deliveries = deliveries.filter(pk__lt=first)
        last = deliveries.values_list("message_id", flat=True)[SEARCHED : SEARCHED + 1].first()
        if last is None or (floor is not None and last <= floor):
            return within, floor
        return rows.filter(pk__gte=last), last

    def page_context(self, request: HttpRequest, obj: Message) -> dict[str, Any]:
        """Add the deliveries and their attempts to the page, for those who may see them."""
        counts = status_counts([obj.pk]).get(obj.pk, {})
        context = {
            "outcomes": words.counts(counts),
            "copy_url": copy_url(self, request, obj),
            **self.content_section(request, obj),
        }
        if self.has_pages_of(Delivery, request):
            context.update(self._deliveries(request, obj, sum(counts.values())))
        return context

    def _deliveries(self, request: HttpRequest, message: Message, total: int) -> dict[str, Any]:
        shown = stories(message, total, timezone.now())
        every = self.site_url(Delivery, "changelist")
        return {
            "stories": shown,
            "may_view_routes": self.has_pages_of(Route, request),
            "total": total,
            "left_out": total - len(shown),
            "transcripts_elsewhere": total > MOST_WITH_TRANSCRIPTS,
            "all_deliveries_url": f"{every}?message__id__exact={message.pk}",
        }
