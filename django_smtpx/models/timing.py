"""How long servers were waited for, counted; ``ledger`` writes it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

PHASE_WITHIN = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Seconds at which one bucket of the time that a phase took ends, and the next begins."""


class Timing(models.Model):
    """How often a phase of the conversation with a mailer's servers took about as long.

    ``phase`` is one of an attempt's, or ``tls`` for the handshake. ``bucket`` is the number of a
    bound in :data:`PHASE_WITHIN`, from 1 on, one more for what took longer than the last of them;
    ``seconds`` are those of all together. ``digest`` is of what makes them alike: collations that
    take "A" for "a" cannot take two digests for one.
    """

    digest = models.CharField(max_length=64, primary_key=True, editable=False)
    mailer = models.CharField(_("mailer"), max_length=100, blank=True)
    phase = models.CharField(_("phase"), max_length=8)
    bucket = models.PositiveSmallIntegerField(_("bucket"))
    count = models.PositiveBigIntegerField(_("replies"))
    seconds = models.FloatField(_("seconds"))

    class Meta:
        verbose_name = _("timing")
        verbose_name_plural = _("timings")

    def __str__(self) -> str:
        return f"{self.mailer} {self.phase}: {self.count}"
