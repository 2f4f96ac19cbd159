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
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.http import HttpResponseNotAllowed, HttpResponseRedirect
from django.utils.formats import number_format
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_smtpx import delivery, ledger, tasks
from django_smtpx.admin.asking import AskingAdmin, by
from django_smtpx.admin.base import may
from django_smtpx.config import mailers
from django_smtpx.language import recorded_reason
from django_smtpx.ledger import Selection, Steered, Step
from django_smtpx.models import Delivery, Route

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.functional import _StrPromise

    from django_smtpx.admin.asking import Chosen


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
            "settle_unknown",
            _("It arrived"),
            _("They are settled as sent by your word, and are not sent again."),
        ),
        Deed(
            "again",
            Step.RETRY,
            Delivery.Status.UNKNOWN,
            "settle_unknown",
            _("It did not arrive: send again"),
            _(
                "They are sent again, with the same Message-ID. Where the server did take one, it "
                "arrives twice."
            ),
        ),
    )
}


class SteerableAdmin(AskingAdmin[Delivery]):
    """Actions of the list and buttons of the page, each with a permission of its own."""

    actions = ("retry_selected", "cancel_selected", "settle_arrived", "settle_again")
    most = 50_000
    too_many = _(
        "More than %(count)s deliveries are too many for a page: use the commands smtpx_retry "
        "and smtpx_cancel."
    )

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
        return may(request, DEEDS["retry"].permission)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the user may withdraw what waits."""
        return may(request, DEEDS["cancel"].permission)

    def has_settle_permission(self, request: HttpRequest) -> bool:
        """Whether the user may decide about what is in doubt."""
        return may(request, DEEDS["arrived"].permission)

    def get_urls(self) -> list[URLPattern]:
        """Add the address that the confirmations go to."""
        return [self.own_path("steer", self.steer_view), *super().get_urls()]

    def steer_view(self, request: HttpRequest) -> HttpResponse:
        """Ask about the deliveries named in ``keys``, or, once confirmed, do it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        deed = DEEDS.get(request.POST.get("deed", ""))
        if deed is None:
            raise BadRequest("No such deed.")
        if not (self.has_view_permission(request) and may(request, deed.permission)):
            raise PermissionDenied
        chosen = self.posted(request)
        if "confirmed" not in request.POST:
            return self._confirmation(request, deed, chosen)
        self._do(request, deed, chosen)
        return HttpResponseRedirect(self.back_url(chosen))

    def deeds_for(self, request: HttpRequest, delivery: Delivery) -> list[Deed]:
        """Return what the user can do with one delivery, by its state and by permission."""
        allowed = [deed for deed in DEEDS.values() if may(request, deed.permission)]
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
        chosen = self.chosen(request, queryset)
        if chosen is None:
            return HttpResponseRedirect(request.get_full_path())
        return self._confirmation(request, deed, chosen)

    def _confirmation(self, request: HttpRequest, deed: Deed, chosen: Chosen) -> HttpResponse:
        seen = ledger.preview(deed.step, _selection(deed, chosen), ledger.now())
        context = {
            "title": deed.label,
            "note": deed.note,
            "label": deed.label if seen.count else "",
            "hidden": [("deed", deed.name), *chosen.fields(), ("seen", _statuses(seen))],
            "touched": _by_status(seen),
            "count": seen.count,
            "scheduled": seen.scheduled,
            "left": _left(seen, len(chosen.keys)),
            "back_url": self.back_url(chosen),
            "post_url": self.site_url(Delivery, "steer"),
        }
        return self.own_page(request, "steer.html", context)

    def _do(self, request: HttpRequest, deed: Deed, chosen: Chosen) -> None:
        do = {
            Step.RETRY: delivery.send_again,
            Step.ARRIVED: ledger.arrived,
            Step.CANCEL: ledger.cancel,
        }
        meant = _selection(deed, chosen, request.POST.get("seen", ""))
        done = do[deed.step](meant, ledger.now(), by=by(request))
        self.note_keys(request, done.deliveries, str(deed.label))
        if deed.step == Step.RETRY:
            wake(done.mailers)
        level = messages.SUCCESS if done.count else messages.WARNING
        self.message_user(request, _said(deed, done), level)
        for count, reason in _left(done, len(chosen.keys)):
            values = {"count": number_format(count), "reason": reason}
            text = now_in_words("Left as they are: %(count)s (%(reason)s).") % values
            self.message_user(request, text, messages.WARNING)
        for text in obstacles(done.mailers) if deed.step == Step.RETRY else ():
            self.message_user(request, text, messages.WARNING)


def _selection(deed: Deed, chosen: Chosen, seen: str = "") -> Selection:
    """Return what is chosen. ``seen`` names the statuses of what the user has confirmed, if any:
    what somebody else has cancelled meanwhile stays so.
    """
    statuses = tuple(seen.split(",")) if seen else None
    return Selection(ids=chosen.keys, status=deed.status, seen=statuses)


def _statuses(seen: Steered) -> str:
    """Return the statuses of what will be touched; what waits may be tried meanwhile."""
    found = {group.status for group in seen.groups}
    waiting = {Delivery.Status.QUEUED.value, Delivery.Status.DEFERRED.value}
    return ",".join(sorted(found | waiting if found & waiting else found))


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
        % {"mailer": route.mailer, "reason": recorded_reason(route.pause_reason) or "–"}
        for route in paused
    ]
