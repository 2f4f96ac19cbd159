"""What the admin's pages of this application show above all else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template
from django.utils import timezone

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

    from django_smtpx.admin.overview import Overview

register = template.Library()


@register.simple_tag(takes_context=True)
def held_mailers(context: template.Context) -> list[SafeString]:
    """Return a line for each mailer that is held, for those who may see routes."""
    # Every site's template engine reads this file, also where there is no admin.
    from django_smtpx.admin import banner

    request = context.get("request")
    return [] if request is None else banner.held_mailers(request, timezone.now())


@register.filter
def status_badge(status: str) -> SafeString:
    """Return a status, or an attempt's outcome, as a coloured word."""
    from django_smtpx.admin import words

    return words.status_badge(status)


@register.filter
def category_badge(category: str) -> SafeString:
    """Return a category as a coloured word; "" where there is none."""
    from django_smtpx.admin import words

    return words.category_badge(category)


@register.simple_tag(takes_context=True)
def smtpx_overview(context: template.Context) -> Overview | None:
    """Return whether mail is flowing, as far as the user may know."""
    from django_smtpx.admin.overview import overview

    request = context.get("request")
    return None if request is None else overview(request, timezone.now())


@register.filter
def in_words(text: str) -> str:
    """Return what a row has as text, in the reader's language where this package has said it."""
    from django_smtpx.language import recorded_reason

    return recorded_reason(text)
