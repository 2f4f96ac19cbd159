"""The rows: fields, choices and indexes; ``ledger`` writes them, and ``pacing`` its own."""

from django_smtpx.models.choices import Action, Category, Phase
from django_smtpx.models.content import Content, ContentAway, ContentPart
from django_smtpx.models.live import RateWindow, RefusedCredential, Route, Slot, Turn
from django_smtpx.models.mail import Attempt, Delivery, Message
from django_smtpx.models.policy import StoredPolicy
from django_smtpx.models.report import TLSReport, TLSResult
from django_smtpx.models.suppression import Suppression

__all__ = [
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
    "Turn",
]
