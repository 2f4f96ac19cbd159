"""Where numbers lead: the lists behind them, on the site that the page is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from django_smtpx.admin.base import may, may_resume
from django_smtpx.admin.routes import TOOLS

if TYPE_CHECKING:
    from django.http import HttpRequest

    from django_smtpx.models import Route


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name, and the list behind it."""

    label: str
    number: str
    url: str


@dataclass(frozen=True, slots=True)
class Deed:
    """What can be done, and the form for it."""

    label: str
    url: str


class Links:
    """Addresses on this site; "" where it has none."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._known: dict[tuple[object, ...], str] = {}
        self._site = getattr(request, "current_app", None)

    def deliveries(self, **filters: object) -> str:
        """Return the list of deliveries, by filters."""
        url = self._reverse("delivery_changelist")
        return f"{url}?{urlencode(filters)}" if url else ""

    def routes(self) -> str:
        """Return the list of routes."""
        return self._reverse("route_changelist")

    def route(self, route: Route) -> str:
        """Return a route's page."""
        return self._reverse("route_change", route.pk)

    def resume(self) -> str:
        """Return where the keys of routes are posted to that are to be opened, for who may."""
        return self._reverse("route_resume") if may_resume(self._request) else ""

    def tools(self, route: Route) -> tuple[Deed, ...]:
        """Return what the user can do with a route by a form, which need not be stored."""
        found = (
            (tool.label, self._reverse(f"route_{tool.name}"), asked)
            for tool in TOOLS
            if (asked := tool.about(route)) is not None and may(self._request, tool.permission)
        )
        return tuple(
            Deed(str(label), f"{url}?{urlencode(asked)}") for label, url, asked in found if url
        )

    def _reverse(self, name: str, *args: object) -> str:
        found = self._known.get((name, *args))
        if found is None:
            found = self._known[name, *args] = self._find(name, *args)
        return found

    def _find(self, name: str, *args: object) -> str:
        try:
            return reverse(f"admin:django_smtpx_{name}", args=args, current_app=self._site)
        except NoReverseMatch:
            return ""
