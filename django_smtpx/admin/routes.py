"""The lists of what rests or goes slowly: why, and until when; and of refused credentials.

Whoever may can resume what rests, in two steps, both by POST.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseNotAllowed, HttpResponseRedirect
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_smtpx import ledger, pacing
from django_smtpx.admin import words
from django_smtpx.admin.asking import SEEN, AskingAdmin, by
from django_smtpx.admin.base import ReadOnlyAdmin, may, may_resume
from django_smtpx.admin.checking import check_view
from django_smtpx.admin.filters import MailerFilter, PaceFilter
from django_smtpx.admin.pausing import pause_view, standing
from django_smtpx.admin.steering import obstacles, wake
from django_smtpx.admin.testing_mail import test_view
from django_smtpx.language import recorded_reason
from django_smtpx.models import RefusedCredential, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.functional import _StrPromise

    from django_smtpx.admin.asking import Chosen


@dataclass(frozen=True, slots=True)
class Tool:
    """Something to do with a mailer, by a form: its address's name, by whose leave, and how.

    ``about`` returns what the form is filled in with for a route, None where it is not for that.
    """

    name: str
    label: _StrPromise
    permission: str
    view: Callable[[AskingAdmin[Route], HttpRequest], HttpResponse]
    about: Callable[[Route], dict[str, str] | None]


def _destination(route: Route) -> dict[str, str] | None:
    if route.host or route.sender:
        return None
    return {"mailer": route.mailer, "domain": route.domain}


def _mailer(route: Route) -> dict[str, str]:
    return {"mailer": route.mailer}


TOOLS = (
    Tool("pause", _("Pause"), "pause_route", pause_view, _destination),
    Tool("check", _("Run the diagnosis"), "check_mailer", check_view, _mailer),
    Tool("test", _("Send a test mail"), "test_mailer", test_view, _mailer),
)


@admin.register(Route)
class RouteAdmin(AskingAdmin[Route]):
    """Routes: open, paused or held."""

    actions = ("resume_selected",)
    too_many = _("More than %(count)s routes are too many to resume at once.")
    change_list_template = "admin/django_smtpx/route_list.html"
    change_form_template = "admin/django_smtpx/route_page.html"
    list_display = (
        "mailer_name",
        "host",
        "domain",
        "sender",
        "state_badge",
        "category_badge",
        "reason",
        "next_probe",
        "pace",
        "consecutive_failures",
    )
    list_filter = ("state", "category", PaceFilter, MailerFilter)
    ordering = ("mailer", "host", "domain", "sender")
    search_fields = ("mailer", "host", "domain", "sender", "pause_reason")
    search_help_text = _("Mailer, host, domain, sender, or words of the reason.")
    unseen = ("working_mac",)
    # Never the fingerprint of a credential.
    fields = (
        "mailer_name",
        "host",
        "domain",
        "sender",
        "state_badge",
        "category_badge",
        "reason",
        "next_probe",
        "paused_until",
        "consecutive_failures",
        ("pace", "slow_since"),
        "connections",
    )
    readonly_fields = tuple(flatten(fields))

    @admin.display(description=_("reason"), ordering="pause_reason")
    def reason(self, route: Route) -> str:
        """Return what closed it."""
        return recorded_reason(route.pause_reason)

    @admin.display(description=_("mailer"), ordering="mailer")
    def mailer_name(self, route: Route) -> str:
        """Return the mailer, and whether it can still be used."""
        return words.mailer(route.mailer)

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, route: Route) -> str:
        """Return the state as a coloured word."""
        return words.state_badge(route.state)

    @admin.display(description=_("category"), ordering="category")
    def category_badge(self, route: Route) -> str:
        """Return the category as a coloured word."""
        return words.category_badge(route.category)

    @admin.display(description=_("next probe"), ordering="paused_until")
    def next_probe(self, route: Route) -> str:
        """Say when it is tried again."""
        return words.next_probe(route, timezone.now())

    @admin.display(description=_("slowed down to"), ordering="slow_limit")
    def pace(self, route: Route) -> str:
        """Say how slowly it goes; nothing where it goes as fast as it can."""
        slowdown = pacing.slowdown_of(route)
        now = timezone.now().timestamp()
        return words.pace(slowdown.limit_at(now) if slowdown is not None else None)

    @admin.display(description=_("connections it is worth"))
    def connections(self, route: Route) -> str:
        """Return how many connections a destination has shown itself worth."""
        return "" if route.concurrency is None else number_format(round(route.concurrency, 1))

    @admin.action(permissions=["resume"], description=_("Resume"))
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Route]) -> HttpResponse:
        """Ask whether to open the chosen ones."""
        chosen = self.chosen(request, queryset)
        if chosen is None:
            return HttpResponseRedirect(request.get_full_path())
        return self._confirmation(request, chosen)

    def has_resume_permission(self, request: HttpRequest) -> bool:
        """Whether the user may open what rests."""
        return may_resume(request)

    def get_urls(self) -> list[URLPattern]:
        """Add the addresses of what can be done."""
        tools = [self.own_path(tool.name, partial(self.tool_view, tool)) for tool in TOOLS]
        return [self.own_path("resume", self.resume_view), *tools, *super().get_urls()]

    def resume_view(self, request: HttpRequest) -> HttpResponse:
        """Ask about the routes named in ``keys``, or, once confirmed, open those that are closed as
        they were seen.
        """
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and may_resume(request)):
            raise PermissionDenied
        chosen = self.posted(request)
        if "confirmed" not in request.POST:
            return self._confirmation(request, chosen)
        self._resume(request, chosen)
        return HttpResponseRedirect(self.back_url(chosen))

    def tool_view(self, tool: Tool, request: HttpRequest) -> HttpResponse:
        """Show a tool's form, and do what it is for."""
        if not (self.has_view_permission(request) and may(request, tool.permission)):
            raise PermissionDenied
        return tool.view(self, request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and the ways to the tools."""
        context = {"tools": self._links(request, None), **(extra_context or {})}
        return super().changelist_view(request, context)

    def page_context(self, request: HttpRequest, obj: Route) -> dict[str, Any]:
        """Add what the user can do about it."""
        resumable = obj.state != Route.State.OPEN and may_resume(request)
        return {
            "resume_url": self.site_url(Route, "resume") if resumable else "",
            "tools": self._links(request, obj),
        }

    def _links(self, request: HttpRequest, route: Route | None) -> list[tuple[str, str]]:
        """Return labels and addresses of the tools, for one route or for any."""
        links = []
        for tool in TOOLS:
            asked = {} if route is None else tool.about(route)
            if asked is not None and may(request, tool.permission):
                url = self.site_url(Route, tool.name)
                links.append((str(tool.label), f"{url}?{urlencode(asked)}" if asked else url))
        return links

    def _confirmation(self, request: HttpRequest, chosen: Chosen) -> HttpResponse:
        closed = _closed(chosen)
        context = {
            "title": _("Resume"),
            "label": _("Resume") if closed else "",
            "routes": closed,
            "left": len(chosen.keys) - len(closed),
            "hidden": [*chosen.fields(), (SEEN, ",".join(map(standing, closed)))],
            "back_url": self.back_url(chosen),
            "post_url": self.site_url(Route, "resume"),
        }
        return self.own_page(request, "resume.html", context)

    def _resume(self, request: HttpRequest, chosen: Chosen) -> None:
        at = ledger.now()
        seen = request.POST[SEEN].split(",") if SEEN in request.POST else None
        opened = [
            route
            for route in _closed(chosen)
            if (seen is None or standing(route) in seen)
            and pacing.resume(
                route.mailer,
                at,
                domain=route.domain,
                host=route.host,
                sender=route.sender,
                by=by(request),
            )
        ]
        self.note_in_history(request, opened, now_in_words("Resume"))
        names = sorted({route.mailer for route in opened})
        wake(names)
        level = messages.SUCCESS if opened else messages.WARNING
        self.message_user(request, _said(len(opened)), level)
        left = len(chosen.keys) - len(opened)
        if left:
            text = now_in_words(
                "Left as they are: %(count)s (open already, closed for something else meanwhile, "
                "or there no more)."
            )
            self.message_user(request, text % {"count": number_format(left)}, messages.WARNING)
        for text in obstacles(names):
            self.message_user(request, text, messages.WARNING)


def _closed(chosen: Chosen) -> list[Route]:
    routes = Route.objects.using(ledger.database()).filter(pk__in=chosen.keys)
    closed = routes.exclude(state=Route.State.OPEN)
    return list(closed.order_by("mailer", "host", "domain", "sender"))


def _said(count: int) -> str:
    text = ngettext("%(count)s route is open again.", "%(count)s routes are open again.", count)
    return text % {"count": number_format(count)}


@admin.register(RefusedCredential)
class RefusedCredentialAdmin(ReadOnlyAdmin[RefusedCredential]):
    """Credentials that servers refused: how often, and when each is tried again.

    Two rows of one mailer are two credentials: what the workers before and
    after a deployment log in with.
    """

    list_display = ("mailer_name", "refusals", "refused_at", "next_probe")
    list_filter = (MailerFilter,)
    ordering = ("mailer", "-refused_at")
    search_fields = ("mailer",)
    search_help_text = _("Mailer.")
    unseen = ("mac",)
    # Never the fingerprint.
    fields = ("mailer_name", "refusals", "refused_at", "next_probe", "next_probe_at")
    readonly_fields = fields

    @admin.display(description=_("mailer"), ordering="mailer")
    def mailer_name(self, credential: RefusedCredential) -> str:
        """Return the mailer, and whether it can still be used."""
        return words.mailer(credential.mailer)

    @admin.display(description=_("next probe"), ordering="next_probe_at")
    def next_probe(self, credential: RefusedCredential) -> str:
        """Say when it is tried again."""
        return words.probe(credential.next_probe_at, timezone.now())
