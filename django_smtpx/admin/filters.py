"""The filters beside the lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR
from django.db.models import Min
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_smtpx import ledger
from django_smtpx.addresses import a_labels
from django_smtpx.admin import counting, words
from django_smtpx.admin.lists import before, first_delivery_from, newest
from django_smtpx.config import mailer_errors, mailers
from django_smtpx.models import Category, Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.contrib.admin.filters import _ListFilterChoices
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest
    from django.utils.functional import _StrOrPromise

    Choices = Iterable[tuple[str, _StrOrPromise]]


Wait = ledger.Wait


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
        return _like(chosen, {"category": value})


class AskingFilter(admin.SimpleListFilter):
    """A filter with a form of its own, for a value that no list could offer."""

    kept: Iterable[tuple[str, str]] = ()
    """The other parameters of the page, which the form is to keep."""

    def has_output(self) -> bool:
        """There is the form, always."""
        return True

    def choices(self, changelist: ChangeList) -> Iterator[_ListFilterChoices]:
        """Yield what can be chosen without the form."""
        given = changelist.params.items()
        own = (self.parameter_name, PAGE_VAR)
        self.kept = [(name, value) for name, value in given if name not in own]
        yield from super().choices(changelist)


class DomainFilter(AskingFilter):
    """By the recipient's domain: among the newest of what the other filters leave, so it is last.

    There is no index for it: each message would pay for one, at every step of its way.
    """

    title = _("domain")
    parameter_name = "domain"
    template = "admin/django_smtpx/domain_filter.html"
    floor: int | None = None
    """How far back was looked, as :func:`~django_smtpx.admin.lists.newest` says it."""

    @property
    def domain(self) -> str:
        """What was asked for, as it is stored; "" if nothing was."""
        name = (self.value() or "").strip().rpartition("@")[2].rstrip(".").lower()
        try:
            return a_labels(name)
        except ValueError:
            return name

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """Return the domain that was asked for, if any."""
        return [(str(self.value()), self.domain)] if self.value() else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return what goes to that domain."""
        if not self.domain:
            return queryset
        rows, self.floor = newest(queryset, request)
        return rows.filter(domain=self.domain)


class WaitFilter(admin.SimpleListFilter):
    """By what a delivery waits for."""

    title = _("what it waits for")
    parameter_name = "wait"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        """Return what there is to wait for."""
        return [choice for choice in Wait.choices if choice[0] not in (Wait.ENDED, Wait.RATE)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the deliveries that wait for the chosen thing."""
        chosen = self.value()
        # Of a rate the rows know nothing.
        if chosen not in Wait.values or chosen == Wait.RATE:
            return queryset
        return queryset.filter(ledger.waiting_for(Wait(chosen), timezone.now()))


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


class FailureFilter(admin.AllValuesFieldListFilter):
    """By what went wrong at the latest try, each by the name that it has in reports."""

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Give what there is to choose; that nothing went wrong is a choice with a name, too."""
        for choice in super().choices(changelist):
            yield {**choice, "display": choice["display"] or _("none")}


class _DeliveryFilter(admin.SimpleListFilter):
    """Messages with a delivery like that; two such filters mean one and the same delivery.

    The newest such deliveries are read, by the index that there is for them, and then their
    messages: to look at message after message for one would take a rare status through them all.
    """

    floor: int | None = None
    """How far back was looked, as :func:`~django_smtpx.admin.lists.newest` says it."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the messages that have such a delivery."""
        names = [name for name in ("status", "category") if name in request.GET]
        if self.parameter_name not in names[:1]:
            # Nothing was chosen here, or the other filter has seen to both.
            return queryset
        such = _like(Delivery.objects.using(queryset.db), {n: request.GET[n] for n in names})
        newer = before(request)
        if newer is not None and (first := first_delivery_from(newer)) is not None:
            such = such.filter(pk__lt=first)
        found = such.order_by("-pk").values_list("message_id", flat=True)
        keys = list(found[: counting.COUNTED + 1])
        if len(keys) > counting.COUNTED:
            self.floor = keys[-2]
            keys.pop()
        return queryset.filter(pk__in=set(keys))


def _like(deliveries: QuerySet[Delivery], chosen: dict[str, str]) -> QuerySet[Delivery]:
    """Return the deliveries of a status and category, said so that there is an index for it."""
    rows = deliveries.filter(**chosen)
    category = chosen.get("category")
    if category == Category.OK:
        return rows.filter(status=Delivery.Status.SENT)
    return rows.exclude(category="").exclude(category=Category.OK) if category else rows


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
