"""The lists of what rests or goes slowly: why, and until when; and of refused credentials.

Whoever may can resume what rests, in two steps, both by POST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import flatten
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_smtpx import ledger, pacing
from django_smtpx.admin import words
from django_smtpx.admin.base import ReadOnlyAdmin, may_resume
from django_smtpx.admin.filters import MailerFilter, PaceFilter
from django_smtpx.admin.steering import obstacles, wake
from django_smtpx.models import RefusedCredential, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

MOST = 1000
"""Routes that can be resumed at once."""


@admin.register(Route)
class RouteAdmin(ReadOnlyAdmin[Route]):
    """Routes: open, paused or held."""

    actions = ("resume_selected",)
    change_form_template = "admin/django_smtpx/route_page.html"
    list_display = (
        "mailer_name",
        "host",
        "domain",
        "sender",
        "state",
        "category",
        "pause_reason",
        "next_probe",
        "pace",
        "consecutive_failures",
    )
    list_filter = ("state", "category", PaceFilter, MailerFilter)
    ordering = ("mailer", "host", "domain", "sender")
    search_fields = ("mailer", "host", "domain", "sender", "pause_reason")
    search_help_text = _("Mailer, host, domain, sender, or words of the reason.")
    # Never the fingerprint of a credential.
    fields = (
        "mailer_name",
        "host",
        "domain",
        "sender",
        "state",
        "category",
        "pause_reason",
        "next_probe",
        "paused_until",
        "consecutive_failures",
        ("pace", "slow_since"),
        "connections",
    )
    readonly_fields = tuple(flatten(fields))

    @admin.display(description=_("mailer"), ordering="mailer")
    def mailer_name(self, route: Route) -> str:
        """Return the mailer, and whether it can still be used."""
        return words.mailer(route.mailer)

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
        keys = tuple(queryset.order_by().values_list("pk", flat=True)[: MOST + 1])
        query = request.GET.urlencode()
        if len(keys) <= MOST:
            return self._confirmation(request, keys, query=query, on_page=False)
        text = now_in_words("More than %(count)s routes are too many to resume at once.")
        self.message_user(request, text % {"count": number_format(MOST)}, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def has_resume_permission(self, request: HttpRequest) -> bool:
        """Whether the user may open what rests."""
        return may_resume(request)

    def get_urls(self) -> list[URLPattern]:
        """Add the address that the confirmation goes to."""
        view = self.admin_site.admin_view(self.resume_view)
        return [path("resume/", view, name="django_smtpx_route_resume"), *super().get_urls()]

    def resume_view(self, request: HttpRequest) -> HttpResponse:
        """Ask about the routes named in ``keys``, or, once confirmed, open them."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and may_resume(request)):
            raise PermissionDenied
        keys = _keys(request.POST.get("keys", ""))
        on_page = "page" in request.POST
        query = request.POST.get("query", "")
        if "confirmed" not in request.POST:
            return self._confirmation(request, keys, query=query, on_page=on_page)
        self._resume(request, keys)
        page, args = ("change", keys[:1]) if on_page else ("changelist", ())
        url = self.site_url(Route, page, *args)
        return HttpResponseRedirect(f"{url}?{query}" if query else url)

    def page_context(self, request: HttpRequest, obj: Route) -> dict[str, Any]:
        """Add the button, where there is something to resume and the user may."""
        if obj.state == Route.State.OPEN or not may_resume(request):
            return {}
        return {"resume_url": self.site_url(Route, "resume")}

    def _confirmation(
        self, request: HttpRequest, keys: Sequence[int], *, query: str, on_page: bool
    ) -> HttpResponse:
        closed = _closed(keys)
        page, args = ("change", keys[:1]) if on_page else ("changelist", ())
        context = {
            **self.admin_site.each_context(request),
            "title": _("Resume"),
            "opts": self.opts,
            "media": self.media,
            "routes": closed,
            "left": len(keys) - len(closed),
            "keys": ",".join(map(str, keys)),
            "query": query,
            "on_page": on_page,
            "back_url": self.site_url(Route, page, *args),
            "resume_url": self.site_url(Route, "resume"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_smtpx/resume.html", context)

    def _resume(self, request: HttpRequest, keys: Sequence[int]) -> None:
        by = f"user {request.user.pk} in the admin"
        at = ledger.now()
        opened = [
            route
            for route in _closed(keys)
            if pacing.resume(
                route.mailer,
                at,
                domain=route.domain,
                host=route.host,
                sender=route.sender,
                by=by,
            )
        ]
        assert request.user.pk is not None  # admin_view has seen to that
        rows = Route.objects.filter(pk__in=[route.pk for route in opened])
        LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, now_in_words("Resume"))
        names = sorted({route.mailer for route in opened})
        wake(names)
        level = messages.SUCCESS if opened else messages.WARNING
        self.message_user(request, _said(len(opened)), level)
        left = len(keys) - len(opened)
        if left:
            text = now_in_words("Left as they are: %(count)s (open already, or there no more).")
            self.message_user(request, text % {"count": number_format(left)}, messages.WARNING)
        for text in obstacles(names):
            self.message_user(request, text, messages.WARNING)


def _keys(text: str) -> tuple[int, ...]:
    try:
        keys = tuple({int(part): None for part in text.split(",")})
    except ValueError:
        raise BadRequest("No such routes.") from None
    if len(keys) > MOST or max(keys) >= 2**63 or min(keys) < 0:
        raise BadRequest("No such routes.")
    return keys


def _closed(keys: Sequence[int]) -> list[Route]:
    routes = Route.objects.using(ledger.database()).filter(pk__in=keys)
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
