"""The addresses that are not to be sent to."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_smtpx.addresses import same_mailbox_key
from django_smtpx.models.choices import Category
from django_smtpx.models.mail import Attempt

if TYPE_CHECKING:
    from datetime import datetime


def digest_of(address: str) -> str:
    """Return what tells an address from others: the local part as it is, the domain case-blind."""
    return sha256(same_mailbox_key(address).encode("utf-8", "surrogatepass")).hexdigest()


class _Digest(models.CharField):  # type: ignore[type-arg]
    """The digest of ``address``, whoever creates the row; a plain column to migrations."""

    def pre_save(self, instance: models.Model, add: bool) -> Any:  # noqa: FBT001 (Django calls it so)
        """Compute it anew: an address without it would be on the list and never be found."""
        digest = digest_of(instance.address)  # type: ignore[attr-defined]
        setattr(instance, self.attname, digest)
        return digest

    def deconstruct(self) -> Any:
        """Return the field as what it is to the database."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


class Suppression(models.Model):
    """An address that no mailer with ``suppression`` sends to: exactly it, tags and dots included.

    The domain is in lower case. Without ``expires_at`` it stays until a person removes it.
    """

    address: models.CharField[str, str] = models.CharField(
        _("address"), max_length=320, db_index=True
    )
    # Collations that take "Ann@" for "ann@" cannot take two digests for one.
    digest = _Digest(max_length=64, unique=True, editable=False)
    reason: models.TextField[str, str] = models.TextField(_("reason"), blank=True)
    category: models.CharField[str, str] = models.CharField(
        _("category"), max_length=24, choices=Category.choices, blank=True
    )
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(
        _("created at"), default=timezone.now, editable=False
    )
    expires_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("expires at"), null=True, blank=True
    )
    attempt: models.ForeignKey[Attempt | None, Attempt | None] = models.ForeignKey(
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
