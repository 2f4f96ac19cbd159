"""What came of attempts by the hour, and how far they are counted; ``ledger`` writes it."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_smtpx.models.choices import Category
from django_smtpx.models.mail import Attempt

SENT_WITHIN = (
    *(timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 30)),
    *(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 30)),
    *(timedelta(hours=hours) for hours in (1, 4, 12)),
    *(timedelta(days=days) for days in (1, 2)),
)
"""Where one bucket of the time until a mail was sent ends, and the next begins."""


class Tally(models.Model):
    """How many attempts of one hour, one mailer and one provider's servers were alike.

    ``hour`` is the beginning of an hour by the clocks of the site's own zone, so that its days are
    whole hours also where that zone is half an hour beside the others. ``bucket`` says of what was
    sent how long it had been on its way: the number of a bound in :data:`SENT_WITHIN`, from 1 on,
    one more for what took longer than the last of them, and 0 for what was not sent.
    """

    hour = models.DateTimeField(_("hour"))
    mailer = models.CharField(_("mailer"), max_length=100, blank=True)
    outcome = models.CharField(_("outcome"), max_length=8, choices=Attempt.Outcome.choices)
    category = models.CharField(_("category"), max_length=24, choices=Category.choices)
    provider = models.CharField(_("provider"), max_length=24, blank=True)
    bucket = models.PositiveSmallIntegerField(_("time until it was sent"), default=0)
    count = models.PositiveBigIntegerField(_("attempts"))

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")
        # Not unique: collations that take "A" for "a" would have two mailers' attempts in one row,
        # and whoever counts does so alone.
        indexes = (models.Index(fields=("hour", "outcome"), name="smtpx_tally_hour"),)

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M} {self.mailer} {self.outcome}: {self.count}"


class TallyMark(models.Model):
    """How far attempts are counted; there is one row.

    All up to the primary key ``counted_through`` are, which is whatever was written before
    ``counted_until``. ``next_through`` was the last key at ``next_until``, which are the next to be
    those.
    """

    counted_through = models.PositiveBigIntegerField(_("counted through"), default=0)
    counted_until = models.DateTimeField(_("counted until"), null=True)
    next_through = models.PositiveBigIntegerField(_("next through"), default=0)
    next_until = models.DateTimeField(_("next until"))

    class Meta:
        verbose_name = _("tally mark")
        verbose_name_plural = _("tally marks")

    def __str__(self) -> str:
        return str(self.counted_through)
