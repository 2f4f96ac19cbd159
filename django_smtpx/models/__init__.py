"""The rows: fields, choices and indexes; ``ledger`` writes them, and ``pacing`` its own."""

from django_smtpx.models.choices import Action, Category, Phase
from django_smtpx.models.content import Content, ContentAway, ContentPart
from django_smtpx.models.live import RateWindow, RefusedCredential, Route, Slot, Turn
from django_smtpx.models.mail import Attempt, Delivery, Message
from django_smtpx.models.policy import StoredPolicy
from django_smtpx.models.report import TLSReport, TLSResult
from django_smtpx.models.suppression import Suppression
from django_smtpx.models.tally import SENT_WITHIN, Tally, TallyMark
from django_smtpx.models.timing import PHASE_WITHIN, Timing
from django_smtpx.models.webhook import WebhookEndpoint, WebhookEvent

__all__ = [
    "PHASE_WITHIN",
    "SENT_WITHIN",
    "Action",
    "Attempt",
    "Category",
    "Content",
    "ContentAway",
    "ContentPart",
    "Delivery",
    "Message",
    "Phase",
    "RateWindow",
    "RefusedCredential",
    "Route",
    "Slot",
    "StoredPolicy",
    "Suppression",
    "TLSReport",
    "TLSResult",
    "Tally",
    "TallyMark",
    "Timing",
    "Turn",
    "WebhookEndpoint",
    "WebhookEvent",
]
