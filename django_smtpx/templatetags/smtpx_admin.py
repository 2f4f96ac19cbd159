"""What the admin's pages of this application show above all else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template
from django.utils import timezone

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag(takes_context=True)
def held_mailers(context: template.Context) -> list[SafeString]:
    """Return a line for each mailer that is held, for those who may see routes."""
    # Every site's template engine reads this file, also where there is no admin.
    from django_smtpx.admin import banner

    request = context.get("request")
    return [] if request is None else banner.held_mailers(request, timezone.now())
