"""Messages, their deliveries and attempts; ``ledger`` writes them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_smtpx.addresses import domain_of
from django_smtpx.models.choices import Action, Category, Phase
from django_smtpx.models.content import Content

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from django.core.checks import CheckMessage
    from django.db.models.fields.related_descriptors import RelatedManager


class _PartlyIndexed(models.Model):
    """Has indexes with conditions: whole ones will do where the database has no partial ones."""

    class Meta:
        abstract = True

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        """Leave out that MariaDB ignores the conditions: the columns are chosen for that, too."""
        return [message for message in super().check(**kwargs) if message.id != "models.W037"]


class Message(models.Model):
    """One mail as it was composed; its bytes never change after that."""

    class Mode(models.TextChoices):
        QUEUE = "queue", _("queued for a worker")
        NOW = "now", _("sent by the calling process")

    uuid: models.UUIDField[UUID, UUID] = models.UUIDField(
        _("UUID"), default=uuid.uuid4, unique=True, editable=False
    )
    mailer: models.CharField[str, str] = models.CharField(
        _("mailer"), max_length=100, blank=True, help_text=_("Empty: a connection without a name.")
    )
    mode: models.CharField[str, str] = models.CharField(
        _("mode"), max_length=5, choices=Mode.choices, default=Mode.QUEUE
    )
    message_id: models.CharField[str, str] = models.CharField(_("Message-ID"), max_length=255)
    envelope_sender: models.CharField[str, str] = models.CharField(
        _("envelope sender"), max_length=320, blank=True
    )
    from_header: models.TextField[str, str] = models.TextField(_("From"), blank=True)
    subject: models.TextField[str, str] = models.TextField(_("subject"), blank=True)
    size: models.PositiveBigIntegerField[int, int] = models.PositiveBigIntegerField(
        _("size"), help_text=_("Bytes on the wire.")
    )
    recipient_count: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(
        _("recipients"), default=0, editable=False, help_text=_("0: not counted.")
    )
    require_tls: models.BooleanField[bool, bool] = models.BooleanField(
        _("requires TLS"),
        default=False,
        help_text=_("Verified TLS all the way to the recipients (REQUIRETLS, RFC 8689)."),
    )
    priority: models.IntegerField[int, int] = models.IntegerField(
        _("priority"), default=0, help_text=_("Higher goes first.")
    )
    send_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("send at"), null=True, blank=True
    )
    expires_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("expires at"), null=True, blank=True
    )
    tags: models.JSONField[list[str], list[str]] = models.JSONField(
        _("tags"), default=list, blank=True
    )
    metadata: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(
        _("metadata"), default=dict, blank=True
    )
    idempotency_key: models.CharField[str | None, str | None] = models.CharField(  # noqa: DJ001 (unset is NULL: unique among the set ones alone)
        _("idempotency key"), max_length=255, null=True, blank=True
    )
    # Of mailer and key: collations that take "KEY" for "key" cannot take two digests for one.
    idempotency_digest: models.CharField[str | None, str | None] = models.CharField(  # noqa: DJ001 (as the key)
        max_length=64, null=True, editable=False
    )
    # The context of the span that it was stored in (W3C Trace Context), where one was recorded.
    traceparent: models.CharField[str, str] = models.CharField(
        max_length=55, blank=True, default="", editable=False
    )
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(
        _("created at"), default=timezone.now
    )
    settled_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("settled at"), null=True, editable=False
    )

    if TYPE_CHECKING:
        deliveries: RelatedManager[Delivery]
        body: Content

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        permissions = (
            ("view_content", "Can read the content of messages"),
            ("copy_message", "Can send copies of messages"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("idempotency_digest",), name="smtpx_message_idempotency"
            ),
        )
        # None of settled_at: what is written last of a message need not touch its indexes then.
        indexes = (
            models.Index(fields=("mailer", "id"), name="smtpx_message_mailer"),
            # Without the second one for LIKE that db_index makes on PostgreSQL.
            models.Index(fields=("message_id",), name="smtpx_message_message_id"),
        )

    def __str__(self) -> str:
        return f"{self.subject or '–'} {self.message_id}"

    @property
    def content(self) -> bytes | None:
        """The bytes as sent, with CRLF line ends; None once purged.

        Raises ``OSError`` where they are in a storage that does not give them just now.
        """
        try:
            return self.body.read()
        except (Content.DoesNotExist, FileNotFoundError):
            return None


class Delivery(_PartlyIndexed):
    """One envelope recipient of one message, and where its delivery stands."""

    class Status(models.TextChoices):
        QUEUED = "queued", _("queued")
        SENDING = "sending", _("sending")
        DEFERRED = "deferred", _("deferred")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("unknown")
        SUPPRESSED = "suppressed", _("suppressed")
        CANCELLED = "cancelled", _("cancelled")

    class Lane(models.IntegerChoices):
        """Which set a row is in: a claim reads one lane, so what is not due costs it nothing.

        What waits has a lane from 0 on, and what is ready one above 0: the partial indexes go by
        that, so that the log, which is out, costs what waits nothing.
        """

        OUT = -1, _("being sent, or ended")
        IDLE = 0, _("not ready")
        READY = 1, _("ready")
        ALONE = 2, _("ready, to be claimed alone")
        # Apart from what is new, which would wait behind a wave of them.
        AGAIN = 3, _("ready, after an attempt")

    message: models.ForeignKey[Message, Message] = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("message")
    )
    mailer: models.CharField[str, str] = models.CharField(_("mailer"), max_length=100, blank=True)
    destination: models.CharField[str, str] = models.CharField(
        _("destination"),
        max_length=255,
        blank=True,
        editable=False,
        help_text=_("The domain that it goes straight to; empty where a host takes all mail."),
    )
    priority: models.IntegerField[int, int] = models.IntegerField(_("priority"), default=0)
    recipient: models.CharField[str, str] = models.CharField(_("recipient"), max_length=320)
    domain: models.CharField[str, str] = models.CharField(_("domain"), max_length=255, blank=True)
    status: models.CharField[str, str] = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.QUEUED
    )
    category: models.CharField[str, str] = models.CharField(
        _("category"), max_length=24, choices=Category.choices, blank=True, default=""
    )
    attempt_count: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(
        _("attempts"), default=0
    )
    next_attempt_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("next attempt at"), null=True, blank=True
    )
    settled_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("settled at"), null=True, blank=True
    )
    # of the latest attempt
    phase: models.CharField[str, str] = models.CharField(
        _("phase"), max_length=8, choices=Phase.choices, blank=True
    )
    code: models.PositiveSmallIntegerField[int | None, int | None] = (
        models.PositiveSmallIntegerField(_("code"), null=True, blank=True)
    )
    enhanced_code: models.CharField[str, str] = models.CharField(
        _("enhanced code"), max_length=11, blank=True
    )
    reply: models.TextField[str, str] = models.TextField(_("reply"), blank=True)
    host: models.CharField[str, str] = models.CharField(_("host"), max_length=255, blank=True)
    # the ledger's own
    lane: models.SmallIntegerField[int, int] = models.SmallIntegerField(
        _("lane"), choices=Lane.choices, default=Lane.READY, editable=False
    )
    age_from: models.DateTimeField[datetime, datetime] = models.DateTimeField(
        _("age counted from"), default=timezone.now, editable=False
    )
    expires_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("expires at"), null=True, editable=False
    )
    step: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(
        _("steps of the schedule used"), default=0, editable=False
    )
    unknowns: models.PositiveSmallIntegerField[int, int] = models.PositiveSmallIntegerField(
        _("unknown outcomes"), default=0, editable=False
    )
    parked_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("parked at"), null=True, editable=False
    )
    lease_token: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(
        _("lease"), null=True, editable=False
    )
    lease_expires_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("lease expires at"), null=True, editable=False
    )
    marked: models.BooleanField[bool, bool] = models.BooleanField(
        _("content may have left"), default=False, editable=False
    )
    leases_lost: models.PositiveSmallIntegerField[int, int] = models.PositiveSmallIntegerField(
        _("leases lost"), default=0, editable=False
    )
    delay_notice_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("next notice of delay at"), null=True, editable=False
    )

    if TYPE_CHECKING:
        message_id: int
        attempts: RelatedManager[Attempt]

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        permissions = (
            ("retry_delivery", "Can send deliveries again"),
            ("cancel_delivery", "Can cancel deliveries"),
            ("settle_unknown", "Can decide about deliveries of unknown outcome"),
        )
        # On PostgreSQL a row that changes is written anew to every index whose condition it meets,
        # and it changes as it is claimed and as it is settled. So an index is partial wherever the
        # settled rows, the log, are not looked for by it. Where there are no partial ones it is
        # whole, and the columns in front keep the log out of the way.
        indexes = (
            # By fields: one of expressions is left out, without a word, where the
            # database has none (MariaDB), and a claim would lock all that is ready.
            models.Index(
                fields=("lane", "mailer", "destination", "-priority", "id"),
                name="smtpx_delivery_claim",
                condition=~models.Q(lane__lte=0),
            ),
            models.Index(
                fields=("lane", "next_attempt_at"),
                name="smtpx_delivery_due",
                # Not lane=0: PostgreSQL leaves out of a range what the condition says word for
                # word, and has no range of the second column without the first.
                condition=~models.Q(lane__lt=0) & ~models.Q(lane__gt=0),
            ),
            models.Index(
                fields=("lane", "expires_at"),
                name="smtpx_delivery_expires",
                condition=~models.Q(lane__lt=0) & models.Q(expires_at__isnull=False),
            ),
            models.Index(
                fields=("delay_notice_at",),
                name="smtpx_delivery_notice",
                condition=~models.Q(lane__lt=0) & models.Q(delay_notice_at__isnull=False),
            ),
            models.Index(
                fields=("mailer", "parked_at"),
                name="smtpx_delivery_parked",
                condition=models.Q(parked_at__isnull=False),
            ),
            models.Index(
                fields=("lease_token",),
                name="smtpx_delivery_token",
                condition=models.Q(lease_token__isnull=False),
            ),
            # For people's lists, newest first, and for leases that have run out: what is being
            # sent is as much as the workers hold, however long the log is.
            models.Index(fields=("status", "id"), name="smtpx_delivery_status"),
            models.Index(fields=("mailer", "id"), name="smtpx_delivery_mailer"),
            # Of what failed or waits for a reason; all that is sent has a category, too: "ok".
            models.Index(
                fields=("category", "id"),
                name="smtpx_delivery_category",
                condition=~models.Q(category="") & ~models.Q(category="ok"),
            ),
            models.Index(fields=("recipient",), name="smtpx_delivery_recipient"),
        )

    def __str__(self) -> str:
        return f"{self.recipient}: {self.get_status_display()}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Fill in, for a new row that is made by hand, what follows from its message and status.

        The ledger's own come another way.
        """
        if self._state.adding:
            self.mailer = self.mailer or self.message.mailer
            self.domain = self.domain or domain_of(self.recipient)
            waits = self.status in (self.Status.QUEUED, self.Status.DEFERRED)
            if self.lane == self.Lane.READY and not waits:
                self.lane = self.Lane.OUT
        super().save(*args, **kwargs)


class Attempt(models.Model):
    """One try of one delivery, as it went."""

    class Outcome(models.TextChoices):
        SENT = "sent", _("sent")
        DEFERRED = "deferred", _("deferred")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("unknown")

    # The unique index begins with it, and is the only one.
    delivery: models.ForeignKey[Delivery, Delivery] = models.ForeignKey(
        Delivery,
        on_delete=models.CASCADE,
        related_name="attempts",
        verbose_name=_("delivery"),
        db_index=False,
    )
    number: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(_("number"))
    started_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(_("started at"))
    duration: models.FloatField[float, float] = models.FloatField(
        _("duration"), default=0.0, help_text=_("Seconds.")
    )
    outcome: models.CharField[str, str] = models.CharField(
        _("outcome"), max_length=8, choices=Outcome.choices
    )
    category: models.CharField[str, str] = models.CharField(
        _("category"), max_length=24, choices=Category.choices
    )
    action: models.CharField[str, str] = models.CharField(
        _("action"), max_length=9, choices=Action.choices
    )
    rule: models.CharField[str, str] = models.CharField(
        _("rule"), max_length=60, blank=True, help_text=_("What the reply was judged by.")
    )
    phase: models.CharField[str, str] = models.CharField(
        _("phase"), max_length=8, choices=Phase.choices, blank=True
    )
    command: models.CharField[str, str] = models.CharField(_("command"), max_length=16, blank=True)
    code: models.PositiveSmallIntegerField[int | None, int | None] = (
        models.PositiveSmallIntegerField(_("code"), null=True, blank=True)
    )
    enhanced_code: models.CharField[str, str] = models.CharField(
        _("enhanced code"), max_length=11, blank=True
    )
    reply: models.TextField[str, str] = models.TextField(_("reply"), blank=True)
    host: models.CharField[str, str] = models.CharField(_("host"), max_length=255, blank=True)
    ip: models.CharField[str, str] = models.CharField(_("IP address"), max_length=45, blank=True)
    port: models.PositiveIntegerField[int | None, int | None] = models.PositiveIntegerField(
        _("port"), null=True, blank=True
    )
    tls: models.CharField[str, str] = models.CharField(_("TLS"), max_length=100, blank=True)
    tls_verified_by: models.CharField[str, str] = models.CharField(
        _("TLS verified by"), max_length=4, blank=True
    )
    transcript: models.TextField[str, str] = models.TextField(_("transcript"), blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        constraints = (
            models.UniqueConstraint(fields=("delivery", "number"), name="smtpx_attempt_number"),
        )

    def __str__(self) -> str:
        return f"{self.number}: {self.outcome} ({self.category})"
