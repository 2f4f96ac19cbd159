"""A backend of a site's own."""

from __future__ import annotations

from django_smtpx.backend import EmailBackend


class Subclass(EmailBackend):
    """Built on ours."""
