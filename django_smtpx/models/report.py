"""What became of sessions with the servers of domains, and the reports on that."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class TLSResult(models.Model):
    """How many sessions of one day with one server were alike, as seen by one policy (RFC 8460).

    ``digest`` is of all that makes them alike. ``counts`` says that they are sessions of the total,
    and not something else that was wrong with some of those.
    """

    day = models.DateField(_("day"))
    domain = models.CharField(_("domain"), max_length=255)
    policy_type = models.CharField(_("policy"), max_length=15)
    policy = models.JSONField(_("what the policy says"))
    host = models.CharField(_("server"), max_length=255, blank=True)
    ip = models.CharField(_("IP address"), max_length=45, blank=True)
    sending_ip = models.CharField(_("from"), max_length=45, blank=True)
    failure = models.CharField(_("failure"), max_length=40, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    counts = models.BooleanField(_("counts as a session"), default=True)
    count = models.PositiveBigIntegerField(_("sessions"))
    digest = models.CharField(max_length=64, editable=False)

    class Meta:
        verbose_name = _("TLS result")
        verbose_name_plural = _("TLS results")
        constraints = (models.UniqueConstraint(fields=("day", "digest"), name="smtpx_tls_result"),)

    def __str__(self) -> str:
        return f"{self.day} {self.domain} {self.host} {self.failure or 'ok'}: {self.count}"


class TLSReport(models.Model):
    """A report on one day to one of the places that a domain has named for them."""

    day = models.DateField(_("day"))
    domain = models.CharField(_("domain"), max_length=255)
    target = models.TextField(_("to"))
    report_id = models.TextField(_("report"))
    tried_at = models.DateTimeField(_("tried at"))
    sent_at = models.DateTimeField(_("sent at"), null=True)
    failure = models.TextField(_("what went wrong"), blank=True)
    digest = models.CharField(max_length=64, editable=False)

    class Meta:
        verbose_name = _("TLS report")
        verbose_name_plural = _("TLS reports")
        constraints = (models.UniqueConstraint(fields=("day", "digest"), name="smtpx_tls_report"),)

    def __str__(self) -> str:
        return f"{self.day} {self.domain}: {self.target}"
