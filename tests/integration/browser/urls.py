"""The site's addresses: the admin, and a mail's HTML as nobody should serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.admin import site
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.html import format_html

from tests.admin.hostile import hostile_html

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'"
"""What a careful site sends with every page: nothing inline runs or styles."""


def strict(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Send the policy with every page that has none of its own, unless the browser asks not to."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if "X-Without-Policy" in request.headers:
            return response
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return middleware


def unprotected(request: HttpRequest, tricks: str) -> HttpResponse:
    """Show the HTML of a mail with these tricks in a frame without any protection."""
    page = '<!doctype html><title>Unprotected</title><iframe width=900 height=700 srcdoc="{}">'
    response = HttpResponse(format_html(page, hostile_html(names=tricks.split(","))))
    response.headers["Content-Security-Policy"] = "default-src * 'unsafe-inline' data: blob:"
    return response


def icon(request: HttpRequest) -> HttpResponse:
    """Say that there is none, or each page would complain."""
    return HttpResponse(status=204)


# As ours have it, to see what axe-core says of a search with a help text on a page of Django's own.
site._registry[User].search_help_text = "Name."

urlpatterns = [
    path("favicon.ico", icon),
    path("admin/", site.urls),
    path("unprotected/<str:tricks>/", unprotected),
]
