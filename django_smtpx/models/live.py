"""The live state of mailers and of what lies behind them; ``pacing`` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_smtpx.models.choices import Category

if TYPE_CHECKING:
    from datetime import datetime


class Route(models.Model):
    """The live state of a mailer, of one of its hosts, destination domains or senders.

    What does not apply is "". ``sender`` says where the address stands:
    ``MAIL FROM <a@example.com>`` or ``From a@example.com``.
    """

    class State(models.TextChoices):
        OPEN = "open", _("open")
        PAUSED = "paused", _("paused")
        HELD = "held", _("held")

    mailer: models.CharField[str, str] = models.CharField(_("mailer"), max_length=100)
    host: models.CharField[str, str] = models.CharField(_("host"), max_length=191, blank=True)
    domain: models.CharField[str, str] = models.CharField(_("domain"), max_length=255, blank=True)
    sender: models.CharField[str, str] = models.CharField(_("sender"), max_length=191, blank=True)
    state: models.CharField[str, str] = models.CharField(
        _("state"), max_length=6, choices=State.choices, default=State.OPEN
    )
    paused_until: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("paused until"), null=True, blank=True
    )
    pause_reason: models.TextField[str, str] = models.TextField(_("reason"), blank=True)
    category: models.CharField[str, str] = models.CharField(
        _("category"), max_length=24, choices=Category.choices, blank=True
    )
    consecutive_failures: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(
        _("consecutive failures"), default=0
    )
    # Of the credential that opened it last: another one that is refused does not close it.
    working_mac: models.CharField[str, str] = models.CharField(
        max_length=64, blank=True, editable=False
    )
    login_until: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, editable=False
    )
    slow_limit: models.FloatField[float | None, float | None] = models.FloatField(
        _("slowed down to"), null=True, editable=False, help_text=_("Messages a second.")
    )
    slow_step: models.FloatField[float | None, float | None] = models.FloatField(
        null=True, editable=False
    )
    slow_since: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("slowed down at"), null=True, editable=False
    )
    concurrency: models.FloatField[float | None, float | None] = models.FloatField(
        _("connections it is worth"), null=True, editable=False
    )
    failed_cohorts: models.FloatField[float | None, float | None] = models.FloatField(
        null=True, editable=False
    )
    # When a connection was booked last, to the day: see pacing.worth.
    used_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        null=True, editable=False
    )
    # By a person, and not looked after yet: see pacing.manual.
    resumed_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("resumed at"), null=True, editable=False
    )

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        permissions = (
            ("pause_route", "Can pause mailers and destinations"),
            ("resume_route", "Can resume routes"),
            ("check_mailer", "Can run the diagnosis of mailers"),
            ("test_mailer", "Can send test mail"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("mailer", "host", "domain", "sender"), name="smtpx_route_key"
            ),
        )

    def __str__(self) -> str:
        parts = (self.mailer, self.host, self.domain, self.sender)
        return " ".join(part for part in parts if part)


class RefusedCredential(models.Model):
    """A credential that a server refused, by a keyed fingerprint, and when it may be tried again.

    Apart from the route's state: while a site is rolled out, workers with the
    old password and with the new one are at work at once.
    """

    mailer = models.CharField(_("mailer"), max_length=100)
    mac = models.CharField(_("fingerprint"), max_length=64)
    refusals = models.PositiveIntegerField(_("refusals"), default=0)
    refused_at = models.DateTimeField(_("refused at"))
    next_probe_at = models.DateTimeField(_("next probe at"))

    class Meta:
        verbose_name = _("refused credential")
        verbose_name_plural = _("refused credentials")
        constraints = (
            models.UniqueConstraint(fields=("mailer", "mac"), name="smtpx_refused_credential"),
        )

    def __str__(self) -> str:
        return f"{self.mailer}: {self.refusals}"


class RateWindow(models.Model):
    """How many contents left for a mailer, or one destination of it, in the latest stretch of time.

    Written by compare-and-swap on ``version``.
    """

    mailer = models.CharField(_("mailer"), max_length=100)
    domain = models.CharField(_("domain"), max_length=255, blank=True)
    seconds = models.PositiveIntegerField(_("seconds"))
    counts = models.TextField(_("counts"), blank=True)
    version = models.PositiveBigIntegerField(_("version"), default=0)

    class Meta:
        verbose_name = _("rate window")
        verbose_name_plural = _("rate windows")
        constraints = (
            models.UniqueConstraint(fields=("mailer", "domain", "seconds"), name="smtpx_window"),
        )

    def __str__(self) -> str:
        return f"{self.mailer} {self.domain} {self.seconds} s"


class Slot(models.Model):
    """One of the connections of a mailer, or of one of its destinations.

    Whoever holds its lease may have one open.
    """

    mailer = models.CharField(_("mailer"), max_length=100)
    domain = models.CharField(_("domain"), max_length=255, blank=True)
    number = models.PositiveIntegerField(_("number"))
    token = models.UUIDField(_("token"), null=True)
    expires_at = models.DateTimeField(_("expires at"))
    owner = models.CharField(_("process"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("connection slot")
        verbose_name_plural = _("connection slots")
        constraints = (
            models.UniqueConstraint(
                fields=("mailer", "domain", "number"), name="smtpx_slot_number"
            ),
        )

    def __str__(self) -> str:
        parts = (self.mailer, self.domain, f"#{self.number}")
        return " ".join(part for part in parts if part)


class Turn(models.Model):
    """When a periodic job last ran; whoever moves the time forward runs it."""

    name = models.CharField(_("name"), max_length=50, primary_key=True)
    taken_at = models.DateTimeField(_("taken at"))

    class Meta:
        verbose_name = _("turn")
        verbose_name_plural = _("turns")

    def __str__(self) -> str:
        return self.name
