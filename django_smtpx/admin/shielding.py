"""Responses with what somebody else wrote: what a browser may make of each is said in its headers.

Nothing of a mail runs, loads, is sent anywhere or leads anywhere, and no cache keeps it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import urlsplit

import django
from django.http import FileResponse, HttpResponse
from django.template.loader import get_template
from django.templatetags.static import static
from django.utils.html import format_html

if TYPE_CHECKING:
    from django.http import HttpResponseBase

    R = TypeVar("R", bound=HttpResponseBase)

_COMMON = {
    "Cache-Control": "max-age=0, no-cache, no-store, must-revalidate, private",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    # Links of a page are looked up ahead of a click; no policy has a word for that.
    "X-DNS-Prefetch-Control": "off",
}
# The sandbox allows nothing: no script, form, new window, download or way out of the frame.
_IN_FRAME = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
_FILE = "sandbox; default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
_AROUND = (
    "object-src 'none'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'self'"
)

_HARMLESS = frozenset(
    {
        "application/gzip",
        "application/zip",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/calendar",
        "text/csv",
        "text/plain",
    }
)
"""Types that no browser runs anything of."""


def framed(html: str, status: int = 200) -> HttpResponse:
    """Return ``html`` for a frame on our own page."""
    headers = _COMMON | {
        "Content-Security-Policy": _IN_FRAME,
        "Content-Type": "text/html; charset=utf-8",
        "Referrer-Policy": "no-referrer",
        # In place of the DENY that Django's middleware gives what has none.
        "X-Frame-Options": "SAMEORIGIN",
    }
    return HttpResponse(html.encode("utf-8", "replace"), status=status, headers=headers)


def sentence(text: str, status: int = 200) -> HttpResponse:
    """Return a sentence of ours for that frame."""
    page = '<!DOCTYPE html><title>{}</title><body dir="auto"><p>{}</p></body>'
    return framed(format_html(page, text, text), status)


def download(file: BinaryIO, name: str, content_type: str) -> FileResponse:
    """Return ``file`` to be saved, never to be shown: whatever could be active has no type."""
    response = FileResponse(
        file,
        as_attachment=True,
        filename=name,
        content_type=content_type if content_type in _HARMLESS else "application/octet-stream",
    )
    headers = {"Content-Security-Policy": _FILE, "Referrer-Policy": "no-referrer"}
    return _with(response, _COMMON | headers)


def around(response: R) -> R:
    """Give the page that has a content on it, or the frame with it, its headers.

    Where the admin looks as Django made it, only its own files are run and applied. A theme, or a
    site's own base template, has its own ways: what it runs and applies is left to it.
    """
    policy = _AROUND
    if _is_djangos("admin/base.html") and _is_djangos("admin/base_site.html"):
        files = _static_files()
        policy = (
            f"default-src 'none'; script-src {files}; style-src {files}; img-src {files} data:; "
            f"font-src {files}; connect-src 'self'; {_AROUND}"
        )
    # No "no-referrer": the buttons of the page would be sent from the origin "null", which the
    # protection against forged requests refuses.
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return _with(response, _COMMON | headers)


def _with(response: R, headers: dict[str, str]) -> R:
    for name, value in headers.items():
        response[name] = value
    return response


def _is_djangos(template: str) -> bool:
    origin = getattr(get_template(template), "origin", None)
    return origin is not None and Path(origin.name).is_relative_to(Path(django.__file__).parent)


def _static_files() -> str:
    """Return where the admin's own files may come from."""
    place = urlsplit(static("django_smtpx/admin.css"))
    return f"'self' {place.scheme or 'https'}://{place.netloc}" if place.netloc else "'self'"
