"""The addresses that are not to be sent to."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_smtpx.models.choices import Category
from django_smtpx.models.mail import Attempt


class Suppression(models.Model):
    """An address that no mailer with ``suppression`` sends to: exactly it, tags and dots included.

    The domain is in lower case. Without ``expires_at`` it stays until a person removes it.
    """

    address = models.CharField(_("address"), max_length=320, db_index=True)
    # Collations that take "Ann@" for "ann@" cannot take two digests for one.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    reason = models.TextField(_("reason"), blank=True)
    category = models.CharField(_("category"), max_length=24, choices=Category.choices, blank=True)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    attempt = models.ForeignKey(
        Attempt,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="suppressions",
        verbose_name=_("evidence"),
        help_text=_("The attempt whose verdict put it here; none where a person did."),
    )

    class Meta:
        verbose_name = _("suppression")
        verbose_name_plural = _("suppressions")

    def __str__(self) -> str:
        return self.address
