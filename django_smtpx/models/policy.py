"""What domains ask of whoever sends mail to them, as far as it is known."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class StoredPolicy(models.Model):
    """The MTA-STS policy of a domain (RFC 8461), or why it could not be fetched, or both.

    Written by compare-and-swap on ``version``.
    """

    class Mode(models.TextChoices):
        NONE = "none", _("none")
        TESTING = "testing", _("testing")
        ENFORCE = "enforce", _("enforce")

    domain = models.CharField(_("domain"), max_length=255, unique=True)
    mode = models.CharField(_("mode"), max_length=7, choices=Mode.choices, blank=True)
    mx = models.TextField(_("servers"), blank=True, help_text=_("One name or pattern a line."))
    max_age = models.PositiveIntegerField(_("to be kept for"), default=0, help_text=_("Seconds."))
    policy_id = models.CharField(_("id"), max_length=32, blank=True)
    fetched_at = models.DateTimeField(_("fetched at"), null=True)
    expires_at = models.DateTimeField(_("expires at"))
    tried_id = models.CharField(_("id at the latest try"), max_length=32, blank=True)
    tried_at = models.DateTimeField(_("latest try at"))
    next_try_at = models.DateTimeField(_("next try from"))
    failure = models.CharField(_("failure"), max_length=40, blank=True)
    failure_text = models.TextField(_("what went wrong"), blank=True)
    version = models.PositiveBigIntegerField(default=1, editable=False)

    class Meta:
        verbose_name = _("MTA-STS policy")
        verbose_name_plural = _("MTA-STS policies")

    def __str__(self) -> str:
        return self.domain
