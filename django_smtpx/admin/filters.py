"""The filters beside the lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Exists, Min, OuterRef
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin import words
from django_smtpx.config import mailer_errors, mailers
from django_smtpx.models import Category, Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.models import Model, QuerySet
    from django.http import HttpRequest
    from django.utils.functional import _StrOrPromise

    Choices = Iterable[tuple[str, _StrOrPromise]]


class MailerFilter(admin.SimpleListFilter):
    """By mailer: those that are configured, and those that have mail all the same."""

    title = _("mailer")
    parameter_name = "mailer"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """Return the mailers, by name."""
        names = {*mailers(), *mailer_errors(), *used_mailers()}
        return [(name, words.mailer(name)) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen mailer; "" is one, too."""
        name = self.value()
        return queryset if name is None else queryset.filter(mailer=name)


class CategoryFieldFilter(admin.ChoicesFieldListFilter):
    """By a delivery's own category, said so that there is an index for it.

    The one of categories leaves out what was sent, which is found by its status, and what was not
    tried yet.
    """

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the deliveries of the chosen category."""
        chosen = super().queryset(request, queryset)
        value = request.GET.get(str(self.lookup_kwarg))
        if chosen is None or not value:
            return queryset if chosen is None else chosen
        if value == Category.OK:
            return chosen.filter(status=Delivery.Status.SENT)
        return chosen.exclude(category="").exclude(category=Category.OK)


class PaceFilter(admin.SimpleListFilter):
    """By whether a route is slowed down."""

    title = _("pace")
    parameter_name = "pace"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """Return what a route's pace can be."""
        return (("slow", _("slowed down")), ("full", _("not slowed down")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the routes that go like that."""
        known = {"slow": False, "full": True}
        chosen = known.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(slow_limit__isnull=chosen)


class SuppressedForFilter(admin.SimpleListFilter):
    """By what put an address on the suppression list: a verdict, or a person."""

    title = _("category")
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """Return what feeds the list."""
        fed = (Category.MAILBOX_UNKNOWN, Category.MAILBOX_DISABLED, Category.DOMAIN_UNKNOWN)
        return [*((category.value, category.label) for category in fed), ("", _("by a person"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the entries of the chosen category; "" is one, too."""
        category = self.value()
        return queryset if category is None else queryset.filter(category=category)


class ExpiryFilter(admin.SimpleListFilter):
    """By whether an entry of the suppression list counts still, and for how long."""

    title = _("expiry")
    parameter_name = "expiry"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """Return the three that there are."""
        return (("never", _("never")), ("later", _("still to come")), ("over", _("expired")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the entries that end like that."""
        now = timezone.now()
        chosen: dict[str | None, dict[str, Any]] = {
            "never": {"expires_at": None},
            "later": {"expires_at__gt": now},
            "over": {"expires_at__lte": now},
        }
        return queryset.filter(**chosen.get(self.value(), {}))


class _DeliveryFilter(admin.SimpleListFilter):
    """Messages with a delivery like that; two such filters mean one and the same delivery."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the messages that have such a delivery."""
        if self.value() is None:
            return queryset
        names = (name for name in ("status", "category") if name in request.GET)
        # Its own value comes from value(): while facets are counted it is not the request's.
        chosen = {name: request.GET[name] for name in names}
        chosen[str(self.parameter_name)] = str(self.value())
        such = Delivery.objects.using(queryset.db).filter(message=OuterRef("pk"), **chosen)
        return queryset.filter(Exists(such))


class StatusFilter(_DeliveryFilter):
    """By the status of a delivery."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """Return all statuses."""
        return Delivery.Status.choices


class CategoryFilter(_DeliveryFilter):
    """By the category of a delivery."""

    title = _("category")
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """Return all categories."""
        return Category.choices


def used_mailers() -> Iterator[str]:
    """Yield each mailer that has messages, by one step along an index a mailer.

    A DISTINCT would read every row.
    """
    rows: QuerySet[Model] = Message.objects.all()
    name = rows.aggregate(first=Min("mailer"))["first"]
    while name is not None:
        yield name
        name = rows.filter(mailer__gt=name).aggregate(next=Min("mailer"))["next"]
