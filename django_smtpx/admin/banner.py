"""The line above every page that says which mailers are held: nobody is to overlook it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import NoReverseMatch, reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_smtpx import ledger
from django_smtpx.admin import words
from django_smtpx.admin.base import may_resume, may_view
from django_smtpx.config import mailer_errors, mailers
from django_smtpx.language import recorded_reason
from django_smtpx.ledger import lanes
from django_smtpx.models import Category, Delivery, Route

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest
    from django.utils.safestring import SafeString

COUNTED = 10_000
"""Deliveries that are counted for the line: it is on every page."""

_REASON_LENGTH = 200
_MOST = 10


def held_mailers(request: HttpRequest, now: datetime) -> list[SafeString]:
    """Return a line for each configured mailer that is held; by one statement where none is."""
    if not may_view(request, Route):
        return []
    held = Route.objects.using(ledger.database()).filter(
        state=Route.State.HELD,
        host="",
        domain="",
        sender="",
        mailer__in={*mailers(), *mailer_errors()},
    )
    return [_line(request, route, now) for route in held.order_by("mailer")[:_MOST]]


def _line(request: HttpRequest, route: Route, now: datetime) -> SafeString:
    held = {"cause": _cause(route), "waiting": _waiting(route.mailer)}
    parts = [_("%(cause)s: %(waiting)s.") % held]
    if route.paused_until is not None:
        parts.append(_("Next probe: %(time)s.") % {"time": words.next_probe(route, now)})
    if route.category in (Category.AUTH_FAILED, Category.AUTH_REQUIRED):
        parts.append(_("Mend its credentials, or resume it."))
    return format_html("{} {}", " ".join(parts), _link(request, route))


def _cause(route: Route) -> str:
    reason = Truncator(recorded_reason(route.pause_reason)).chars(_REASON_LENGTH) or _(
        "no reason given"
    )
    values = {"mailer": repr(route.mailer), "reason": reason}
    if route.category in (Category.AUTH_FAILED, Category.AUTH_REQUIRED):
        return _("Mailer %(mailer)s is held, since it cannot log in (%(reason)s)") % values
    if route.category == Category.QUOTA_EXHAUSTED:
        return _("Mailer %(mailer)s is held, since its quota is used up (%(reason)s)") % values
    return _("Mailer %(mailer)s is held by a person (%(reason)s)") % values


def _waiting(mailer: str) -> str:
    rows = Delivery.objects.using(ledger.database()).filter(mailer=mailer)
    count = rows.filter(lanes.waiting())[: COUNTED + 1].count()
    if count > COUNTED:
        return _("more than %(count)s deliveries wait") % {"count": number_format(COUNTED)}
    text = ngettext("%(count)s delivery waits", "%(count)s deliveries wait", count)
    return text % {"count": number_format(count)}


def _link(request: HttpRequest, route: Route) -> SafeString:
    """Return a link to the route's page, where this site has one."""
    site = getattr(request, "current_app", None)
    try:
        url = reverse("admin:django_smtpx_route_change", args=[route.pk], current_app=site)
    except NoReverseMatch:
        return mark_safe("")
    text = _("Resume it") if may_resume(request) else _("See its route")
    return format_html('<a href="{}">{}</a>', url, text)
