"""The list of messages, and a message's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin import words
from django_smtpx.admin.attempts import MOST_WITH_TRANSCRIPTS, status_counts, stories
from django_smtpx.admin.base import ReadOnlyAdmin, may_view
from django_smtpx.admin.filters import CategoryFilter, MailerFilter, StatusFilter
from django_smtpx.models import Content, Delivery, Message

if TYPE_CHECKING:
    from django.http import HttpRequest

_OF_DELIVERIES = ("deliveries__recipient", "deliveries__reply")


class MessageList(ChangeList):
    """Counts the deliveries of all messages on a page at once."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, and what its messages' deliveries have come to."""
        super().get_results(request)
        counts = status_counts(message.pk for message in self.result_list)
        for message in self.result_list:
            message.status_counts = counts.get(message.pk, {})


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin[Message]):
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
    list_filter = (StatusFilter, CategoryFilter, MailerFilter)
    ordering = ("-id",)
    search_fields = ("subject", "from_header", "envelope_sender", "message_id", *_OF_DELIVERIES)
    search_help_text = _(
        "Subject, sender, recipient, Message-ID, UUID, or words of the server's reply, such as its "
        "queue id."
    )
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
                    "content_kept",
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

    @admin.display(description=_("content"))
    def content_kept(self, message: Message) -> str:
        """Say how large the content is, and whether it is still there."""
        values = {"size": filesizeformat(message.size)}
        if Content.objects.filter(pk=message.pk).exists():
            return now_in_words("%(size)s, kept") % values
        return now_in_words("%(size)s, deleted by the retention") % values

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that counts deliveries."""
        return MessageList

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Return what is searched: what is said of deliveries for those who may see it."""
        if may_view(request, Delivery):
            return self.search_fields
        return tuple(name for name in self.search_fields if name not in _OF_DELIVERIES)

    def page_context(self, request: HttpRequest, obj: Message) -> dict[str, Any]:
        """Add the deliveries and their attempts to the page, for those who may see them."""
        counts = status_counts([obj.pk]).get(obj.pk, {})
        context: dict[str, Any] = {"outcomes": words.counts(counts)}
        if may_view(request, Delivery):
            context.update(self._deliveries(obj, sum(counts.values())))
        return context

    def _deliveries(self, message: Message, total: int) -> dict[str, Any]:
        shown = stories(message.pk, total, timezone.now())
        every = self.site_url(Delivery, "changelist")
        return {
            "stories": shown,
            "total": total,
            "left_out": total - len(shown),
            "transcripts_elsewhere": total > MOST_WITH_TRANSCRIPTS,
            "all_deliveries_url": f"{every}?message__id__exact={message.pk}",
        }
