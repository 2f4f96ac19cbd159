"""Events that are posted to webhooks, and how their endpoints do; ``ledger`` writes them."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

KINDS = (
    ("sent", _("sent")),
    ("deferred", _("deferred")),
    ("delayed", _("delayed")),
    ("failed", _("failed")),
    ("unknown", _("unknown")),
    ("suppressed", _("suppressed")),
    ("cancelled", _("cancelled")),
)


class WebhookEvent(models.Model):
    """What one endpoint is told of one delivery: as it was when it happened, and the same at each
    try.

    ``next_attempt_at`` is None once it has ended. It refers to its delivery by the primary key
    alone: it may outlive the log, and what writes it takes no lock on the delivery.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DONE = "done", _("done")
        GIVEN_UP = "given_up", _("given up")

    uuid = models.UUIDField(_("UUID"), default=uuid.uuid4, editable=False)
    endpoint = models.CharField(_("endpoint"), max_length=100)
    delivery_key = models.PositiveBigIntegerField(_("delivery"))
    event = models.CharField(_("event"), max_length=10, choices=KINDS)
    body = models.TextField(_("body"), help_text=_("JSON, as it is signed and posted."))
    created_at = models.DateTimeField(_("created at"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    first_tried_at = models.DateTimeField(_("first tried at"), null=True)
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True)
    done_at = models.DateTimeField(_("done at"), null=True)
    error = models.CharField(_("latest error"), max_length=255, blank=True)
    lease_token = models.UUIDField(_("lease"), null=True, editable=False)
    lease_expires_at = models.DateTimeField(_("lease expires at"), null=True, editable=False)

    class Meta:
        verbose_name = _("webhook event")
        verbose_name_plural = _("webhook events")
        # None of those that have ended is met by a range of times.
        indexes = (
            models.Index(fields=("endpoint", "next_attempt_at", "id"), name="smtpx_event_due"),
            models.Index(fields=("endpoint", "delivery_key", "id"), name="smtpx_event_delivery"),
            models.Index(fields=("endpoint", "lease_expires_at"), name="smtpx_event_lease"),
        )

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.event} {self.uuid}"


class WebhookEndpoint(models.Model):
    """How an endpoint of ``SMTPX_WEBHOOKS`` does: failing since when, resting, disabled.

    There is a row from the first event on.
    """

    name = models.CharField(_("name"), max_length=100, unique=True)
    disabled_at = models.DateTimeField(_("disabled at"), null=True)
    failures = models.PositiveIntegerField(_("consecutive failures"), default=0)
    failing_since = models.DateTimeField(_("failing since"), null=True)
    rests_until = models.DateTimeField(_("rests until"), null=True)
    error = models.CharField(_("latest error"), max_length=255, blank=True)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        permissions = (("enable_webhook", "Can enable and disable webhooks"),)

    def __str__(self) -> str:
        return self.name
