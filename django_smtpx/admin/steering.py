"""What a person can do with deliveries from their list and from the page of each.

Always in two steps, both by POST: what will be touched and what will not is
counted first, and confirmed; exactly the deliveries that were counted are
written, and each as far as it is still as it was.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.http import HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.formats import number_format
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_smtpx import delivery, ledger, tasks
from django_smtpx.admin.base import ReadOnlyAdmin
from django_smtpx.config import mailers
from django_smtpx.ledger import Selection, Steered, Step
from django_smtpx.models import Delivery, Route

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.functional import _StrPromise

MOST = 50_000
"""Deliveries that can be chosen at once in a list; the commands have no such bound."""

_LOG_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing to do: which step, of deliveries in which status (None: any), by whose leave."""

    name: str
    step: Step
    status: str | None
    permission: str
    label: _StrPromise
    note: _StrPromise


DEEDS = {
    deed.name: deed
    for deed in (
        Deed(
            "retry",
            Step.RETRY,
            None,
            "retry_delivery",
            _("Send again now"),
            _("They are due at once, and their age and their schedule start anew."),
        ),
        Deed(
            "cancel",
            Step.CANCEL,
            None,
            "cancel_delivery",
            _("Cancel"),
            _("They are not sent. What was cancelled can be sent again later."),
        ),
        Deed(
            "arrived",
            Step.ARRIVED,
            None,
            "settle_delivery",
            _("It arrived"),
            _("They are settled as sent by your word, and are not sent again."),
        ),
        Deed(
            "again",
            Step.RETRY,
            Delivery.Status.UNKNOWN,
            "settle_delivery",
            _("It did not arrive: send again"),
            _(
                "They are sent again, with the same Message-ID. Where the server did take one, it "
                "arrives twice."
            ),
        ),
    )
}


class SteerableAdmin(ReadOnlyAdmin[Delivery]):
    """Actions of the list and buttons of the page, each with a permission of its own."""

    actions = ("retry_selected", "cancel_selected", "settle_arrived", "settle_again")

    @admin.action(permissions=["retry"], description=DEEDS["retry"].label)
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> HttpResponse:
        """Ask whether to send the chosen ones again."""
        return self._ask(request, DEEDS["retry"], queryset)

    @admin.action(permissions=["cancel"], description=DEEDS["cancel"].label)
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> HttpResponse:
        """Ask whether to cancel the chosen ones."""
        return self._ask(request, DEEDS["cancel"], queryset)

    @admin.action(permissions=["settle"], description=DEEDS["arrived"].label)
    def settle_arrived(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> HttpResponse:
        """Ask whether the chosen ones, whose outcome is unknown, arrived."""
        return self._ask(request, DEEDS["arrived"], queryset)

    @admin.action(permissions=["settle"], description=DEEDS["again"].label)
    def settle_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> HttpResponse:
        """Ask whether to send the chosen ones again, whose outcome is unknown."""
        return self._ask(request, DEEDS["again"], queryset)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether the user may send again what failed or waits."""
        return _may(request, DEEDS["retry"])

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the user may withdraw what waits."""
        return _may(request, DEEDS["cancel"])

    def has_settle_permission(self, request: HttpRequest) -> bool:
        """Whether the user may decide about what is in doubt."""
        return _may(request, DEEDS["arrived"])

    def get_urls(self) -> list[URLPattern]:
        """Add the address that the confirmations go to."""
        view = self.admin_site.admin_view(self.steer_view)
        return [path("steer/", view, name="django_smtpx_delivery_steer"), *super().get_urls()]

    def steer_view(self, request: HttpRequest) -> HttpResponse:
        """Ask about the deliveries named in ``keys``, or, once confirmed, do it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        deed = DEEDS.get(request.POST.get("deed", ""))
        if deed is None:
            raise BadRequest("No such deed.")
        if not (self.has_view_permission(request) and _may(request, deed)):
            raise PermissionDenied
        keys = _keys(request.POST.get("keys", ""))
        on_page = "page" in request.POST
        query = request.POST.get("query", "")
        if "confirmed" not in request.POST:
            return self._confirmation(request, deed, keys, query=query, on_page=on_page)
        self._do(request, deed, keys)
        page, args = ("change", keys[:1]) if on_page else ("changelist", ())
        url = self.site_url(Delivery, page, *args)
        return HttpResponseRedirect(f"{url}?{query}" if query else url)

    def deeds_for(self, request: HttpRequest, delivery: Delivery) -> list[Deed]:
        """Return what the user can do with one delivery, by its state and by permission."""
        allowed = [deed for deed in DEEDS.values() if _may(request, deed)]
        if not allowed:
            return []
        steps = ledger.steps_for(delivery.pk, ledger.now())
        in_doubt = delivery.status == Delivery.Status.UNKNOWN
        return [
            deed
            for deed in allowed
            if deed.step in steps and (deed.step != Step.RETRY or bool(deed.status) == in_doubt)
        ]

    def _ask(self, request: HttpRequest, deed: Deed, queryset: QuerySet[Delivery]) -> HttpResponse:
        keys = tuple(queryset.order_by().values_list("pk", flat=True)[: MOST + 1])
        query = request.GET.urlencode()
        if len(keys) <= MOST:
            return self._confirmation(request, deed, keys, query=query, on_page=False)
        text = now_in_words(
            "More than %(count)s deliveries are too many for a page: use the commands smtpx_retry "
            "and smtpx_cancel."
        )
        self.message_user(request, text % {"count": number_format(MOST)}, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def _confirmation(
        self,
        request: HttpRequest,
        deed: Deed,
        keys: Sequence[int],
        *,
        query: str,
        on_page: bool,
    ) -> HttpResponse:
        seen = ledger.preview(deed.step, _selection(deed, keys), ledger.now())
        page, args = ("change", keys[:1]) if on_page else ("changelist", ())
        context = {
            **self.admin_site.each_context(request),
            "title": deed.label,
            "opts": self.opts,
            "media": self.media,
            "deed": deed,
            "keys": ",".join(map(str, keys)),
            "query": query,
            "on_page": on_page,
            "touched": _by_status(seen),
            "count": seen.count,
            "scheduled": seen.scheduled,
            "left": _left(seen, len(keys)),
            "back_url": self.site_url(Delivery, page, *args),
            "steer_url": self.site_url(Delivery, "steer"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_smtpx/steer.html", context)

    def _do(self, request: HttpRequest, deed: Deed, keys: Sequence[int]) -> None:
        do = {
            Step.RETRY: delivery.send_again,
            Step.ARRIVED: ledger.arrived,
            Step.CANCEL: ledger.cancel,
        }
        by = f"user {request.user.pk} in the admin"
        done = do[deed.step](_selection(deed, keys), ledger.now(), by=by)
        _log(request, deed, done.deliveries)
        if deed.step == Step.RETRY:
            wake(done.mailers)
        level = messages.SUCCESS if done.count else messages.WARNING
        self.message_user(request, _said(deed, done), level)
        for count, reason in _left(done, len(keys)):
            values = {"count": number_format(count), "reason": reason}
            text = now_in_words("Left as they are: %(count)s (%(reason)s).") % values
            self.message_user(request, text, messages.WARNING)
        for text in obstacles(done.mailers) if deed.step == Step.RETRY else ():
            self.message_user(request, text, messages.WARNING)


def _may(request: HttpRequest, deed: Deed) -> bool:
    return request.user.has_perm(f"{Delivery._meta.app_label}.{deed.permission}")


def _keys(text: str) -> tuple[int, ...]:
    try:
        keys = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadRequest("No such deliveries.") from None
    if len(keys) > MOST or max(keys) >= 2**63 or min(keys) < 0:
        raise BadRequest("No such deliveries.")
    return keys


def _selection(deed: Deed, keys: Sequence[int]) -> Selection:
    return Selection(ids=tuple(keys), status=deed.status)


def _by_status(seen: Steered) -> list[tuple[_StrPromise | str, int]]:
    counts: Counter[str] = Counter()
    for group, count in seen.groups.items():
        counts[group.status] += count
    return [(one.label, counts[one.value]) for one in Delivery.Status if counts[one.value]]


def _left(seen: Steered, chosen: int) -> list[tuple[int, _StrPromise | str]]:
    """Return how many are left as they are, and why; those that were not looked at are others."""
    left: list[tuple[int, _StrPromise | str]] = [
        (count, reason.label) for reason, count in seen.refused.items()
    ]
    if chosen > seen.selected:
        left.append((chosen - seen.selected, _("in another status, or there no more")))
    return left


def _said(deed: Deed, done: Steered) -> str:
    values = {"count": number_format(done.count)}
    if deed.step == Step.CANCEL:
        text = ngettext(
            "%(count)s delivery cancelled.", "%(count)s deliveries cancelled.", done.count
        )
    elif deed.step == Step.ARRIVED:
        text = ngettext(
            "%(count)s delivery settled as sent.",
            "%(count)s deliveries settled as sent.",
            done.count,
        )
    else:
        text = ngettext(
            "%(count)s delivery will be sent again.",
            "%(count)s deliveries will be sent again.",
            done.count,
        )
    return text % values


def _log(request: HttpRequest, deed: Deed, keys: Sequence[int]) -> None:
    """Note in the admin's own history who did what."""
    assert request.user.pk is not None  # admin_view has seen to that
    for first in range(0, len(keys), _LOG_BATCH):
        rows = Delivery.objects.filter(pk__in=keys[first : first + _LOG_BATCH])
        LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, str(deed.label))


def wake(names: Iterable[str]) -> None:
    """Hint the drains, once the request's transaction (if any) is committed."""
    for name in names:
        if name in mailers():
            hint = partial(tasks.wake, name)
            transaction.on_commit(hint, using=ledger.database(), robust=True)


def obstacles(names: Collection[str]) -> list[str]:
    """Say which of these mailers will not send for now."""
    missing = [name for name in names if name not in mailers()]
    resting = Route.objects.using(ledger.database()).filter(
        mailer__in=names, host="", domain="", sender=""
    )
    paused = resting.exclude(state=Route.State.OPEN).order_by("mailer")
    texts = [
        now_in_words("Mailer %(mailer)s is not configured: its mail waits.") % {"mailer": name}
        for name in missing
    ]
    return texts + [
        now_in_words("Mailer %(mailer)s rests, and its mail with it: %(reason)s")
        % {"mailer": route.mailer, "reason": route.pause_reason or "–"}
        for route in paused
    ]
